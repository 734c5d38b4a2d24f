// One embedding against the sum of its domain.
#pragma once
#include "../edgepers.h"
#include "simd.h"

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

// float64, because a sum of thousands of unit rows and its count are large beside their quotient, and integer sums pass
// 2^24.
template <class Storage, class Sum>
double dot(const void* embedding, const void* sums, int64_t width) {
  constexpr int kParts = 8;  // independent sums: one would wait for the latency of every addition
  const typename Storage::Element* const a = static_cast<const typename Storage::Element*>(embedding);
  const Sum* const b = static_cast<const Sum*>(sums);
  double parts[kParts] = {};
  int64_t k = 0;
  for (; k + kParts <= width; k += kParts) {
    for (int p = 0; p < kParts; p++) parts[p] += double(Storage::one(a + k + p)) * double(b[k + p]);
  }
  for (; k < width; k++) parts[k % kParts] += double(Storage::one(a + k)) * double(b[k]);
  double total = 0;
  for (int p = 0; p < kParts; p++) total += parts[p];
  return total;
}

template <class Storage>
double dot_of_dtype(const void* a, const void* sums, int sums_dtype, int64_t width) {
  switch (sums_dtype) {
    case kFloat32: return dot<Storage, float>(a, sums, width);
    case kInt32: return dot<Storage, int32_t>(a, sums, width);
    case kInt64: return dot<Storage, int64_t>(a, sums, width);
    default: return dot<Storage, double>(a, sums, width);
  }
}

}  // namespace
}  // namespace EDGEPERS_ISA
}  // namespace edgepers

// Blocks of dot products, the arithmetic of both the Gram tile and the similarity of embeddings.
#pragma once
#include "simd.h"

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

constexpr int kBlock = kBlockRows * kBlockColumns;

// Memory to be fetched into the cache while products are formed: runs of `run` bytes, `skip` bytes between them, two
// lines a step, in order, so that the hardware runs ahead of it. Addresses are never read.
struct Ahead {
  const char *line, *end;
  int64_t run, skip;

  EDGEPERS_INLINE void fetch() {
    __builtin_prefetch(line);
    __builtin_prefetch(line + 64);
    line += 128;
    if (line >= end) {
      line = end + skip;
      end = line + run;
    }
  }
};

// Whether a[i] . b[j] is wanted. `shift` is the block's first row minus its first column where it crosses the diagonal
// of a Gram matrix, whose lower half is not formed; kWhole otherwise.
constexpr int kWhole = -kBlockRows;
constexpr bool wanted(int i, int j, int shift) { return j >= i + shift; }

// sums[i * kBlockColumns + j] += a[i] . b[j] over `steps` registers, for the first `rows` i. Each sum sees its features
// in one order, whatever else is in the block: that is what makes results independent of the batch.
template <class Product, int shift = kWhole, int rows = kBlockRows>
EDGEPERS_INLINE void add_dots(const typename Product::Element* const* a, const typename Product::Element* const* b,
                              int64_t steps, typename Product::Sums* sums, Ahead* ahead = nullptr) {
  typename Product::Sums local[kBlock];
  const typename Product::Element *left[kBlockRows], *right[kBlockColumns];
  EDGEPERS_UNROLL for (int i = 0; i < kBlock; i++) local[i] = sums[i];
  EDGEPERS_UNROLL for (int i = 0; i < rows; i++) left[i] = a[i];
  EDGEPERS_UNROLL for (int j = 0; j < kBlockColumns; j++) right[j] = b[j];
  for (int64_t k = 0; k < steps * Product::kStep; k += Product::kStep) {
    if (ahead) ahead->fetch();
    typename Product::Register columns[kBlockColumns];
    EDGEPERS_UNROLL for (int j = 0; j < kBlockColumns; j++) columns[j] = Product::read(right[j] + k);
    EDGEPERS_UNROLL for (int i = 0; i < rows; i++) {
      const typename Product::Register row = Product::read(left[i] + k);
      EDGEPERS_UNROLL for (int j = 0; j < kBlockColumns; j++) {
        if (wanted(i, j, shift))
          local[i * kBlockColumns + j] = Product::add(local[i * kBlockColumns + j], row, columns[j]);
      }
    }
  }
  EDGEPERS_UNROLL for (int i = 0; i < kBlock; i++) sums[i] = local[i];
}

// values[i] = sum of the lanes of sums[i], for the kBlock sums of a block.
template <class Sums, class Value>
EDGEPERS_INLINE void across_block(Sums* sums, Value* values) {
  Sums padded[kBlock + kLanes];
  EDGEPERS_UNROLL for (int i = 0; i < kBlock; i++) padded[i] = sums[i];
  EDGEPERS_UNROLL for (int i = kBlock; i < kBlock + kLanes; i++) padded[i] = Sums{};
  EDGEPERS_UNROLL for (int i = 0; i < kBlock; i += kLanes) {
    const Sums done = across(padded + i);
    memcpy(values + i, &done, (kBlock - i < kLanes ? kBlock - i : kLanes) * sizeof(Value));
  }
}

}  // namespace
}  // namespace EDGEPERS_ISA
}  // namespace edgepers

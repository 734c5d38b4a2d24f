// One window: rows into a small scratch array (float32 minus center, or 16-bit as they are), their sum, their Gram
// matrix, its entropy.
#pragma once
#include <math.h>

#include "../edgepers.h"
#include "../isa.h"
#include "dots.h"

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

template <class Storage>
EDGEPERS_INLINE const typename Storage::Element* row_of(const Rows& x, int64_t row) {
  return static_cast<const typename Storage::Element*>(x.data) + row * x.width;
}

template <class Storage>
bool is_dead(const Rows& x, int64_t row) {
  const auto* features = row_of<Storage>(x, row);
  int64_t k = 0;
  while (k < x.width && Storage::one(features + k) == 0.f) k++;
  if (k == x.width) return true;
  if (!x.center) return false;
  for (k = 0; k < x.width && Storage::one(features + k) == x.center[k];) k++;
  return k == x.width;
}

template <class Storage>
int64_t live_rows(const Rows& x, int64_t from, int64_t to, int64_t* live) {
  int64_t count = 0;
  for (int64_t row = from; row < to; row++) {
    if (!is_dead<Storage>(x, row)) live[count++] = row;
  }
  return count;
}

// kLanes features minus center; past the end of a row, zeros.
template <class Storage, bool kCentred, bool kWholeVector>
EDGEPERS_INLINE Floats centred(const typename Storage::Element* features, const float* center, int64_t left) {
  Floats value;
  if (kWholeVector) {
    value = Storage::many(features);
  } else {
    typename Storage::Element tail[kLanes] = {};
    memcpy(tail, features, left * sizeof *tail);
    value = Storage::many(tail);
  }
  return kCentred ? value - load<Floats>(center) : value;
}

// Copy one vector of features of kRows rows, as the product wants them, and add it to their sums.
template <class Storage, class Product, bool kCentred, bool kCopied, int kRows, bool kWholeVector>
EDGEPERS_INLINE void stage_vector(const typename Storage::Element* const* rows, const float* center, int64_t k,
                                  int64_t left, typename Product::Element* copy, float* sums) {
  Floats value[kRows];
  EDGEPERS_UNROLL for (int r = 0; r < kRows; r++) {
    value[r] = centred<Storage, kCentred, kWholeVector>(rows[r] + k, center + k, left);
    typename Product::Element* const target = copy + r * kCacheStride;
    if constexpr (!kCopied) continue;
    if constexpr (sizeof(typename Product::Element) == sizeof(float)) {
      memcpy(target, &value[r], sizeof value[r]);
    } else if (kWholeVector) {  // 16 bits stay 16 bits
      memcpy(target, rows[r] + k, kLanes * sizeof *target);
    } else {
      memset(target, 0, kLanes * sizeof *target);
      memcpy(target, rows[r] + k, left * sizeof *target);
    }
  }
  Floats sum = kRows == 4 ? (value[0] + value[1]) + (value[kRows / 2] + value[kRows - 1]) : value[0];
  sum += load<Floats>(sums);
  memcpy(sums, &sum, sizeof sum);
}

template <class Storage, class Product, bool kCentred, bool kCopied, int kRows>
EDGEPERS_INLINE void stage_rows(const typename Storage::Element* const* rows, const float* center, int64_t begin,
                                int64_t length, typename Product::Element* copy, float* sums) {
  int64_t k = 0;
  for (; k + kLanes <= length; k += kLanes) {
    stage_vector<Storage, Product, kCentred, kCopied, kRows, true>(rows, center, begin + k, 0, copy + k, sums + k);
  }
  if (k < length) {
    stage_vector<Storage, Product, kCentred, kCopied, kRows, false>(rows, center, begin + k, length - k, copy + k,
                                                                    sums + k);
    k += kLanes;
  }
  const int64_t whole = (k + Product::kStep - 1) / Product::kStep * Product::kStep;
  if (kCopied && whole > k) {
    for (int r = 0; r < kRows; r++) memset(copy + r * kCacheStride + k, 0, (whole - k) * sizeof *copy);
  }
}

// A chunk of a window into the scratch array, and the sums of its rows. Four rows at a time, each from its first to its
// last feature: memory is read in few long runs, which the hardware fetches ahead.
template <class Storage, class Product, bool kCentred, bool kCopied>
void stage(const Rows& x, const typename Storage::Element* const* rows, int count, int64_t begin, int64_t length,
           typename Product::Element* copy, float* sums) {
  const float* const center = kCentred ? x.center : nullptr;
  for (int64_t k = 0; k < length + kLanes; k++) sums[k] = 0;
  int r = 0;
  for (; r + 4 <= count; r += 4) {
    stage_rows<Storage, Product, kCentred, kCopied, 4>(rows + r, center, begin, length, copy + r * kCacheStride, sums);
  }
  for (; r < count; r++) {
    stage_rows<Storage, Product, kCentred, kCopied, 1>(rows + r, center, begin, length, copy + r * kCacheStride, sums);
  }
}

// -log(sum of squared cosines / m^2) / log m from a Gram matrix of which the upper triangle is filled.
// In float64: the roundings of norms and quotients would outweigh those of the products, and 256 numbers a window cost
// little.
template <class T>
double window_entropy(const T* gram, int count) {
  double inverse[kWindow] = {}, sums[kWindow] = {};
  for (int i = 0; i < count; i++) inverse[i] = 1 / double(gram[i * kWindow + i]);
  for (int i = 0; i + 1 < count; i++) {
    double row[kWindow];
    for (int j = 0; j < kWindow; j++) row[j] = j > i && j < count ? double(gram[i * kWindow + j]) : 0;
    for (int j = 0; j < kWindow; j++) sums[j] += row[j] * row[j] * inverse[j] * inverse[i];
  }
  double total = 0;
  for (int j = 0; j < kWindow; j++) total += sums[j];
  return -log((count + 2 * total) / (double(count) * count)) / log(double(count));
}

// The same with everything in float64: for rows whose squares leave float32's range. Rare, so short rather than fast.
template <class Storage>
__attribute__((noinline)) double wide_entropy(const Rows& x, const int64_t* rows, int count) {
  double gram[kWindow * kWindow] = {};
  for (int64_t k = 0; k < x.width; k++) {
    double values[kWindow] = {};
    for (int r = 0; r < count; r++) {
      values[r] = double(Storage::one(row_of<Storage>(x, rows[r]) + k)) - (x.center ? double(x.center[k]) : 0);
    }
    for (int i = 0; i < kWindow; i++) {
      for (int j = 0; j < kWindow; j++) gram[i * kWindow + j] += values[i] * values[j];
    }
  }
  return window_entropy(gram, count);
}

// 0, or NaN where a feature is not finite: what a single last row, which weighs nothing, adds to the entropy.
template <class Storage>
double zero_if_finite(const Rows& x, int64_t row) {
  const auto* features = row_of<Storage>(x, row);
  double zero = 0;
  for (int64_t k = 0; k < x.width; k++)
    zero += 0 * (double(Storage::one(features + k)) - (x.center ? double(x.center[k]) : 0));
  return zero;
}

template <class Storage, class Product>
double window(const Rows& x, const int64_t* rows, int count, bool entropy, double* sums, float* scratch) {
  typedef typename Product::Element Element;
  const double alone = entropy && count == 1 ? zero_if_finite<Storage>(x, rows[0]) : 0;
  entropy = entropy && count > 1;
  const typename Storage::Element* sources[kWindow];
  for (int r = 0; r < count; r++) sources[r] = row_of<Storage>(x, rows[r]);
  Element* const copy = reinterpret_cast<Element*>(scratch);
  float* const chunk_sums = scratch + kWindow * kCacheStride;
  Floats* const partial = reinterpret_cast<Floats*>(chunk_sums + kCacheChunk + kPadding);
  const Element* views[kWindow];
  for (int r = 0; r < kWindow; r++) views[r] = copy + r * kCacheStride;
  const int filled = (count + kBlockColumns - 1) / kBlockColumns * kBlockColumns;
  alignas(64) float gram[kWindow * kWindow];  // below the diagonal it stays unset and unused
  const auto stage_chunk = x.center
                               ? entropy ? stage<Storage, Product, true, true> : stage<Storage, Product, true, false>
                           : entropy ? stage<Storage, Product, false, true>
                                     : stage<Storage, Product, false, false>;

  if (entropy && filled > count) {
    memset(copy + count * kCacheStride, 0, (filled - count) * kCacheStride * sizeof(Element));
  }
  for (int64_t begin = 0; begin < x.width; begin += kCacheChunk) {
    const int64_t length = x.width - begin < kCacheChunk ? x.width - begin : kCacheChunk;
    stage_chunk(x, sources, count, begin, length, copy, chunk_sums);
    if (sums) {
      for (int64_t k = 0; k < length; k++) sums[begin + k] += double(chunk_sums[k]);
    }
    if (!entropy) continue;
    const int64_t steps = (length + Product::kStep - 1) / Product::kStep;
    const bool last = begin + kCacheChunk >= x.width;
    Floats* held = partial;
    // What is needed next lies, as a rule, one window further on: it is fetched while this one is multiplied.
    const int64_t element = sizeof(typename Storage::Element);
    const char* const next = reinterpret_cast<const char*>(sources[count - 1] + x.width + begin);
    Ahead ahead = {next, next + length * element, length * element, (x.width - length) * element};
    for (int i = 0; i < count; i += kBlockRows) {
      for (int j = i / kBlockColumns * kBlockColumns; j < count; j += kBlockColumns, held += kBlock) {
        Floats block[kBlock] = {};
        if (i == j) {
          add_dots<Product, 0>(views + i, views + j, steps, block, &ahead);
        } else if (i - j == 2) {  // blocks of two rows have a second one on the diagonal
          add_dots<Product, 2>(views + i, views + j, steps, block, &ahead);
        } else {
          add_dots<Product>(views + i, views + j, steps, block, &ahead);
        }
        if (begin) {  // a sum for each chunk, then a sum of those: fewer roundings than one long sum
          EDGEPERS_UNROLL for (int s = 0; s < kBlock; s++) block[s] += held[s];
        }
        if (!last) {
          EDGEPERS_UNROLL for (int s = 0; s < kBlock; s++) held[s] = block[s];
          continue;
        }
        float values[kBlock];
        across_block(block, values);
        for (int r = 0; r < kBlockRows; r++) {
          memcpy(gram + (i + r) * kWindow + j, values + r * kBlockColumns, kBlockColumns * sizeof(float));
        }
      }
    }
  }
  if (!entropy) return alone;
  for (int r = 0; r < count; r++) {
    const float square = gram[r * kWindow + r];
    if (!(square >= kTiny && square < INFINITY)) return wide_entropy<Storage>(x, rows, count);  // NaN comes here, too
  }
  return window_entropy(gram, count);
}

template <class Storage>
void wide_sums(const Rows& x, const int64_t* rows, int64_t count, double* sums) {
  for (int64_t k = 0; k < x.width; k++) sums[k] = 0;
  for (int64_t r = 0; r < count; r++) {
    const auto* features = row_of<Storage>(x, rows[r]);
    for (int64_t k = 0; k < x.width; k++)
      sums[k] += double(Storage::one(features + k)) - (x.center ? double(x.center[k]) : 0);
  }
}

}  // namespace
}  // namespace EDGEPERS_ISA
}  // namespace edgepers

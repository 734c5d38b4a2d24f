// The kernels of one instruction set. cpu/kernels.cpp is compiled once for each, isa.cpp picks one at run time.
#pragma once
#include <stdint.h>

#include "window.h"

namespace edgepers {

constexpr int64_t kPadding = 64;  // arrays of features that the kernels write are padded with this many

// Features of a window that are worked on at a time. 16 rows of 256 floats are 16 KB, half of the smallest first-level
// cache: the other half takes what is fetched ahead (Zen 5, 2,048 features out of cache: 16.3 GB/s, with chunks of
// 512 14.1).
constexpr int64_t kCacheChunk = 256;
constexpr int64_t kCacheStride = kCacheChunk + 16;  // rows a power of two apart would fall into one cache set
constexpr int64_t kScratch =
    kWindow * kCacheStride + kWindow * kWindow * 16 + kCacheChunk + kPadding;  // floats for one thread

constexpr int64_t kWidest = int64_t(1) << 17;  // features of int8: 2^17 squares of -128 would pass 2^31 - 1

struct Rows {
  const void* data;  // [rows, width]
  int dtype;
  const float* center;  // [width + kPadding], zeros at the end; or null
  int64_t width;
};

struct Kernels {
  const char* name;
  bool (*usable)();

  // Write to `live` the rows in [from, to) that are neither zero nor the center, in order; returns how many.
  int64_t (*live_rows)(const Rows& x, int64_t from, int64_t to, int64_t* live);

  // Entropy of one window of `count` rows; adds their sum to sums [width + kPadding] unless that is null.
  // A single row gives 0, or NaN where it is not finite; without `entropy` only sums are made, and 0 is returned.
  double (*window)(const Rows& x, const int64_t* rows, int count, bool entropy, double* sums, float* scratch);

  // Sum of rows in float64, for sums that left float32's range.
  void (*wide_sums)(const Rows& x, const int64_t* rows, int64_t count, double* sums);

  // out[i * count + j] = a[i] . b[j], exactly; width below kWidest.
  void (*similarity)(const int8_t* a, const int8_t* b, int64_t rows, int64_t count, int64_t width, int32_t* out);
};

const Kernels& kernels();

}  // namespace edgepers

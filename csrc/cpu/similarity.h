// int8 embeddings against others, a block of both at a time: dot products that are exact, whatever the instruction set.
#pragma once
#include "dots.h"

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

// Others that are met by all embeddings of a call before the next ones are read: 256 of 1,024 bytes stay in a
// second-level cache.
constexpr int64_t kOthers = 256;

// values[i * kBlockColumns + j] = a[i] . b[j] for the first `rows` i
template <int rows>
EDGEPERS_INLINE void block_dots(const int8_t* const* a, const int8_t* const* b, int64_t width, int32_t* values) {
  Lanes sums[kBlock] = {};
  const int64_t whole = width / Int8::kStep;
  add_dots<Int8, kWhole, rows>(a, b, whole, sums);
  const int64_t left = width - whole * Int8::kStep;
  if (left > 0) {  // the last features, filled up with zeros
    int8_t tails[kBlockRows + kBlockColumns][Int8::kStep] = {};
    const int8_t* views[kBlockRows + kBlockColumns];
    for (int i = 0; i < kBlockRows + kBlockColumns; i++) {
      memcpy(tails[i], (i < kBlockRows ? a[i] : b[i - kBlockRows]) + whole * Int8::kStep, size_t(left));
      views[i] = tails[i];
    }
    add_dots<Int8, kWhole, rows>(views, views + kBlockRows, 1, sums);
  }
  across_block(sums, values);
}

void similarity(const int8_t* x, const int8_t* y, int64_t rows, int64_t count, int64_t width, int32_t* out) {
  for (int64_t from = 0; from < count; from += kOthers) {
    const int64_t to = from + kOthers < count ? from + kOthers : count;
    for (int64_t r = 0; r < rows; r += kBlockRows) {
      const int8_t* a[kBlockRows];  // a block that juts out repeats its last row
      for (int i = 0; i < kBlockRows; i++) a[i] = x + (r + i < rows ? r + i : rows - 1) * width;
      for (int64_t n = from; n < to; n += kBlockColumns) {
        const int8_t* b[kBlockColumns];
        for (int j = 0; j < kBlockColumns; j++) b[j] = y + (n + j < to ? n + j : to - 1) * width;
        int32_t values[kBlock];
        if (rows - r == 1) {  // as fast as the others can be read, but not four times over
          block_dots<1>(a, b, width, values);
        } else {
          block_dots<kBlockRows>(a, b, width, values);
        }
        const int64_t columns = to - n < kBlockColumns ? to - n : kBlockColumns;
        for (int i = 0; i < kBlockRows && r + i < rows; i++) {
          memcpy(out + (r + i) * count + n, values + i * kBlockColumns, size_t(columns) * sizeof *out);
        }
      }
    }
  }
}

}  // namespace
}  // namespace EDGEPERS_ISA
}  // namespace edgepers

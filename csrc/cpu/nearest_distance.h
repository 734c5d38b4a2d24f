// Embeddings against all centers, a block of both at a time with a running maximum.
#pragma once
#include <math.h>

#include "dots.h"

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

// Centers that are met by all embeddings of a call before the next ones are read: 64 of 1,024 floats stay in a
// second-level cache.
constexpr int64_t kCenters = 64;
constexpr int64_t kEmbeddings = 32;  // rows of one call; isa.h's callers split by it

// values[i * kBlockColumns + j] = a[i] . b[j] for the first `rows` i
template <class Product, int rows>
EDGEPERS_INLINE void block_dots(const typename Product::Element* const* a, const typename Product::Element* const* b,
                                int64_t width, float* values) {
  typedef typename Product::Element Element;
  Floats sums[kBlock] = {};
  const int64_t whole = width / Product::kStep;
  add_dots<Product, kWhole, rows>(a, b, whole, sums);
  const int64_t left = width - whole * Product::kStep;
  if (left > 0) {  // the last features, filled up with zeros
    Element tails[kBlockRows + kBlockColumns][Product::kStep] = {};
    const Element* views[kBlockRows + kBlockColumns];
    for (int i = 0; i < kBlockRows + kBlockColumns; i++) {
      memcpy(tails[i], (i < kBlockRows ? a[i] : b[i - kBlockRows]) + whole * Product::kStep, left * sizeof(Element));
      views[i] = tails[i];
    }
    add_dots<Product, kWhole, rows>(views, views + kBlockRows, 1, sums);
  }
  across_block(sums, values);
}

template <class Product>
void nearest(const void* embeddings, const void* centers, int64_t rows, int64_t count, int64_t width, float* out) {
  typedef typename Product::Element Element;
  const Element* const x = static_cast<const Element*>(embeddings);
  const Element* const c = static_cast<const Element*>(centers);
  for (int64_t r = 0; r < rows; r++) out[r] = -INFINITY;
  for (int64_t from = 0; from < count; from += kCenters) {
    const int64_t to = from + kCenters < count ? from + kCenters : count;
    for (int64_t r = 0; r < rows; r += kBlockRows) {
      const Element* a[kBlockRows];  // a block that juts out repeats its last row
      for (int i = 0; i < kBlockRows; i++) a[i] = x + (r + i < rows ? r + i : rows - 1) * width;
      for (int64_t n = from; n < to; n += kBlockColumns) {
        const Element* b[kBlockColumns];
        for (int j = 0; j < kBlockColumns; j++) b[j] = c + (n + j < to ? n + j : to - 1) * width;
        float values[kBlock];
        if (rows - r == 1) {  // as fast as the centers can be read, but not four times over
          block_dots<Product, 1>(a, b, width, values);
        } else {
          block_dots<Product, kBlockRows>(a, b, width, values);
        }
        for (int i = 0; i < kBlockRows && r + i < rows; i++) {
          float most = out[r + i];
          for (int j = 0; j < kBlockColumns; j++) {
            const float value = values[i * kBlockColumns + j];
            most = value > most || value != value ? value : most;  // NaN stays
          }
          out[r + i] = most;
        }
      }
    }
  }
  for (int64_t r = 0; r < rows; r++) out[r] = 1 - out[r];
}

}  // namespace
}  // namespace EDGEPERS_ISA
}  // namespace edgepers

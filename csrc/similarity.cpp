// Exact dot products of int8 embeddings. One thread: ten thousand of 256 bytes take about as long as waking another.
#include "edgepers.h"
#include "isa.h"

extern "C" int edgepers_similarity(const int8_t* embeddings, const int8_t* others, int64_t rows, int64_t count,
                                   int64_t width, int32_t* out) {
  using namespace edgepers;
  if (width >= kWidest) return kTooWide;
  kernels().similarity(embeddings, others, rows, count, width, out);
  return kOk;
}

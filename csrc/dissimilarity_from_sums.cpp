// In-domain dissimilarity from per-domain sums: one dot product of each embedding with its domain's sum.
#include "edgepers.h"
#include "isa.h"
#include "pool.h"

extern "C" int edgepers_dissimilarity_from_sums(const void* embeddings, int dtype, const int64_t* domains,
                                                const void* sums, int sums_dtype, const double* counts, int64_t rows,
                                                int64_t groups, int64_t width, float* out, int threads) {
  using namespace edgepers;
  if (dtype < kFloat32 || dtype > kBFloat16 || sums_dtype < kFloat32 || sums_dtype > kInt64) return kBadDtype;
  if (sums_dtype == kFloat16 || sums_dtype == kBFloat16) return kBadDtype;
  for (int64_t i = 0; i < rows; i++) {
    if (domains[i] < 0 || domains[i] >= groups) return kBadDomain;
  }
  for (int64_t g = 0; g < groups; g++) {
    if (counts[g] < 0) return kBadCount;
  }
  const int64_t row_bytes = width * (dtype == kFloat32 ? 4 : 2);
  const int64_t sum_bytes = width * (sums_dtype == kFloat64 || sums_dtype == kInt64 ? 8 : 4);
  auto run = [&](int64_t i, int) {
    const int64_t domain = domains[i];
    const double dot = kernels().dot(static_cast<const char*>(embeddings) + i * row_bytes, dtype,
                                     static_cast<const char*>(sums) + domain * sum_bytes, sums_dtype, width);
    out[i] = float(1 - (counts[domain] > 0 ? dot / counts[domain] : 0));
  };
  parallel_for(rows, threads_for(rows * row_bytes, threads), run);
  return kOk;
}

// In-domain dissimilarity from per-domain sums on a GPU: one warp an embedding, float64 as everywhere.
#include "cuda.h"

namespace edgepers {
namespace {

constexpr int kRowsPerBlock = 4;

template <class T, class Sum>
__global__ void dissimilarity_kernel(const T* __restrict__ embeddings, const int64_t* __restrict__ domains,
                                     const Sum* __restrict__ sums, const double* __restrict__ counts, int64_t rows,
                                     int64_t width, float* __restrict__ out) {
  const int64_t row = int64_t(blockIdx.x) * kRowsPerBlock + threadIdx.y;
  if (row >= rows) return;  // a whole warp leaves together
  const int64_t domain = domains[row];
  double dot = 0;
  for (int64_t k = threadIdx.x; k < width; k += kWarp)
    dot += double(widen(embeddings[row * width + k])) * double(sums[domain * width + k]);
  dot = warp_sum(dot);
  if (threadIdx.x == 0) out[row] = counts[domain] > 0 ? float(1 - dot / counts[domain]) : 1.f;
}

}  // namespace
}  // namespace edgepers

int edgepers_dissimilarity_from_sums_cuda(const void* embeddings, int dtype, const int64_t* domains, const void* sums,
                                          int sums_dtype, const double* counts, int64_t rows, int64_t width, float* out,
                                          void* stream) {
  using namespace edgepers;
  if (rows == 0) return cudaSuccess;
  const dim3 grid(unsigned((rows + kRowsPerBlock - 1) / kRowsPerBlock)), block(kWarp, kRowsPerBlock);
  bool known = true;
  known &= with_float(dtype, [&](auto type) {
    auto run = [&](auto of_sum) {
      dissimilarity_kernel<<<grid, block, 0, static_cast<cudaStream_t>(stream)>>>(
          static_cast<decltype(type)>(embeddings), domains, static_cast<decltype(of_sum)>(sums), counts, rows, width,
          out);
    };
    switch (sums_dtype) {
      case kFloat32: return run(static_cast<const float*>(nullptr));
      case kFloat64: return run(static_cast<const double*>(nullptr));
      case kInt32: return run(static_cast<const int32_t*>(nullptr));
      case kInt64: return run(static_cast<const int64_t*>(nullptr));
      default: known = false;
    }
  });
  return known ? cudaGetLastError() : cudaErrorInvalidValue;
}

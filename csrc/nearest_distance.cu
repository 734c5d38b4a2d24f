// Cosine distance to the nearest center on a GPU: tiles of 32 x 32 cosines in registers with a running maximum, none of
// them stored.
#include "cuda.h"

namespace edgepers {
namespace {

constexpr int kTile = 32;       // embeddings of a block, and centers at a time
constexpr int kDepth = 32;      // features in shared memory at a time
constexpr int kThreads = 128;   // 8 x 16 threads, 4 x 2 cosines each
constexpr int kCenters = 1024;  // centers of a block; edgepers/ops/nearest_distance/native_kernel.py counts by it

template <class T>
__device__ __forceinline__ void load_tile(const T* from, int64_t first, int64_t rows, int64_t begin, int64_t width,
                                          float (&tile)[kDepth][kTile + 1]) {
#pragma unroll 2  // four loads in flight for both tiles; more would spill
  for (int i = threadIdx.x; i < kTile * kDepth; i += kThreads) {
    const int row = i / kDepth, k = i % kDepth;
    const bool inside = first + row < rows && begin + k < width;
    tile[k][row] = inside ? widen(from[(first + row) * width + begin + k]) : 0.f;
  }
}

// out[blockIdx.y][b] = 1 - max over the block's centers.
template <class T>
__global__ void __launch_bounds__(kThreads, 4)
    nearest_kernel(const T* __restrict__ embeddings, const T* __restrict__ centers, int64_t rows, int64_t count,
                   int64_t width, float* __restrict__ out) {
  __shared__ float a[kDepth][kTile + 1], b[kDepth][kTile + 1];
  __shared__ float best[kTile][17];
  const int top = threadIdx.x / 16 * 4, left = threadIdx.x % 16 * 2;
  const int64_t first = int64_t(blockIdx.x) * kTile;
  const int64_t from = int64_t(blockIdx.y) * kCenters, to = from + kCenters < count ? from + kCenters : count;
  float most[4] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
  for (int64_t center = from; center < to; center += kTile) {
    float acc[4][2] = {};
    for (int64_t begin = 0; begin < width; begin += kDepth) {
      load_tile(embeddings, first, rows, begin, width, a);
      load_tile(centers, center, to, begin, width, b);
      __syncthreads();
#pragma unroll 8
      for (int k = 0; k < kDepth; k++) {
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
          for (int j = 0; j < 2; j++) acc[i][j] = fmaf(a[k][top + i], b[k][left + j], acc[i][j]);
        }
      }
      __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; i++) {
#pragma unroll
      for (int j = 0; j < 2; j++) {
        const bool better = acc[i][j] > most[i] || isnan(acc[i][j]);  // NaN stays
        if (center + left + j < to && better) most[i] = acc[i][j];
      }
    }
  }
  for (int i = 0; i < 4; i++) best[top + i][threadIdx.x % 16] = most[i];
  __syncthreads();
  if (threadIdx.x < kTile && first + threadIdx.x < rows) {
    float value = best[threadIdx.x][0];
    for (int j = 1; j < 16; j++) {
      const float other = best[threadIdx.x][j];
      if (other > value || isnan(other)) value = other;
    }
    out[int64_t(blockIdx.y) * rows + first + threadIdx.x] = 1.f - value;
  }
}

}  // namespace
}  // namespace edgepers

int edgepers_nearest_distance_cuda(const void* embeddings, const void* centers, int dtype, int64_t rows, int64_t count,
                                   int64_t width, float* out, void* stream) {
  using namespace edgepers;
  if (rows == 0 || count == 0) return cudaSuccess;
  const dim3 grid(unsigned((rows + kTile - 1) / kTile), unsigned((count + kCenters - 1) / kCenters));
  const bool known = with_float(dtype, [&](auto type) {
    using T = decltype(type);
    nearest_kernel<<<grid, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
        static_cast<T>(embeddings), static_cast<T>(centers), rows, count, width, out);
  });
  return known ? cudaGetLastError() : cudaErrorInvalidValue;
}

// One warp, one window: its 16 x 16 Gram matrix and the sum of its rows from one read of each row.
//
// float32, and 16 bits minus a center: 64 features of 16 rows at a time pass through shared memory, each lane forms a 4
// x 2 piece of the tile with fused multiply-adds. 16 bits as they are: matrix instructions (m16n8k16). Features may be
// taken in any order as long as both operands agree, so a lane loads 16 consecutive bytes of two rows and calls them
// the fragment; A and B of a Gram matrix are the same rows, so B needs no loads at all. Shared memory is not touched
// but for the sums.
#pragma once
#include "cuda.h"
#include "window.h"

namespace edgepers {
namespace {

constexpr int kTaskWindows = 4;   // warps of a block
constexpr int kSharedChunk = 64;  // features in shared memory at a time
constexpr int kSharedStride =
    kSharedChunk + 4;  // floats: neighbouring rows four banks apart, 16-byte loads stay aligned

template <bool kMatrix>
struct Scratch {
  float gram[kTaskWindows][kWindow][kWindow + 1];
  float sums[kTaskWindows][kSharedChunk];
  alignas(16) float tile[kMatrix ? 1 : kTaskWindows][kWindow][kMatrix ? 4 : kSharedStride];
};

// Four features from k on as float32; zeros past the end.
template <class T, bool kAligned>
__device__ __forceinline__ float4 load_four(const T* row, int64_t k, int64_t width) {
  if constexpr (kAligned) {
    if (k >= width) return make_float4(0.f, 0.f, 0.f, 0.f);
    if constexpr (sizeof(T) == 4) {
      return *reinterpret_cast<const float4*>(row + k);
    } else {
      const uint2 raw = *reinterpret_cast<const uint2*>(row + k);
      T value[4];
      memcpy(value, &raw, sizeof value);
      return make_float4(widen(value[0]), widen(value[1]), widen(value[2]), widen(value[3]));
    }
  } else {
    return make_float4(k < width ? widen(row[k]) : 0.f, k + 1 < width ? widen(row[k + 1]) : 0.f,
                       k + 2 < width ? widen(row[k + 2]) : 0.f, k + 3 < width ? widen(row[k + 3]) : 0.f);
  }
}

// Write the sums of a block's windows, in the order of the windows: sums[begin + k] for k in [0, kSharedChunk).
template <bool kMatrix>
__device__ __forceinline__ void store_sums(const Scratch<kMatrix>& scratch, int64_t begin, int64_t width, float* sums) {
  __syncthreads();
  const int64_t k = begin + threadIdx.x;
  if (threadIdx.x < kSharedChunk && k < width) {
    double total = 0;
    for (int w = 0; w < kTaskWindows; w++) total += scratch.sums[w][threadIdx.x];
    sums[k] = float(total);  // infinite where it leaves float32's range: the set is then added up again in float64
  }
  __syncthreads();
}

template <class T, bool kAligned>
__device__ void add_window_fused(const T* x, const float* center, const int64_t* rows, int count, int64_t width,
                                 Scratch<false>& scratch, float* sums) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  float (*const tile)[kSharedStride] = scratch.tile[warp];
  const int quad = lane % 16 * 4, half = lane / 16;   // loading: four features of every other row
  const int top = lane / 8 * 4, left = lane % 8 * 2;  // multiplying: rows top..top+3 against left..left+1
  float acc[4][2] = {};
  for (int64_t begin = 0; begin < width; begin += kSharedChunk) {
    const int64_t k = begin + quad;
    float4 c = make_float4(0.f, 0.f, 0.f, 0.f);
    if (center) c = load_four<float, false>(center, k, width);
    float4 sum = make_float4(0.f, 0.f, 0.f, 0.f);
#pragma unroll
    for (int step = 0; step < kWindow / 2; step++) {
      const int r = 2 * step + half;
      float4 value = make_float4(0.f, 0.f, 0.f, 0.f);
      if (r < count) {
        value = load_four<T, kAligned>(x + rows[r] * width, k, width);
        value = make_float4(value.x - c.x, value.y - c.y, value.z - c.z, value.w - c.w);
      }
      sum = make_float4(sum.x + value.x, sum.y + value.y, sum.z + value.z, sum.w + value.w);
      *reinterpret_cast<float4*>(&tile[r][quad]) = value;
    }
    __syncwarp();
#pragma unroll 4
    for (int d = 0; d < kSharedChunk; d += 4) {
      float4 a[4], b[2];
#pragma unroll
      for (int i = 0; i < 4; i++) a[i] = *reinterpret_cast<const float4*>(&tile[top + i][d]);
#pragma unroll
      for (int j = 0; j < 2; j++) b[j] = *reinterpret_cast<const float4*>(&tile[left + j][d]);
#pragma unroll
      for (int i = 0; i < 4; i++) {
#pragma unroll
        for (int j = 0; j < 2; j++) {
          acc[i][j] = fmaf(a[i].x, b[j].x, acc[i][j]);
          acc[i][j] = fmaf(a[i].y, b[j].y, acc[i][j]);
          acc[i][j] = fmaf(a[i].z, b[j].z, acc[i][j]);
          acc[i][j] = fmaf(a[i].w, b[j].w, acc[i][j]);
        }
      }
    }
    __syncwarp();
    if (!sums) continue;
    sum.x += __shfl_xor_sync(kAll, sum.x, 16);
    sum.y += __shfl_xor_sync(kAll, sum.y, 16);
    sum.z += __shfl_xor_sync(kAll, sum.z, 16);
    sum.w += __shfl_xor_sync(kAll, sum.w, 16);
    if (half == 0) {
      scratch.sums[warp][quad] = sum.x;
      scratch.sums[warp][quad + 1] = sum.y;
      scratch.sums[warp][quad + 2] = sum.z;
      scratch.sums[warp][quad + 3] = sum.w;
    }
    store_sums(scratch, begin, width, sums);
  }
  for (int i = 0; i < 4; i++) {
    for (int j = 0; j < 2; j++) scratch.gram[warp][top + i][left + j] = acc[i][j];
  }
  __syncwarp();
}

__device__ __forceinline__ void multiply(float (&acc)[4], const unsigned (&a)[4], unsigned b0, unsigned b1, __half) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

__device__ __forceinline__ void multiply(float (&acc)[4], const unsigned (&a)[4], unsigned b0, unsigned b1,
                                         __nv_bfloat16) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(acc[0]), "+f"(acc[1]), "+f"(acc[2]), "+f"(acc[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Eight features from k on, packed in pairs; zeros past the end.
template <class T, bool kAligned>
__device__ __forceinline__ uint4 load_eight(const T* row, int64_t k, int64_t width) {
  if constexpr (kAligned) {
    return k < width ? *reinterpret_cast<const uint4*>(row + k) : make_uint4(0, 0, 0, 0);
  } else {
    T value[8];
#pragma unroll
    for (int i = 0; i < 8; i++) value[i] = k + i < width ? row[k + i] : T(0.f);
    uint4 raw;
    memcpy(&raw, value, sizeof raw);
    return raw;
  }
}

template <class T>
__device__ __forceinline__ float2 unpack(unsigned pair) {
  T value[2];
  memcpy(value, &pair, sizeof value);
  return make_float2(widen(value[0]), widen(value[1]));
}

template <class T, bool kAligned>
__device__ void add_window_matrix(const T* x, const int64_t* rows, int count, int64_t width, Scratch<true>& scratch,
                                  float* sums) {
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int group = lane / 4,
            part = lane % 4;  // rows `group` and `group + 8`; features part * 8 .. part * 8 + 7 of every 32
  const T* const upper = group < count ? x + rows[group] * width : nullptr;
  const T* const lower = group + 8 < count ? x + rows[group + 8] * width : nullptr;
  float left[4] = {}, right[4] = {};  // columns 0..7 and 8..15 of the tile
  for (int64_t begin = 0; begin < width; begin += kSharedChunk) {
    uint4 up[2], low[2];
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const int64_t k = begin + h * 32 + part * 8;
      up[h] = upper ? load_eight<T, kAligned>(upper, k, width) : make_uint4(0, 0, 0, 0);
      low[h] = lower ? load_eight<T, kAligned>(lower, k, width) : make_uint4(0, 0, 0, 0);
    }
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const unsigned first[4] = {up[h].x, low[h].x, up[h].y, low[h].y},
                     second[4] = {up[h].z, low[h].z, up[h].w, low[h].w};
      multiply(left, first, first[0], first[2], T());
      multiply(right, first, first[1], first[3], T());
      multiply(left, second, second[0], second[2], T());
      multiply(right, second, second[1], second[3], T());
    }
    if (!sums) continue;
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const unsigned u[4] = {up[h].x, up[h].y, up[h].z, up[h].w}, l[4] = {low[h].x, low[h].y, low[h].z, low[h].w};
      float value[8];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        const float2 a = unpack<T>(u[i]), b = unpack<T>(l[i]);
        value[2 * i] = a.x + b.x;
        value[2 * i + 1] = a.y + b.y;
      }
      // Each exchange halves what a lane keeps: after three the eight lanes of a part hold one feature each.
#pragma unroll
      for (int keep = 4, step = 16; keep > 0; keep /= 2, step /= 2) {
        const bool upper_half = lane & step;
#pragma unroll
        for (int i = 0; i < keep; i++) {
          const float mine = upper_half ? value[i + keep] : value[i], other = upper_half ? value[i] : value[i + keep];
          value[i] = mine + __shfl_xor_sync(kAll, other, step);
        }
      }
      const int feature = (lane & 16 ? 4 : 0) + (lane & 8 ? 2 : 0) + (lane & 4 ? 1 : 0);
      scratch.sums[warp][h * 32 + part * 8 + feature] = value[0];
    }
    store_sums(scratch, begin, width, sums);
  }
  for (int i = 0; i < 4; i++) {  // where m16n8 leaves its results
    const int row = group + i / 2 * 8, column = part * 2 + i % 2;
    scratch.gram[warp][row][column] = left[i];
    scratch.gram[warp][row][column + 8] = right[i];
  }
  __syncwarp();
}

template <class T, bool kMatrix, bool kAligned>
__device__ __forceinline__ void add_window(const T* x, const float* center, const int64_t* rows, int count,
                                           int64_t width, Scratch<kMatrix>& scratch, float* sums) {
  if constexpr (kMatrix) {
    add_window_matrix<T, kAligned>(x, rows, count, width, scratch, sums);
  } else {
    add_window_fused<T, kAligned>(x, center, rows, count, width, scratch, sums);
  }
}

// The entropy with all products in float64, for rows whose squares leave float32's range. Rare, so short rather than
// fast.
template <class T>
__device__ __noinline__ float wide_entropy(const T* x, const float* center, const int64_t* rows, int count,
                                           int64_t width) {
  const int lane = threadIdx.x % kWarp;
  auto dot = [&](int i, int j) {
    double sum = 0;
    const T *a = x + rows[i] * width, *b = x + rows[j] * width;
    for (int64_t k = lane; k < width; k += kWarp) {
      const double c = center ? double(center[k]) : 0;
      sum += (double(widen(a[k])) - c) * (double(widen(b[k])) - c);
    }
    return warp_sum(sum);
  };
  double total = 0;
  for (int i = 0; i < count; i++) {
    const double square = dot(i, i);
    for (int j = 0; j < i; j++) {
      const double product = dot(i, j);
      total += product / square * product / dot(j, j);
    }
  }
  return float(-log((count + 2 * total) / (double(count) * count)) / log(double(count)));
}

// -log(sum of squared cosines / m^2) / log m. A single row gives 0, or NaN where it is not finite.
template <class T>
__device__ float window_entropy(const T* x, const float* center, const int64_t* rows, int count, int64_t width,
                                const float (&gram)[kWindow][kWindow + 1]) {
  const int lane = threadIdx.x % kWarp;
  if (count == 0) return 0.f;
  const float square = lane < count ? gram[lane][lane] : 1.f;
  const bool safe = __all_sync(kAll, square >= kTiny && square < INFINITY);  // NaN is not
  if (count == 1) {
    float zero = 0.f;  // a finite row may have an infinite square
    for (int64_t k = lane; !safe && k < width; k += kWarp) zero += 0.f * widen(x[rows[0] * width + k]);
    return warp_sum(zero);
  }
  if (!safe) return wide_entropy(x, center, rows, count, width);
  const float inverse = rsqrtf(square);
  const float refined =
      inverse * (1.5f - 0.5f * square * inverse * inverse);  // rsqrtf alone is off by up to two roundings
  float total = 0.f;
  for (int i = 1; i < count; i++) {
    const float of_row = __shfl_sync(kAll, refined, i);
    const float cosine = lane < i ? gram[i][lane] * of_row * refined : 0.f;
    total += cosine * cosine;
  }
  total = warp_sum(total);
  return -logf((count + 2.f * total) / float(count * count)) / logf(float(count));
}

}  // namespace
}  // namespace edgepers

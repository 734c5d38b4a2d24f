// What the CUDA kernels share: storage types, sums across a warp or block, dispatch on a dtype code.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <stdint.h>

#include "edgepers.h"

namespace edgepers {

constexpr int kWarp = 32;
constexpr unsigned kAll = 0xffffffffu;

__device__ __forceinline__ float widen(float value) { return value; }
__device__ __forceinline__ float widen(__half value) { return __half2float(value); }
__device__ __forceinline__ float widen(__nv_bfloat16 value) { return __bfloat162float(value); }

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int step = kWarp / 2; step > 0; step /= 2) value += __shfl_xor_sync(kAll, value, step);
  return value;
}

// Call f with a null pointer of the type that a float dtype code names; false where it names none.
template <class F>
bool with_float(int dtype, F f) {
  switch (dtype) {
    case kFloat32: f(static_cast<const float*>(nullptr)); return true;
    case kFloat16: f(static_cast<const __half*>(nullptr)); return true;
    case kBFloat16: f(static_cast<const __nv_bfloat16*>(nullptr)); return true;
    default: return false;
  }
}

}  // namespace edgepers

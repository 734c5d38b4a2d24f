// All kernels for one instruction set: compiled with its flags and -DEDGEPERS_ISA=name, once for each. Nothing here may
// call an inline function of the standard library, of which the linker could keep this file's copy for everyone.
#include "../isa.h"
#include "score_tokens.h"
#include "similarity.h"

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

bool usable() {
#if defined(__x86_64__)
  __builtin_cpu_init();
#if defined(__AVX512BF16__)
  if (!__builtin_cpu_supports("avx512bf16")) return false;
#endif
#if defined(__AVX512VNNI__)
  if (!__builtin_cpu_supports("avx512vnni")) return false;
#endif
#if defined(__AVX512F__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#elif defined(__AVX2__)
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
#endif
#elif defined(__aarch64__)
#if defined(__ARM_FEATURE_DOTPROD)
  if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDDP)) return false;
#endif
#if defined(__ARM_FEATURE_FP16_FML)
  if (!(getauxval(AT_HWCAP) & HWCAP_ASIMDFHM)) return false;
#endif
#if defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
  if (!(getauxval(AT_HWCAP2) & HWCAP2_BF16)) return false;
#endif
#endif
  return true;
}

int64_t live_of_dtype(const Rows& x, int64_t from, int64_t to, int64_t* live) {
  switch (x.dtype) {
    case kFloat32: return live_rows<Float32>(x, from, to, live);
    case kFloat16: return live_rows<Float16>(x, from, to, live);
    default: return live_rows<BFloat16>(x, from, to, live);
  }
}

// A center makes 32 bits of 16, so 16-bit products serve only without one.
double window_of_dtype(const Rows& x, const int64_t* rows, int count, bool entropy, double* sums, float* scratch) {
  switch (x.dtype) {
    case kFloat32: return window<Float32, Fused<Float32>>(x, rows, count, entropy, sums, scratch);
    case kFloat16:
#if defined(EDGEPERS_FP16_PRODUCT)
      if (!x.center) return window<Float16, PairsFP16>(x, rows, count, entropy, sums, scratch);
#endif
      return window<Float16, Fused<Float32>>(x, rows, count, entropy, sums, scratch);
    default:
#if defined(EDGEPERS_BF16_PRODUCT)
      if (!x.center) return window<BFloat16, PairsBF16>(x, rows, count, entropy, sums, scratch);
#endif
      return window<BFloat16, Fused<Float32>>(x, rows, count, entropy, sums, scratch);
  }
}

void wide_sums_of_dtype(const Rows& x, const int64_t* rows, int64_t count, double* sums) {
  switch (x.dtype) {
    case kFloat32: return wide_sums<Float32>(x, rows, count, sums);
    case kFloat16: return wide_sums<Float16>(x, rows, count, sums);
    default: return wide_sums<BFloat16>(x, rows, count, sums);
  }
}

}  // namespace

#define EDGEPERS_TEXT(name) #name
#define EDGEPERS_NAME(name) EDGEPERS_TEXT(name)
extern const Kernels kTable;
const Kernels kTable = {EDGEPERS_NAME(EDGEPERS_ISA), usable,    live_of_dtype, window_of_dtype,
                        wide_sums_of_dtype,          similarity};

}  // namespace EDGEPERS_ISA
}  // namespace edgepers

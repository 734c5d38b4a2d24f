// Vectors of the compiler's own kind, as wide as the instruction set that this file is compiled for, and the few things
// they lack: loads of 16-bit floats, 16-bit products, sums across lanes. See csrc/README.md for why.
#pragma once
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace edgepers {
namespace EDGEPERS_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX2__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Rows and columns of a block of dot products: all sums and one operand must stay in registers, of which AVX2 and SSE
// have only 16.
#if defined(__x86_64__) && !defined(__AVX512F__)
constexpr int kBlockRows = 2;
#else
constexpr int kBlockRows = 4;
#endif
constexpr int kBlockColumns = 4;

#define EDGEPERS_UNROLL _Pragma("GCC unroll 16")
#define EDGEPERS_INLINE inline __attribute__((always_inline))

typedef float Floats __attribute__((vector_size(kLanes * 4)));
typedef uint32_t Words __attribute__((vector_size(kLanes * 4)));
typedef int32_t Lanes __attribute__((vector_size(kLanes * 4)));
typedef uint16_t Halves __attribute__((vector_size(kLanes * 2)));

template <class To, class From>
EDGEPERS_INLINE To bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "same size");
  To to;
  memcpy(&to, &from, sizeof to);
  return to;
}

template <class To>
EDGEPERS_INLINE To load(const void* from) {  // any alignment
  To to;
  memcpy(&to, from, sizeof to);
  return to;
}

// float16 to float32 in integer arithmetic: denormals, infinities and NaN included.
template <class W, class F>
EDGEPERS_INLINE F widen_half(W half) {
  const W word = half << 16, twice = word + word;
  const F normal = bits<F>((twice >> 4) + 0x70000000u) * 0x1p-112f;
  const F denormal = bits<F>((twice >> 17) | 0x3f000000u) - 0.5f;
  const W small = W(twice < 0x08000000u);
  return bits<F>((word & 0x80000000u) | (small & bits<W>(denormal)) | (~small & bits<W>(normal)));
}

// 16-bit words, zero-extended. The compiler's own conversion goes through halves of a register on x86.
EDGEPERS_INLINE Words words(const uint16_t* p) {
#if defined(__AVX512F__)
  return Words(_mm512_cvtepu16_epi32(load<__m256i>(p)));
#elif defined(__AVX2__)
  return Words(_mm256_cvtepu16_epi32(load<__m128i>(p)));
#else
  return __builtin_convertvector(load<Halves>(p), Words);
#endif
}

// How features are stored: Element in memory, one(p) a single value as float32, many(p) kLanes of them.
struct Float32 {
  typedef float Element;
  static float one(const float* p) { return *p; }
  static EDGEPERS_INLINE Floats many(const float* p) { return load<Floats>(p); }
};

struct BFloat16 {
  typedef uint16_t Element;
  static float one(const uint16_t* p) { return bits<float>(uint32_t(*p) << 16); }
  static EDGEPERS_INLINE Floats many(const uint16_t* p) { return bits<Floats>(words(p) << 16); }
};

struct Float16 {
  typedef uint16_t Element;
  static float one(const uint16_t* p) {
    typedef uint32_t W1 __attribute__((vector_size(4)));
    typedef float F1 __attribute__((vector_size(4)));
    return widen_half<W1, F1>(W1{*p})[0];
  }
  static EDGEPERS_INLINE Floats many(const uint16_t* p) {
#if defined(__AVX512F__)
    return Floats(_mm512_cvtph_ps(load<__m256i>(p)));
#elif defined(__F16C__)
    return Floats(_mm256_cvtph_ps(load<__m128i>(p)));
#elif defined(__aarch64__)
    return Floats(vcvt_f32_f16(load<float16x4_t>(p)));
#else
    return widen_half<Words, Floats>(words(p));
#endif
  }
};

// How features are multiplied: kStep of them in one Register, add(sums, a, b) adds their products to kLanes sums.
template <class Storage>
struct Fused {
  typedef typename Storage::Element Element;
  typedef Floats Register;
  typedef Floats Sums;
  static constexpr int kStep = kLanes;
  static EDGEPERS_INLINE Register read(const Element* p) { return Storage::many(p); }
  static EDGEPERS_INLINE Floats add(Floats sum, Register a, Register b) { return sum + a * b; }
};

// Products of 16-bit features as they are stored. They flush denormals: callers go to float64 long before that matters.
#if defined(__AVX512BF16__)
#define EDGEPERS_BF16_PRODUCT 1
struct PairsBF16 {
  typedef uint16_t Element;
  typedef __m512i Register;
  typedef Floats Sums;
  static constexpr int kStep = 32;
  static EDGEPERS_INLINE Register read(const Element* p) { return load<Register>(p); }
  static EDGEPERS_INLINE Floats add(Floats sum, Register a, Register b) {
    return Floats(_mm512_dpbf16_ps(__m512(sum), bits<__m512bh>(a), bits<__m512bh>(b)));
  }
};
#elif defined(__ARM_FEATURE_BF16_VECTOR_ARITHMETIC)
#define EDGEPERS_BF16_PRODUCT 1
struct PairsBF16 {
  typedef uint16_t Element;
  typedef bfloat16x8_t Register;
  typedef Floats Sums;
  static constexpr int kStep = 8;
  static EDGEPERS_INLINE Register read(const Element* p) { return load<Register>(p); }
  // The widening multiply-adds round like float32's; BFDOT rounds to odd, which costs the accuracy of a long sum.
  static EDGEPERS_INLINE Floats add(Floats sum, Register a, Register b) {
    return Floats(vbfmlaltq_f32(vbfmlalbq_f32(float32x4_t(sum), a, b), a, b));
  }
};
#endif

#if defined(__ARM_FEATURE_FP16_FML)
#define EDGEPERS_FP16_PRODUCT 1
struct PairsFP16 {
  typedef uint16_t Element;
  typedef float16x8_t Register;
  typedef Floats Sums;
  static constexpr int kStep = 8;
  static EDGEPERS_INLINE Register read(const Element* p) { return load<Register>(p); }
  static EDGEPERS_INLINE Floats add(Floats sum, Register a, Register b) {
    return Floats(vfmlalq_high_f16(vfmlalq_low_f16(float32x4_t(sum), a, b), a, b));
  }
};
#endif

// Products of int8 features, exact in int32.
struct Int8 {
  typedef int8_t Element;
  typedef Lanes Sums;
#if defined(__x86_64__)  // as 16 bits: a pair of products is at most 2 * 128 * 128
  static constexpr int kStep = 2 * kLanes;
#if defined(__AVX512F__)
  typedef __m512i Register;
  static EDGEPERS_INLINE Register read(const int8_t* p) { return _mm512_cvtepi8_epi16(load<__m256i>(p)); }
  static EDGEPERS_INLINE Lanes add(Lanes sums, Register a, Register b) {
#if defined(__AVX512VNNI__)
    return Lanes(_mm512_dpwssd_epi32(__m512i(sums), a, b));
#else
    return sums + Lanes(_mm512_madd_epi16(a, b));
#endif
  }
#elif defined(__AVX2__)
  typedef __m256i Register;
  static EDGEPERS_INLINE Register read(const int8_t* p) { return _mm256_cvtepi8_epi16(load<__m128i>(p)); }
  static EDGEPERS_INLINE Lanes add(Lanes sums, Register a, Register b) { return sums + Lanes(_mm256_madd_epi16(a, b)); }
#else
  typedef __m128i Register;
  static EDGEPERS_INLINE Register read(const int8_t* p) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    return _mm_srai_epi16(_mm_unpacklo_epi8(bytes, bytes), 8);
  }
  static EDGEPERS_INLINE Lanes add(Lanes sums, Register a, Register b) { return sums + Lanes(_mm_madd_epi16(a, b)); }
#endif
#elif defined(__aarch64__)
  typedef int8x16_t Register;
  static constexpr int kStep = 16;
  static EDGEPERS_INLINE Register read(const int8_t* p) { return vld1q_s8(p); }
  static EDGEPERS_INLINE Lanes add(Lanes sums, Register a, Register b) {
#if defined(__ARM_FEATURE_DOTPROD)
    return Lanes(vdotq_s32(int32x4_t(sums), a, b));
#else  // one product of two is at most 128 * 128: their sum might not fit into 16 bits
    const int32x4_t low = vpadalq_s16(int32x4_t(sums), vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return Lanes(vpadalq_s16(low, vmull_high_s8(a, b)));
#endif
  }
#else
  typedef Lanes Register;
  static constexpr int kStep = kLanes;
  static EDGEPERS_INLINE Register read(const int8_t* p) {
    typedef int8_t Bytes __attribute__((vector_size(kLanes)));
    return __builtin_convertvector(load<Bytes>(p), Lanes);
  }
  static EDGEPERS_INLINE Lanes add(Lanes sums, Register a, Register b) { return sums + a * b; }
#endif
};

// Interleave: from two vectors, the first or second parts of `half` lanes of each group of 2 * half.
template <int half, int second>
constexpr int pick(int lane) {
  return lane / (2 * half) * 2 * half + lane % half + second * half + (lane % (2 * half) < half ? 0 : kLanes);
}

template <int... I>
struct Indices {};
template <int n, int... I>
struct Count : Count<n - 1, n - 1, I...> {};
template <int... I>
struct Count<0, I...> {
  typedef Indices<I...> type;
};

template <int half, int second, class Vector, int... I>
EDGEPERS_INLINE Vector interleave(Vector a, Vector b, Indices<I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, pick<half, second>(I)...);
#else
  return __builtin_shuffle(a, b, Lanes{pick<half, second>(I)...});
#endif
}

template <int half, class Vector>
EDGEPERS_INLINE void fold(Vector* sums) {
  typedef typename Count<kLanes>::type All;
  EDGEPERS_UNROLL for (int i = 0; i < half; i++) {
    sums[i] = interleave<half, 0>(sums[i], sums[i + half], All()) + interleave<half, 1>(sums[i], sums[i + half], All());
  }
  if constexpr (half > 1) fold<half / 2>(sums);
}

// Lane i of the result is the sum of the lanes of sums[i]; kLanes vectors in, which are lost.
template <class Vector>
EDGEPERS_INLINE Vector across(Vector* sums) {
  fold<kLanes / 2>(sums);
  return sums[0];
}

}  // namespace
}  // namespace EDGEPERS_ISA
}  // namespace edgepers

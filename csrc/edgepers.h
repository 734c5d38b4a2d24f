// The plain C interface of the kernels: pointers, sizes, dtype codes. The signatures are repeated once, in
// edgepers/ops/native.py.
//
// All arrays are dense and row-major. Callers check shapes, dtypes and devices; the kernels check what only values tell
// (offsets, domains). A function returns one of the codes below and leaves its outputs undefined unless it is kOk.
#pragma once
#include <stdint.h>

#define EDGEPERS_ABI 1  // raise it with every change of this file: a library of another number is refused at load

#pragma GCC visibility push(default)  // all else is hidden
#ifdef __cplusplus
extern "C" {
#endif

enum EdgepersDtype { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2, kFloat64 = 3, kInt32 = 4, kInt64 = 5 };
enum EdgepersCode { kOk = 0, kBadDtype = 1, kBadOffsets = 2, kBadDomain = 3, kBadCount = 4, kNoMemory = 5 };

int edgepers_abi(void);

// Name of the instruction set in use; edgepers_limit_isa(name) forbids better ones (for tests; null allows all),
// returns 0 for unknown ones.
const char* edgepers_isa(void);
int edgepers_limit_isa(const char* name);

// Windowed entropy and mean unit embedding of a ragged batch.
//   hidden [rows, width] float32, float16 or bfloat16; center [width] float32 or null; offsets [sets + 1]
//   entropy [sets] and embedding [sets, width] float32; either may be null: not wanted
int edgepers_score_tokens(const void* hidden, int dtype, const float* center, const int64_t* offsets, int64_t sets,
                          int64_t rows, int64_t width, float* entropy, float* embedding, int threads);

// 1 - max_j of embeddings[i] . centers[j]; count > 0 centers, both arrays of one dtype of float32, float16 or bfloat16.
int edgepers_nearest_distance(const void* embeddings, const void* centers, int dtype, int64_t rows, int64_t count,
                              int64_t width, float* out, int threads);

// 1 - embeddings[i] . sums[domains[i]] / counts[domains[i]], 1 where the count is 0.
//   sums [groups, width] float32, float64, int32 or int64; counts [groups] float64
int edgepers_dissimilarity_from_sums(const void* embeddings, int dtype, const int64_t* domains, const void* sums,
                                     int sums_dtype, const double* counts, int64_t rows, int64_t groups, int64_t width,
                                     float* out, int threads);

// The same on a GPU. Pointers are of one device, `stream` is a cudaStream_t; a cudaError_t comes back. Offsets and
// domains are checked by the caller. live [rows], counts [sets], sums [count, width] and tallies [count, 2] are room to
// work in; tasks [sets + 1] counts the tasks of 64 rows, or less, before each set, `count` of them in all. out of
// nearest is [one for every 1024 centers, rows]: the least is wanted.
const char* edgepers_cuda_error(int code);
int edgepers_score_tokens_cuda(const void* hidden, int dtype, const float* center, const int64_t* offsets,
                               const int64_t* tasks, int64_t sets, int64_t count, int64_t width, int64_t* live,
                               int64_t* counts, float* sums, float* tallies, float* entropy, float* embedding,
                               void* stream);
int edgepers_nearest_distance_cuda(const void* embeddings, const void* centers, int dtype, int64_t rows, int64_t count,
                                   int64_t width, float* out, void* stream);
int edgepers_dissimilarity_from_sums_cuda(const void* embeddings, int dtype, const int64_t* domains, const void* sums,
                                          int sums_dtype, const double* counts, int64_t rows, int64_t width, float* out,
                                          void* stream);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop

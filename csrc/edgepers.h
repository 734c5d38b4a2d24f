// The plain C interface of the kernels: pointers, sizes, dtype codes. The signatures are repeated once, in
// edgepers/ops/native.py.
//
// All arrays are dense and row-major. Callers check shapes, dtypes and devices; the kernels check what only values tell
// (offsets). A function returns one of the codes below and leaves its outputs undefined unless it is kOk.
#pragma once
#include <stdint.h>

#define EDGEPERS_ABI 2  // raise it with every change of this file: a library of another number is refused at load

#pragma GCC visibility push(default)  // all else is hidden
#ifdef __cplusplus
extern "C" {
#endif

enum EdgepersDtype { kFloat32 = 0, kFloat16 = 1, kBFloat16 = 2 };
enum EdgepersCode { kOk = 0, kBadDtype = 1, kBadOffsets = 2, kTooWide = 3, kNoMemory = 4 };

int edgepers_abi(void);

// Rows of a window. The loader knows the number, too, and refuses a library that has another.
int edgepers_window(void);

// Name of the instruction set in use; edgepers_limit_isa(name) forbids better ones (for tests; null allows all),
// returns 0 for unknown ones.
const char* edgepers_isa(void);
int edgepers_limit_isa(const char* name);

// Windowed entropy and mean unit embedding of a ragged batch.
//   hidden [rows, width] float32, float16 or bfloat16; center [width] float32 or null; offsets [sets + 1]
//   entropy [sets] and embedding [sets, width] float32; either may be null: not wanted
int edgepers_score_tokens(const void* hidden, int dtype, const float* center, const int64_t* offsets, int64_t sets,
                          int64_t rows, int64_t width, float* entropy, float* embedding, int threads);

// out[i * count + j] = embeddings[i] . others[j] as an exact integer; kTooWide where 32 bits might not hold it.
int edgepers_similarity(const int8_t* embeddings, const int8_t* others, int64_t rows, int64_t count, int64_t width,
                        int32_t* out);

// Windowed entropy and mean unit embedding on a GPU. Pointers are of one device, `stream` is a cudaStream_t; a
// cudaError_t comes back. Offsets are checked by the caller. live [rows], counts [sets], sums [count, width] and
// tallies [count, 2] are room to work in; tasks [sets + 1] counts the tasks of edgepers_cuda_task_rows() rows, or less,
// before each set, `count` of them in all.
const char* edgepers_cuda_error(int code);
int edgepers_cuda_task_rows(void);
int edgepers_score_tokens_cuda(const void* hidden, int dtype, const float* center, const int64_t* offsets,
                               const int64_t* tasks, int64_t sets, int64_t count, int64_t width, int64_t* live,
                               int64_t* counts, float* sums, float* tallies, float* entropy, float* embedding,
                               void* stream);

#ifdef __cplusplus
}
#endif
#pragma GCC visibility pop

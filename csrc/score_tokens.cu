// Windowed entropy and mean unit embedding on a GPU, in three launches: find live rows, one warp a window, one block a
// set to finish.
//
// Sums and tallies of a task (four windows of one set, always the same four) are added in order, so a set gets the same
// bits in any batch.
#include "cuda.h"
#include "cuda_window.h"

namespace edgepers {
namespace {

constexpr int kLiveThreads = 128;
constexpr int kFinishThreads = 256;

template <class T>
__device__ bool is_dead(const T* row, const float* center, int64_t width) {
  int64_t k = 0;
  while (k < width && widen(row[k]) == 0.f) k++;  // one feature tells, as a rule
  if (k == width) return true;
  if (!center) return false;
  for (k = 0; k < width && widen(row[k]) == center[k];) k++;
  return k == width;
}

// One block a set: live[offsets[b] + i] is its i-th row that is neither zero nor the center, counts[b] how many there
// are.
template <class T>
__global__ void live_kernel(const T* __restrict__ x, const float* __restrict__ center,
                            const int64_t* __restrict__ offsets, int64_t width, int64_t* __restrict__ live,
                            int64_t* __restrict__ counts) {
  __shared__ int warps[kLiveThreads / kWarp];
  const int64_t begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int64_t found = 0;
  for (int64_t first = begin; first < end; first += kLiveThreads) {
    const int64_t row = first + threadIdx.x;
    const bool alive = row < end && !is_dead(x + row * width, center, width);
    const unsigned mask = __ballot_sync(kAll, alive);
    if (lane == 0) warps[warp] = __popc(mask);
    __syncthreads();
    int64_t before = found;
    for (int w = 0; w < kLiveThreads / kWarp; w++) {
      if (w < warp) before += warps[w];
      found += warps[w];
    }
    if (alive) live[begin + before + __popc(mask & ((1u << lane) - 1))] = row;
    __syncthreads();
  }
  if (threadIdx.x == 0) counts[blockIdx.x] = found;
}

// One block a task: kTaskWindows windows of one set, a warp each.
template <class T, bool kMatrix, bool kAligned>
__global__ void __launch_bounds__(kTaskWindows* kWarp)
    task_kernel(const T* __restrict__ x, const float* __restrict__ center, const int64_t* __restrict__ offsets,
                const int64_t* __restrict__ tasks, int64_t sets, int64_t width, const int64_t* __restrict__ live,
                const int64_t* __restrict__ counts, float* __restrict__ sums, float2* __restrict__ tallies) {
  __shared__ Scratch<kMatrix> scratch;
  __shared__ float2 parts[kTaskWindows];
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  int64_t low = 0, high = sets;  // the set of this task: the last with tasks[set] <= blockIdx.x
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    if (tasks[middle] <= int64_t(blockIdx.x)) low = middle;
    else high = middle;
  }
  const int64_t first = (int64_t(blockIdx.x) - tasks[low]) * kTaskWindows * kWindow + warp * kWindow;
  const int64_t left = counts[low] - first;
  const int count = left >= kWindow ? kWindow : left > 0 ? int(left) : 0;
  const int64_t* const rows = live + offsets[low] + first;

  add_window<T, kMatrix, kAligned>(x, center, rows, count, width, scratch,
                                   sums ? sums + int64_t(blockIdx.x) * width : nullptr);
  const float entropy = window_entropy(x, center, rows, count, width, scratch.gram[warp]);
  if (lane == 0) parts[warp] = make_float2(count * entropy, count > 1 ? float(count) : 0.f);
  __syncthreads();
  if (threadIdx.x == 0) {
    float2 tally = make_float2(0.f, 0.f);
    for (int w = 0; w < kTaskWindows; w++) tally = make_float2(tally.x + parts[w].x, tally.y + parts[w].y);
    tallies[blockIdx.x] = tally;
  }
}

__device__ double block_sum(double value, double* shared) {
  value = warp_sum(value);
  if (threadIdx.x % kWarp == 0) shared[threadIdx.x / kWarp] = value;
  __syncthreads();
  double total = 0;
  for (int w = 0; w < kFinishThreads / kWarp; w++) total += shared[w];
  __syncthreads();
  return total;
}

// One block a set: adds its tasks up in order.
template <class T>
__global__ void finish_kernel(const T* __restrict__ x, const float* __restrict__ center,
                              const int64_t* __restrict__ offsets, const int64_t* __restrict__ tasks, int64_t width,
                              const int64_t* __restrict__ live, const int64_t* __restrict__ counts,
                              const float* __restrict__ sums, const float2* __restrict__ tallies,
                              float* __restrict__ entropy, float* __restrict__ embedding) {
  __shared__ double shared[kFinishThreads / kWarp];
  const int64_t begin = tasks[blockIdx.x], end = tasks[blockIdx.x + 1];
  if (entropy && threadIdx.x == 0) {
    double total = 0, weight = 0;
    for (int64_t task = begin; task < end; task++) {
      total += tallies[task].x;
      weight += tallies[task].y;
    }
    const double value = total / (weight > 0 ? weight : 1);
    entropy[blockIdx.x] = float(value < 0 ? 0 : value > 1 ? 1 : value);  // NaN stays
  }
  if (!embedding) return;
  auto sum_of = [&](int64_t k, bool wide) {  // wide: from the rows, where their float32 sums left float32's range
    double sum = 0;
    if (!wide) {
      for (int64_t task = begin; task < end; task++) sum += sums[task * width + k];
      return sum;
    }
    for (int64_t i = 0; i < counts[blockIdx.x]; i++) {
      sum += double(widen(x[live[offsets[blockIdx.x] + i] * width + k])) - (center ? double(center[k]) : 0);
    }
    return sum;
  };
  bool wide = false;
  double square = 0;
  for (int attempt = 0; attempt < 2; attempt++) {
    double part = 0;
    for (int64_t k = threadIdx.x; k < width; k += kFinishThreads) {
      const double sum = sum_of(k, wide);
      part += sum * sum;
    }
    square = block_sum(part, shared);
    if (isfinite(square)) break;
    wide = true;
  }
  const double inverse = square == 0 ? 0 : 1 / sqrt(square);
  for (int64_t k = threadIdx.x; k < width; k += kFinishThreads) {
    embedding[int64_t(blockIdx.x) * width + k] = square == 0 ? 0.f : float(sum_of(k, wide) * inverse);
  }
}

struct Arguments {
  const float* center;
  const int64_t *offsets, *tasks;
  int64_t sets, count, width;
  int64_t *live, *counts;
  float* sums;
  float2* tallies;
  float *entropy, *embedding;
};

template <class T>
void launch(const T* x, const Arguments& a, cudaStream_t stream) {
  live_kernel<<<unsigned(a.sets), kLiveThreads, 0, stream>>>(x, a.center, a.offsets, a.width, a.live, a.counts);
  // 16-byte loads of eight halves or four floats need rows that start on 16 bytes.
  const bool aligned = a.width * sizeof(T) % 16 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0;
  auto tasks = [&](auto kernel) {
    kernel<<<unsigned(a.count), kTaskWindows * kWarp, 0, stream>>>(
        x, a.center, a.offsets, a.tasks, a.sets, a.width, a.live, a.counts, a.embedding ? a.sums : nullptr, a.tallies);
  };
  if constexpr (sizeof(T) == 2) {  // a center makes 32 bits of 16, which the matrix instructions would round
    if (!a.center) {
      aligned ? tasks(task_kernel<T, true, true>) : tasks(task_kernel<T, true, false>);
    } else {
      aligned ? tasks(task_kernel<T, false, true>) : tasks(task_kernel<T, false, false>);
    }
  } else {
    aligned ? tasks(task_kernel<T, false, true>) : tasks(task_kernel<T, false, false>);
  }
  finish_kernel<<<unsigned(a.sets), kFinishThreads, 0, stream>>>(x, a.center, a.offsets, a.tasks, a.width, a.live,
                                                                 a.counts, a.sums, a.tallies, a.entropy, a.embedding);
}

}  // namespace
}  // namespace edgepers

int edgepers_abi(void) { return EDGEPERS_ABI; }

int edgepers_window(void) { return edgepers::kWindow; }

int edgepers_cuda_task_rows(void) { return edgepers::kTaskWindows * edgepers::kWindow; }

const char* edgepers_cuda_error(int code) { return cudaGetErrorString(cudaError_t(code)); }

int edgepers_score_tokens_cuda(const void* hidden, int dtype, const float* center, const int64_t* offsets,
                               const int64_t* tasks, int64_t sets, int64_t count, int64_t width, int64_t* live,
                               int64_t* counts, float* sums, float* tallies, float* entropy, float* embedding,
                               void* stream) {
  using namespace edgepers;
  if (sets == 0) return cudaSuccess;
  const Arguments a = {center,  offsets,  tasks,  sets, count,
                       width,   live,     counts, sums, reinterpret_cast<float2*>(tallies),
                       entropy, embedding};
  const bool known = with_float(
      dtype, [&](auto type) { launch(static_cast<decltype(type)>(hidden), a, static_cast<cudaStream_t>(stream)); });
  return known ? cudaGetLastError() : cudaErrorInvalidValue;
}

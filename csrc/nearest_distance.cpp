// Cosine distance to the nearest center: blocks of embeddings are handed out, each meets all centers.
//
// A single embedding against many centers is split over the centers instead; a maximum does not mind the order.
#include <math.h>

#include <new>
#include <vector>

#include "edgepers.h"
#include "isa.h"
#include "pool.h"

namespace {
constexpr int64_t kRows = 32;       // embeddings of a task
constexpr int64_t kCenters = 1024;  // centers of a task: 2 MB of 512 floats
}  // namespace

extern "C" int edgepers_nearest_distance(const void* embeddings, const void* centers, int dtype, int64_t rows,
                                         int64_t count, int64_t width, float* out, int threads) try {
  using namespace edgepers;
  if (dtype < kFloat32 || dtype > kBFloat16) return kBadDtype;
  const int64_t bytes = width * (dtype == kFloat32 ? 4 : 2);
  const int64_t row_tasks = (rows + kRows - 1) / kRows, center_tasks = (count + kCenters - 1) / kCenters;
  std::vector<float> distances(size_t(rows * center_tasks));  // [center_tasks, rows]: a 1024th of all cosines
  auto run = [&](int64_t task, int) {
    const int64_t row = task % row_tasks * kRows, center = task / row_tasks * kCenters;
    kernels().nearest(static_cast<const char*>(embeddings) + row * bytes,
                      static_cast<const char*>(centers) + center * bytes, dtype,
                      rows - row < kRows ? rows - row : kRows, count - center < kCenters ? count - center : kCenters,
                      width, distances.data() + task / row_tasks * rows + row);
  };
  parallel_for(row_tasks * center_tasks, threads_for((rows + count) * bytes + rows * count * width / 8, threads), run);
  for (int64_t r = 0; r < rows; r++) {
    float least = distances[size_t(r)];
    for (int64_t c = 1; c < center_tasks; c++) {
      const float other = distances[size_t(c * rows + r)];
      least = other < least || other != other ? other : least;  // NaN stays
    }
    out[r] = least;
  }
  return kOk;
} catch (const std::bad_alloc&) {
  return kNoMemory;
}

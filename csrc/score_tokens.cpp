// Windowed entropy and mean unit embedding of a ragged batch: cut into tasks, add up, finish.
//
// A set of up to kTaskRows rows is one task; a longer one is split into runs of windows whose sums are added in order.
// The split depends on the set alone, so its result is the same in any batch and on any number of threads, bit for bit.
#include <math.h>
#include <stdlib.h>

#include <memory>
#include <new>
#include <vector>

#include "edgepers.h"
#include "isa.h"
#include "pool.h"

namespace edgepers {
namespace {

constexpr int64_t kTaskRows =
    128;  // 128 rows of 256 floats are 128 KB, some ten microseconds: enough to pay for handing out a task

struct Task {
  int64_t set;
  int64_t first;  // of its live rows; the task ends after kTaskRows, or with the set
  int64_t slot;   // of the partial results of a split set; -1: the task is the whole set
};

struct Tally {  // what a task adds up besides row sums
  double entropy = 0;
  double weight = 0;
};

struct Free {
  void operator()(void* memory) const { free(memory); }
};
template <class T>
using Array = std::unique_ptr<T, Free>;

template <class T>
Array<T> array(int64_t count) {
  void* memory = nullptr;
  if (posix_memalign(&memory, 64, size_t(count > 0 ? count : 1) * sizeof(T))) throw std::bad_alloc();
  return Array<T>(static_cast<T*>(memory));
}

class Scoring {
 public:
  Scoring(const Rows& x, const int64_t* offsets, int64_t sets, int64_t rows, float* entropy, float* embedding,
          int threads)
      : x_(x),
        offsets_(offsets),
        sets_(sets),
        entropy_(entropy),
        embedding_(embedding),
        threads_(threads),
        padded_((x.width + kPadding + 15) / 16 * 16),
        live_(array<int64_t>(rows)),
        counts_(size_t(sets), -1),
        scratch_(array<float>(threads * kScratch)),
        sums_(array<double>(threads * padded_)) {}

  void run() {
    std::vector<int64_t> split;
    for (int64_t b = 0; b < sets_; b++) {
      if (offsets_[b + 1] - offsets_[b] > kTaskRows) split.push_back(b);
    }
    auto find = [&](int64_t i, int) { find_live(split[size_t(i)]); };
    parallel_for(int64_t(split.size()), threads_, find);

    std::vector<Task> tasks;
    std::vector<int64_t> slots(size_t(sets_), 0);
    int64_t slot = 0;
    for (int64_t b = 0; b < sets_; b++) {
      const int64_t count = counts_[size_t(b)];
      slots[size_t(b)] = slot;
      if (count < 0) tasks.push_back({b, 0, -1});
      for (int64_t first = 0; first < count; first += kTaskRows) tasks.push_back({b, first, slot++});
    }
    partial_ = array<double>(slot * (embedding_ ? padded_ : 0));
    tallies_.resize(size_t(slot));
    auto score = [&](int64_t i, int worker) { score_task(tasks[size_t(i)], worker); };
    parallel_for(int64_t(tasks.size()), threads_, score);

    auto join = [&](int64_t i, int) { join_set(split[size_t(i)], slots[size_t(split[size_t(i)])]); };
    parallel_for(int64_t(split.size()), threads_, join);
  }

 private:
  int64_t* live(int64_t set) { return live_.get() + offsets_[set]; }

  void find_live(int64_t set) {
    counts_[size_t(set)] = kernels().live_rows(x_, offsets_[set], offsets_[set + 1], live(set));
  }

  void score_task(const Task& task, int worker) {
    if (task.slot < 0) find_live(task.set);
    const int64_t left = counts_[size_t(task.set)] - task.first;
    double* const sums = !embedding_     ? nullptr
                         : task.slot < 0 ? sums_.get() + worker * padded_
                                         : partial_.get() + task.slot * padded_;
    const Tally tally = add_windows(live(task.set) + task.first, left < kTaskRows ? left : kTaskRows, sums, worker);
    if (task.slot < 0) {
      finish(task.set, tally, sums);
    } else {
      tallies_[size_t(task.slot)] = tally;
    }
  }

  Tally add_windows(const int64_t* rows, int64_t count, double* sums, int worker) {
    Tally tally;
    for (int64_t k = 0; sums && k < padded_; k++) sums[k] = 0;
    for (int64_t first = 0; first < count; first += kWindow) {
      const int some = int(count - first < kWindow ? count - first : kWindow);
      const double entropy =
          kernels().window(x_, rows + first, some, entropy_ != nullptr, sums, scratch_.get() + worker * kScratch);
      tally.entropy += some * entropy;
      tally.weight += some > 1 ? some : 0;  // a single last row weighs nothing
    }
    return tally;
  }

  void join_set(int64_t set, int64_t slot) {
    Tally total;
    double* const sums = embedding_ ? partial_.get() + slot * padded_ : nullptr;
    for (int64_t first = 0; first < counts_[size_t(set)]; first += kTaskRows, slot++) {
      total.entropy += tallies_[size_t(slot)].entropy;
      total.weight += tallies_[size_t(slot)].weight;
      const double* const part = partial_.get() + slot * padded_;
      for (int64_t k = 0; first > 0 && sums && k < x_.width; k++) sums[k] += part[k];
    }
    std::vector<double> none;  // a set of dead rows alone has no slot to borrow
    if (embedding_ && counts_[size_t(set)] == 0) none.resize(size_t(padded_));
    finish(set, total, none.empty() ? sums : none.data());
  }

  void finish(int64_t set, const Tally& tally, double* sums) {
    if (entropy_) {
      const double value = tally.entropy / (tally.weight > 0 ? tally.weight : 1);
      entropy_[set] = float(value < 0 ? 0 : value > 1 ? 1 : value);  // NaN stays
    }
    if (!embedding_) return;
    double square = square_length(sums);
    if (!isfinite(square)) {
      kernels().wide_sums(x_, live(set), counts_[size_t(set)], sums);
      square = square_length(sums);
    }
    float* const out = embedding_ + set * x_.width;
    const double length = sqrt(square);
    for (int64_t k = 0; k < x_.width; k++) out[k] = square == 0 ? 0.f : float(sums[k] / length);
  }

  double square_length(const double* sums) const {
    double parts[8] = {};
    for (int64_t k = 0; k < x_.width / 8 * 8; k += 8) {
      for (int p = 0; p < 8; p++) parts[p] += sums[k + p] * sums[k + p];
    }
    for (int64_t k = x_.width / 8 * 8; k < x_.width; k++) parts[0] += sums[k] * sums[k];
    return ((parts[0] + parts[4]) + (parts[1] + parts[5])) + ((parts[2] + parts[6]) + (parts[3] + parts[7]));
  }

  const Rows x_;
  const int64_t* offsets_;
  int64_t sets_;
  float *entropy_, *embedding_;
  int threads_;
  int64_t padded_;
  Array<int64_t> live_;          // live rows of each set, from the set's first row on
  std::vector<int64_t> counts_;  // how many; -1: not known yet
  Array<float> scratch_;
  Array<double> sums_, partial_;
  std::vector<Tally> tallies_;
};

bool cuts_into_sets(const int64_t* offsets, int64_t sets, int64_t rows) {
  if (sets < 0 || offsets[0] != 0 || offsets[sets] != rows) return false;
  for (int64_t b = 0; b < sets; b++) {
    if (offsets[b + 1] <= offsets[b]) return false;
  }
  return true;
}

}  // namespace
}  // namespace edgepers

extern "C" int edgepers_score_tokens(const void* hidden, int dtype, const float* center, const int64_t* offsets,
                                     int64_t sets, int64_t rows, int64_t width, float* entropy, float* embedding,
                                     int threads) try {
  using namespace edgepers;
  if (dtype < kFloat32 || dtype > kBFloat16) return kBadDtype;
  if (!cuts_into_sets(offsets, sets, rows)) return kBadOffsets;
  if (sets == 0) return kOk;
  std::vector<float> padded;
  if (center) {
    padded.assign(center, center + width);
    padded.resize(size_t(width + kPadding));
  }
  const Rows x = {hidden, dtype, center ? padded.data() : nullptr, width};
  const int64_t bytes = rows * width * (dtype == kFloat32 ? 4 : 2);
  Scoring(x, offsets, sets, rows, entropy, embedding, threads_for(bytes, threads)).run();
  return kOk;
} catch (const std::bad_alloc&) {
  return kNoMemory;
}

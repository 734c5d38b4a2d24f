// Tests of the C interface against float64, on every instruction set that this machine (or its emulator) has. No
// framework: it must cross-compile and run under an emulator and sanitizers alone. Prints one line per instruction set,
// exits 1 at the first failure.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <random>
#include <string>
#include <thread>
#include <vector>

#include "../edgepers.h"

namespace {

#define CHECK(condition, ...)                                         \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s: ", __FILE__, __LINE__, #condition); \
      fprintf(stderr, __VA_ARGS__);                                   \
      fprintf(stderr, " on %s\n", edgepers_isa());                    \
      exit(1);                                                        \
    }                                                                 \
  } while (0)

uint16_t to_half(float value) {  // round to nearest, ties away: any rounding will do for test data
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const uint32_t sign = bits >> 16 & 0x8000;
  const int exponent = int(bits >> 23 & 0xff) - 112;
  if (exponent <= 0) return uint16_t(sign);
  return uint16_t(sign | (((uint32_t(exponent) << 10) + (bits >> 13 & 0x3ff)) + (bits >> 12 & 1)));
}

float from_half(uint16_t half) {
  const int exponent = half >> 10 & 31, mantissa = half & 1023;
  const float size = exponent ? ldexpf(float(mantissa + 1024), exponent - 25) : ldexpf(float(mantissa), -24);
  return half & 0x8000 ? -size : size;
}

struct Array {  // [n] values of a dtype, with the float each of them is
  int dtype;
  std::vector<float> values;
  std::vector<uint16_t> halves;

  Array(int dtype_, std::vector<float> values_) : dtype(dtype_), values(std::move(values_)) {
    for (float& value : values) {
      if (dtype == kFloat32) break;
      uint32_t bits;
      memcpy(&bits, &value, 4);
      const uint16_t half = dtype == kFloat16 ? to_half(value) : uint16_t(bits >> 16);
      const uint32_t wide = uint32_t(half) << 16;
      halves.push_back(half);
      if (dtype == kFloat16) value = from_half(half);
      if (dtype == kBFloat16) memcpy(&value, &wide, 4);
    }
  }
  const void* data() const { return dtype == kFloat32 ? static_cast<const void*>(values.data()) : halves.data(); }
  const void* at(int64_t i) const {
    return dtype == kFloat32 ? static_cast<const void*>(values.data() + i) : halves.data() + i;
  }
};

std::mt19937 generator(7);

std::vector<float> normal(int64_t count, float scale = 1) {
  std::normal_distribution<float> distribution;
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = scale * distribution(generator);
  return values;
}

struct Scores {
  std::vector<float> entropy, embedding;
};

struct Ragged {
  Array hidden;
  std::vector<float> center;  // empty: none
  std::vector<int64_t> offsets;
  int64_t width;

  int64_t sets() const { return int64_t(offsets.size()) - 1; }
  const float* center_or_null() const { return center.empty() ? nullptr : center.data(); }
};

Scores score(const Ragged& r, int threads, bool entropy = true, bool embedding = true) {
  Scores s;
  s.entropy.assign(size_t(r.sets()), NAN);
  s.embedding.assign(size_t(r.sets() * r.width), NAN);
  const int code = edgepers_score_tokens(r.hidden.data(), r.hidden.dtype, r.center_or_null(), r.offsets.data(),
                                         r.sets(), r.offsets.back(), r.width, entropy ? s.entropy.data() : nullptr,
                                         embedding ? s.embedding.data() : nullptr, threads);
  CHECK(code == kOk, "code %d", code);
  return s;
}

// The definitions with sums in T: double is the truth, float what plain code makes of it.
template <class T>
void reference(const Ragged& r, int64_t set, T* entropy, std::vector<T>* embedding) {
  std::vector<std::vector<T>> rows;
  for (int64_t i = r.offsets[size_t(set)]; i < r.offsets[size_t(set) + 1]; i++) {
    std::vector<T> row;
    bool zero = true, same = !r.center.empty();
    for (int64_t k = 0; k < r.width; k++) {
      const float value = r.hidden.values[size_t(i * r.width + k)];
      zero &= value == 0;
      same = same && value == r.center[size_t(k)];
      row.push_back(T(value) - (r.center.empty() ? T(0) : T(r.center[size_t(k)])));
    }
    if (!zero && !same) rows.push_back(row);
  }
  auto dot = [&](const std::vector<T>& a, const std::vector<T>& b) {
    T sum = 0;
    for (int64_t k = 0; k < r.width; k++) sum += a[size_t(k)] * b[size_t(k)];
    return sum;
  };
  T total = 0, weight = 0;
  for (size_t first = 0; first < rows.size(); first += 16) {
    const size_t m = rows.size() - first < 16 ? rows.size() - first : 16;
    if (m < 2) continue;
    T squares = 0;
    for (size_t i = 0; i < m; i++) {
      for (size_t j = 0; j < m; j++) {
        const auto &a = rows[first + i], &b = rows[first + j];
        const T cosine = dot(a, b) / sqrt(dot(a, a)) / sqrt(dot(b, b));
        squares += cosine * cosine;
      }
    }
    total += T(m) * (-log(squares / T(m * m)) / log(T(m)));
    weight += T(m);
  }
  const T value = weight > 0 ? total / weight : 0;
  *entropy = value < 0 ? 0 : value > 1 ? 1 : value;
  embedding->assign(size_t(r.width), 0);
  for (const auto& row : rows) {
    for (int64_t k = 0; k < r.width; k++) (*embedding)[size_t(k)] += row[size_t(k)];
  }
  const T length = sqrt(dot(*embedding, *embedding));
  for (T& v : *embedding) v = length == 0 ? 0 : v / length;
}

constexpr double kUlps = 4 * 1.1920929e-7 / 2;  // four units in the last place of a number below 1

Ragged ragged(int dtype, int64_t width, std::vector<int64_t> lengths, bool centred, float scale = 1) {
  std::vector<int64_t> offsets = {0};
  for (int64_t n : lengths) offsets.push_back(offsets.back() + n);
  std::vector<float> values = normal(offsets.back() * width, scale);
  const std::vector<float> shared = normal(width, scale);
  for (size_t i = 0; i < values.size(); i++) values[i] += shared[i % size_t(width)] / 2;
  std::vector<float> center = Array(dtype, normal(width, scale)).values;
  for (int64_t row : {3, 17, 18, 40}) {
    for (int64_t k = 0; row < offsets.back() && k < width; k++)
      values[size_t(row * width + k)] = row == 40 ? center[size_t(k)] : 0;
  }
  return {Array(dtype, values), centred ? center : std::vector<float>(), offsets, width};
}

// Judged over the whole batch: of one set alone, plain code may be exact by luck.
void check_scores(const Ragged& r) {
  const Scores got = score(r, 1);
  double error[2] = {}, limit[2] = {kUlps, kUlps};
  auto compare = [&](int what, double value, double plain, double truth) {
    CHECK(isfinite(value), "not finite, width %d, dtype %d", int(r.width), r.hidden.dtype);
    error[what] = fmax(error[what], fabs(value - truth));
    limit[what] = fmax(limit[what], 2 * fabs(plain - truth));
  };
  for (int64_t b = 0; b < r.sets(); b++) {
    double truth;
    float plain;
    std::vector<double> truths;
    std::vector<float> plains;
    reference(r, b, &truth, &truths);
    reference(r, b, &plain, &plains);
    compare(0, got.entropy[size_t(b)], plain, truth);
    for (size_t k = 0; k < size_t(r.width); k++)
      compare(1, got.embedding[size_t(b * r.width) + k], plains[k], truths[k]);
  }
  for (int what = 0; what < 2; what++) {
    CHECK(error[what] <= limit[what], "%s, width %d, dtype %d: error %g above %g", what ? "embedding" : "entropy",
          int(r.width), r.hidden.dtype, error[what], limit[what]);
  }
}

bool same(const float* a, const float* b, int64_t count) { return memcmp(a, b, size_t(count) * sizeof(float)) == 0; }

// A set alone, on any number of threads, with or without the other result: the same bits.
void check_independence(const Ragged& r) {
  const Scores all = score(r, 1);
  for (int threads : {2, 5}) {
    const Scores again = score(r, threads);
    CHECK(same(all.entropy.data(), again.entropy.data(), r.sets()), "%d threads", threads);
    CHECK(same(all.embedding.data(), again.embedding.data(), r.sets() * r.width), "%d threads", threads);
  }
  CHECK(same(all.entropy.data(), score(r, 2, true, false).entropy.data(), r.sets()), "entropy only");
  CHECK(same(all.embedding.data(), score(r, 2, false, true).embedding.data(), r.sets() * r.width), "embedding only");
  for (int64_t b = 0; b < r.sets(); b++) {
    const int64_t zero_to[2] = {0, r.offsets[size_t(b) + 1] - r.offsets[size_t(b)]};
    float entropy;
    std::vector<float> embedding(static_cast<size_t>(r.width));
    const int code =
        edgepers_score_tokens(r.hidden.at(r.offsets[size_t(b)] * r.width), r.hidden.dtype, r.center_or_null(), zero_to,
                              1, zero_to[1], r.width, &entropy, embedding.data(), 3);
    CHECK(code == kOk && same(&entropy, &all.entropy[size_t(b)], 1), "set %d alone", int(b));
    CHECK(same(embedding.data(), all.embedding.data() + b * r.width, r.width), "set %d alone", int(b));
  }
}

void check_refusals() {
  const float x[4] = {1, 2, 3, 4};
  float entropy[2];
  for (std::vector<int64_t> offsets : {std::vector<int64_t>{1, 4}, {0, 3}, {0, 2, 2, 4}, {0, 3, 2, 4}}) {
    const int code = edgepers_score_tokens(x, kFloat32, nullptr, offsets.data(), int64_t(offsets.size()) - 1, 4, 1,
                                           entropy, nullptr, 1);
    CHECK(code == kBadOffsets, "code %d", code);
  }
  const int64_t offsets[2] = {0, 4};
  CHECK(edgepers_score_tokens(x, 3, nullptr, offsets, 1, 4, 1, entropy, nullptr, 1) == kBadDtype, "dtype");
  CHECK(edgepers_score_tokens(x, kFloat32, nullptr, offsets, 0, 0, 1, entropy, nullptr, 1) == kOk, "empty");
  CHECK(edgepers_similarity(nullptr, nullptr, 1, 1, 131072, nullptr) == kTooWide, "too wide");
  CHECK(edgepers_window() == 16, "window");
  CHECK(!edgepers_limit_isa("vax") && edgepers_abi() == EDGEPERS_ABI, "names");
}

// Exact, so any order of adding must give these very integers; the least and the greatest value there is among them.
void check_similarity(int64_t rows, int64_t count, int64_t width) {
  std::uniform_int_distribution<int> distribution(-128, 127);
  auto draw = [&](int64_t n) {
    std::vector<int8_t> values(static_cast<size_t>(n * width));
    for (int8_t& value : values) value = int8_t(distribution(generator));
    for (int64_t k = 0; k < width; k++) values[size_t(k)] = -128;
    return values;
  };
  const std::vector<int8_t> a = draw(rows), b = draw(count);
  std::vector<int32_t> got(static_cast<size_t>(rows * count), -1);
  CHECK(edgepers_similarity(a.data(), b.data(), rows, count, width, got.data()) == kOk, "similarity");
  for (int64_t i = 0; i < rows; i++) {
    for (int64_t j = 0; j < count; j++) {
      int64_t dot = 0;
      for (int64_t k = 0; k < width; k++) dot += int64_t(a[size_t(i * width + k)]) * b[size_t(j * width + k)];
      CHECK(got[size_t(i * count + j)] == dot, "%d . %d of %d x %d x %d: %d, not %d", int(i), int(j), int(rows),
            int(count), int(width), got[size_t(i * count + j)], int(dot));
    }
  }
}

// Many callers at once, and a child process: the pool must give each its own result.
void check_pool() {
  const Ragged r = ragged(kFloat32, 1024, std::vector<int64_t>(12, 100), true);
  const Scores want = score(r, 1);
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; t++) {
    callers.emplace_back([&] {
      for (int i = 0; i < 5; i++) {
        const Scores got = score(r, 4);
        CHECK(same(got.embedding.data(), want.embedding.data(), r.sets() * r.width), "callers at once");
      }
    });
  }
  for (auto& caller : callers) caller.join();
#if !defined(__SANITIZE_THREAD__)  // which does not follow a fork of many threads
  const pid_t child = fork();
  if (child == 0) _exit(same(score(r, 4).embedding.data(), want.embedding.data(), r.sets() * r.width) ? 0 : 1);
  int status = -1;
  waitpid(child, &status, 0);
  CHECK(status == 0, "in a child: status %d", status);
#endif
}

}  // namespace

int main() {
  check_refusals();
  for (const char* name : {"sse2", "avx2", "avx512", "avx512vnni", "avx512bf16", "neon", "neon_dot", "neon_fp16",
                           "neon_bf16", "generic"}) {
    if (!edgepers_limit_isa(name) || std::string(edgepers_isa()) != name) continue;
    for (int dtype : {kFloat32, kFloat16, kBFloat16}) {
      for (bool centred : {false, true}) {
        for (int64_t width : {1, 3, 63, 64, 256, 1100})
          check_scores(ragged(dtype, width, {1, 2, 15, 16, 17, 33, 150}, centred));
        check_scores(ragged(dtype, 40, {20, 20}, centred, dtype == kFloat16 ? 1e4f : 1e15f));
        check_independence(ragged(dtype, 1000, {5, 129, 40, 300, 1, 16, 600}, centred));  // enough for two threads
      }
    }
    check_scores(ragged(kFloat32, 40, {20, 20}, true, 1e-20f));
    for (int64_t width : {1, 7, 63, 64, 513}) {
      for (int64_t rows : {1, 3, 37}) check_similarity(rows, 70, width);
    }
    check_similarity(5, 600, 40);
    check_similarity(1, 1, 131071);  // the widest: -128 everywhere comes within 2^14 of 2^31
    check_pool();
    printf("%s: well\n", name);
  }
  return 0;
}

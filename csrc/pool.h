// A small thread pool. Threads sleep on a condition variable between calls and never spin, so they take nothing from
// OpenMP's.
#pragma once
#include <stdint.h>

namespace edgepers {

// Call task(context, index, worker) for every index in [0, count), on at most `threads` threads including the caller's,
// worker in [0, threads). Which thread runs an index is open: results must not depend on it. Runs on the caller alone
// while another thread uses the pool, and in a child process after fork() with threads of its own. Tasks must not
// throw.
void parallel_for(int64_t count, int threads, void (*task)(void* context, int64_t index, int worker), void* context);

template <class F>
void parallel_for(int64_t count, int threads, F& body) {
  parallel_for(count, threads, [](void* f, int64_t index, int worker) { (*static_cast<F*>(f))(index, worker); }, &body);
}

// Threads worth waking for this many bytes. Waking one can take as long as reading a megabyte: 1.6 MB took 0.18 ms on
// two threads and 0.09 ms on one (virtual machine, Zen 5), 12 MB took 0.38 ms on two and 0.56 ms on one.
inline int threads_for(int64_t bytes, int threads) {
  const int64_t useful = bytes >> 20;
  return int(useful < 1 || threads < 1 ? 1 : useful < threads ? useful : threads);
}

}  // namespace edgepers

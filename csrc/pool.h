// A small thread pool. Threads sleep on a condition variable between calls and never spin, so they take nothing from OpenMP's.
#pragma once
#include <stdint.h>

namespace edgepers {

// Call task(context, index, worker) for every index in [0, count), on at most `threads` threads including the caller's, worker in
// [0, threads). Which thread runs an index is open: results must not depend on it. Runs on the caller alone while another thread uses
// the pool, and in a child process after fork() with threads of its own. Tasks must not throw.
void parallel_for(int64_t count, int threads, void (*task)(void* context, int64_t index, int worker), void* context);

template <class F>
void parallel_for(int64_t count, int threads, F& body) {
  parallel_for(count, threads, [](void* f, int64_t index, int worker) { (*static_cast<F*>(f))(index, worker); }, &body);
}

// Threads worth waking for this many bytes: waking one takes tens of microseconds, in which one thread reads a few hundred kilobytes.
inline int threads_for(int64_t bytes, int threads) {
  const int64_t useful = 1 + bytes / (256 << 10);
  return int(useful < threads ? useful : (threads < 1 ? 1 : threads));
}

}  // namespace edgepers

#include "pool.h"

#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>

namespace edgepers {
namespace {

using Task = void (*)(void*, int64_t, int);

class Pool {
 public:
  void run(int64_t count, int threads, Task task, void* context) {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (!turn.owns_lock()) {  // another thread's call has the workers: do not wait for it
      for (int64_t i = 0; i < count; i++) task(context, i, 0);
      return;
    }
    {
      std::lock_guard<std::mutex> guard(state_);
      grow(threads - 1);
      task_ = task;
      context_ = context;
      count_ = count;
      next_.store(0, std::memory_order_relaxed);
      helpers_ = threads - 1 < workers_ ? threads - 1 : workers_;
      running_ = helpers_;
      round_++;
    }
    if (helpers_ > 0) wake_.notify_all();
    work(0);
    std::unique_lock<std::mutex> guard(state_);
    done_.wait(guard, [this] { return running_ == 0; });
  }

 private:
  void grow(int wanted) {
    while (workers_ < wanted) {
      try {
        std::thread(&Pool::serve, this, workers_, round_).detach();
      } catch (const std::system_error&) {
        return;  // no more threads to be had: go on with those there are
      }
      workers_++;
    }
  }

  void serve(int worker, uint64_t seen) {
    std::unique_lock<std::mutex> guard(state_);
    for (;;) {
      wake_.wait(guard, [&] { return round_ != seen; });
      seen = round_;
      if (worker >= helpers_) continue;
      guard.unlock();
      work(worker + 1);
      guard.lock();
      if (--running_ == 0) done_.notify_one();
    }
  }

  void work(int worker) {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < count_;) task_(context_, i, worker);
  }

  std::mutex turn_;   // held by the call that uses the workers
  std::mutex state_;  // guards what follows, but for next_
  std::condition_variable wake_, done_;
  Task task_ = nullptr;
  void* context_ = nullptr;
  int64_t count_ = 0;
  std::atomic<int64_t> next_{0};
  int workers_ = 0, helpers_ = 0, running_ = 0;
  uint64_t round_ = 0;
};

// Never destroyed: sleeping threads may outlive static destructors. Replaced after fork(), which copies no threads.
std::atomic<Pool*> pool{nullptr};

Pool* the_pool() {
  static const bool made = [] {
    pool.store(new Pool);
    pthread_atfork(nullptr, nullptr, [] { pool.store(new Pool); });
    return true;
  }();
  (void)made;
  return pool.load();
}

}  // namespace

void parallel_for(int64_t count, int threads, Task task, void* context) {
  if (threads > count) threads = int(count);
  if (threads <= 1) {
    for (int64_t i = 0; i < count; i++) task(context, i, 0);
    return;
  }
  the_pool()->run(count, threads, task, context);
}

}  // namespace edgepers

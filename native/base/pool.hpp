// A pool of worker threads. std::thread only; no OpenMP runtime.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/denormals.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace anyfm {

// n threads, the caller among them, that all run one function at a time, in the caller's floating-point mode.
class Pool {
 public:
  explicit Pool(int n_threads) : n_(n_threads) {
    for (int t = 1; t < n_; ++t) workers_.emplace_back([this, t] { work(t); });
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stop_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }

  int size() const { return n_; }

  // Runs f(t) for t = 0 … size() − 1, one call on each thread, and returns when all are done. f must not throw.
  // Calls from several threads at once take turns.
  void run(const std::function<void(int)>& f) {
    if (n_ == 1) return f(0);
    std::lock_guard<std::mutex> turn(turn_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &f;
      float_control_ = FloatControl::get();
      ++generation_;
      running_ = n_ - 1;
    }
    wake_.notify_all();
    f(0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
  }

 private:
  void work(int t) {
    long seen = 0;
    for (;;) {
      const std::function<void(int)>* job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
        if (stop_) return;
        seen = generation_;
        job = job_;
        FloatControl::set(float_control_);
      }
      (*job)(t);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        --running_;
      }
      done_.notify_one();
    }
  }

  const int n_;
  std::vector<std::thread> workers_;
  std::mutex mutex_, turn_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* job_ = nullptr;
  uint64_t float_control_ = 0;
  long generation_ = 0;
  int running_ = 0;
  bool stop_ = false;
};

// A pool that starts its threads when first needed, and anew in a forked child, where those of the parent do not exist.
class LazyPool {
 public:
  explicit LazyPool(int n_threads) : n_threads_(n_threads) {}
  int size() const { return n_threads_; }
  Pool& get() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (pool_ && process_ != current_process()) pool_.release();  // its threads live in the parent only
    if (!pool_) {
      pool_ = std::make_unique<Pool>(n_threads_);
      process_ = current_process();
    }
    return *pool_;
  }

 private:
  static long current_process() {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<long>(getpid());
#else
    return 0;
#endif
  }
  const int n_threads_;
  std::mutex mutex_;
  std::unique_ptr<Pool> pool_;
  long process_ = 0;
};

// Runs f(chunk, begin, end) over a fixed number of chunks of 0 … n − 1, so that sums taken by chunk do not depend on
// the number of threads.
constexpr int kChunks = 64;
template <class F>
void for_chunks(int64_t n, Pool& pool, F&& f) {
  pool.run([&](int t) {
    for (int chunk = t; chunk < kChunks; chunk += pool.size()) f(chunk, n * chunk / kChunks, n * (chunk + 1) / kChunks);
  });
}

}  // namespace anyfm

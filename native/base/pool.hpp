// A pool of worker threads. std::thread only; no OpenMP runtime.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/barrier.hpp"
#include "base/denormals.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace anyfm {

// Threads, the caller among them, that all run one function at a time, in the caller's floating-point mode: as many as
// asked for, or fewer where the system starts no more.
class Pool {
 public:
  explicit Pool(int n_threads) {
    workers_.reserve(static_cast<size_t>(n_threads - 1));
    try {
      for (int t = 1; t < n_threads; ++t) workers_.emplace_back([this, t] { work(t); });
    } catch (const std::exception&) {  // the system's limit of threads, or its memory: those that run are enough
    }
    n_ = static_cast<int>(workers_.size()) + 1;
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

  // Runs f(t) for t = 0 … size() − 1, one call on each thread, and returns when all are done. What a call throws is
  // thrown here, once all have ended; `barrier`, at which the calls wait for each other, is aborted then.
  // Calls of `run` from several threads at once take turns.
  void run(const std::function<void(int)>& f) { run(f, nullptr); }
  void run(Barrier& barrier, const std::function<void(int)>& f) { run(f, &barrier); }

 private:
  void run(const std::function<void(int)>& f, Barrier* barrier) {
    if (n_ == 1) return f(0);
    std::lock_guard<std::mutex> turn(turn_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &f;
      barrier_ = barrier;
      error_ = nullptr;
      float_control_ = FloatControl::get();
      ++generation_;
      running_ = n_ - 1;
    }
    wake_.notify_all();
    call(f, 0);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return running_ == 0; });
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  // f(t), of which the first error is remembered.
  void call(const std::function<void(int)>& f, int t) noexcept {
    try {
      f(t);
    } catch (const BarrierAborted&) {  // the error is another thread's
    } catch (...) {
      {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
      }
      if (barrier_) barrier_->abort();
    }
  }

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
      call(*job, t);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        --running_;
      }
      done_.notify_one();
    }
  }

  int n_;
  std::vector<std::thread> workers_;
  std::mutex mutex_, turn_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* job_ = nullptr;
  Barrier* barrier_ = nullptr;
  std::exception_ptr error_;
  uint64_t float_control_ = 0;
  long generation_ = 0;
  int running_ = 0;
  bool stop_ = false;
};

// A pool that starts its threads when first needed, and anew in a forked child, where those of the parent do not exist.
class LazyPool {
 public:
  explicit LazyPool(int n_threads) : n_threads_(n_threads) {}
  ~LazyPool() { forget_that_of_the_parent(); }
  Pool& get() {
    std::lock_guard<std::mutex> lock(mutex_);
    forget_that_of_the_parent();
    if (!pool_) {
      pool_ = std::make_unique<Pool>(n_threads_);
      process_ = current_process();
    }
    return *pool_;
  }

 private:
  // Its threads do not exist in this process: there is nothing to join.
  void forget_that_of_the_parent() {
    if (pool_ && process_ != current_process()) pool_.release();
  }
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

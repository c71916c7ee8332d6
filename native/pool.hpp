// A pool of worker threads and a barrier. std::thread only; no OpenMP runtime.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "denormals.hpp"

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define ANYFM_PAUSE() _mm_pause()
#else
#define ANYFM_PAUSE() std::this_thread::yield()
#endif

namespace anyfm {

// All threads of a team wait until the last has come. Spins for some microseconds, since a block of rows is short, then
// sleeps: where other programs hold the cores, a spinning thread would only keep the one it waits for from running.
class Barrier {
 public:
  explicit Barrier(int n) : n_(n) {}

  void wait() {
    if (n_ == 1) return;
    const int phase = phase_.load(std::memory_order_acquire);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) == n_ - 1) {
      arrived_.store(0, std::memory_order_relaxed);
      {
        std::lock_guard<std::mutex> lock(mutex_);
        phase_.store(phase + 1, std::memory_order_release);
      }
      if (sleepers_.load(std::memory_order_relaxed) > 0) next_.notify_all();
      return;
    }
    for (int spin = 0; spin < kSpins; ++spin) {
      if (phase_.load(std::memory_order_acquire) != phase) return;
      ANYFM_PAUSE();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_relaxed);
    next_.wait(lock, [&] { return phase_.load(std::memory_order_acquire) != phase; });
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  static constexpr int kSpins = 4000;
  const int n_;
  std::atomic<int> arrived_{0};
  std::atomic<int> phase_{0};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable next_;
};

// n threads, the caller among them, that all run one function at a time. `flush`: with denormal numbers taken as zero,
// as training and scoring want it, and reading of text does not.
class Pool {
 public:
  Pool(int n_threads, bool flush) : n_(n_threads), flush_(flush) {
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
    std::optional<FlushDenormals> flush;
    if (flush_) flush.emplace();
    if (n_ == 1) return f(0);
    std::lock_guard<std::mutex> turn(turn_);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      job_ = &f;
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
    std::optional<FlushDenormals> flush;
    if (flush_) flush.emplace();
    long seen = 0;
    for (;;) {
      const std::function<void(int)>* job;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stop_ || generation_ != seen; });
        if (stop_) return;
        seen = generation_;
        job = job_;
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
  const bool flush_;
  std::vector<std::thread> workers_;
  std::mutex mutex_, turn_;
  std::condition_variable wake_, done_;
  const std::function<void(int)>* job_ = nullptr;
  long generation_ = 0;
  int running_ = 0;
  bool stop_ = false;
};

}  // namespace anyfm

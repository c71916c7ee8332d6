// A barrier for the threads of one computation. Atomics and std::thread only; no OpenMP runtime.
#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#if defined(__x86_64__) || defined(_M_X64)
#include <immintrin.h>
#define ANYFM_PAUSE() _mm_pause()
#else
#define ANYFM_PAUSE() std::this_thread::yield()
#endif

namespace anyfm {

// What `Barrier::wait` throws where another thread of the team has failed.
struct BarrierAborted : std::exception {
  const char* what() const noexcept override { return "another thread failed"; }
};

// All threads of a team wait until the last has arrived. Spins for some microseconds, since a block of rows is short,
// then sleeps: where other programs hold the cores, a spinning thread would only keep the one that it waits for from
// running. Where one of the team fails, `abort` lets the others fail too instead of waiting for it for ever.
class Barrier {
 public:
  explicit Barrier(int n) : n_(n) {}

  void wait() {
    if (n_ == 1) return;
    const int phase = phase_.load(std::memory_order_acquire);
    check();
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
      if (phase_.load(std::memory_order_acquire) != phase) return check();
      ANYFM_PAUSE();
    }
    std::unique_lock<std::mutex> lock(mutex_);
    sleepers_.fetch_add(1, std::memory_order_relaxed);
    next_.wait(lock, [&] { return phase_.load(std::memory_order_acquire) != phase; });
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
    lock.unlock();
    check();
  }

  void abort() noexcept {
    aborted_.store(true, std::memory_order_release);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      phase_.fetch_add(2, std::memory_order_acq_rel);  // no phase that a waiting thread can be in
    }
    next_.notify_all();
  }

 private:
  void check() const {
    if (aborted_.load(std::memory_order_acquire)) throw BarrierAborted();
  }

  static constexpr int kSpins = 4000;
  const int n_;
  std::atomic<int> arrived_{0};
  std::atomic<int> phase_{0};
  std::atomic<bool> aborted_{false};
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable next_;
};

}  // namespace anyfm

// Whether this thread takes numbers too small for a normal float as zero.
//
// Models do, in training and in scoring alike: a penalty shrinks useless weights without end, and arithmetic with
// denormal numbers is some hundred times slower. A reader of text must not. The threads of a pool (pool.hpp) take over
// the mode of the thread that calls them, so a mode is set once, where a computation begins.
#pragma once

#include <cstdint>

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
#endif

namespace anyfm {

// The floating-point control register of this thread; 0 and without effect where it is unknown.
class FloatControl {
 public:
#if defined(__SSE__) || defined(_M_X64)
  static constexpr uint64_t kFlush = 0x8040;  // results that are denormal, operands that are
  static uint64_t get() { return _mm_getcsr(); }
  static void set(uint64_t bits) { _mm_setcsr(static_cast<unsigned>(bits)); }
#elif defined(__aarch64__) && defined(__GNUC__)
  static constexpr uint64_t kFlush = uint64_t{1} << 24;
  static uint64_t get() {
    uint64_t bits;
    asm volatile("mrs %0, fpcr" : "=r"(bits));
    return bits;
  }
  static void set(uint64_t bits) { asm volatile("msr fpcr, %0" : : "r"(bits)); }
#else
  static constexpr uint64_t kFlush = 0;
  static uint64_t get() { return 0; }
  static void set(uint64_t) {}
#endif
};

// Sets the mode of this thread while it lives.
class DenormalMode {
 public:
  enum Mode { kKeep, kFlush };

  explicit DenormalMode(Mode mode) : before_(FloatControl::get()) {
    FloatControl::set(mode == kFlush ? before_ | FloatControl::kFlush : before_ & ~FloatControl::kFlush);
  }
  DenormalMode(const DenormalMode&) = delete;
  DenormalMode& operator=(const DenormalMode&) = delete;
  ~DenormalMode() { FloatControl::set(before_); }

 private:
  uint64_t before_;
};

}  // namespace anyfm

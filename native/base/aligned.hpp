// Floats that begin on a cache line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>

namespace anyfm {

// Not set to anything.
class AlignedFloats {
 public:
  AlignedFloats() = default;
  explicit AlignedFloats(int64_t n) : memory_(new float[static_cast<size_t>(n + kLine)]) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory_.get());
    data_ = memory_.get() + (kLine - at / sizeof(float) % kLine) % kLine;
  }
  float* get() { return data_; }
  const float* get() const { return data_; }

 private:
  static constexpr int64_t kLine = 16;
  std::unique_ptr<float[]> memory_;
  float* data_ = nullptr;
};

inline AlignedFloats aligned_zeros(int64_t n) {
  AlignedFloats floats(n);
  std::fill(floats.get(), floats.get() + n, 0.0f);
  return floats;
}

}  // namespace anyfm

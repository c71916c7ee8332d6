// Random numbers by counter: number i of a stream is a hash of (seed, stream, i) and of nothing else, so that any
// thread may draw any of them, in any order, and all get the same bytes.
//
// The hash is the output function of splitmix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number generators",
// 2014): an add and two multiplications for 64 bits. Not for secrets.
#pragma once

#include <cmath>
#include <cstdint>

namespace anyfm {

class Random {
 public:
  explicit Random(uint64_t seed, uint64_t stream = 0) : key_(mix(mix(seed + kStep) ^ (stream * kStep + 1))) {}

  // 64 even bits.
  uint64_t bits(uint64_t i) const { return mix(key_ + (i + 1) * kStep); }

  // U[0, 1), a multiple of 2⁻²⁴.
  float uniform(uint64_t i) const { return static_cast<float>(bits(i) >> 40) * 0x1p-24f; }

  // N(0, 1) (Box and Muller 1958), at most 6.66 from zero.
  float normal(uint64_t i) const {
    constexpr float kTwoPi = 6.28318530717958648f;
    const uint64_t drawn = bits(i);
    const float radius = static_cast<float>((drawn >> 32) + 1) * 0x1p-32f;  // U(0, 1]
    const float angle = static_cast<float>(static_cast<uint32_t>(drawn) >> 8) * 0x1p-24f;
    return std::sqrt(-2.0f * std::log(radius)) * std::cos(kTwoPi * angle);
  }

 private:
  static constexpr uint64_t kStep = 0x9e3779b97f4a7c15;
  static constexpr uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  uint64_t key_;
};

}  // namespace anyfm

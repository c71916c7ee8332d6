// Dropout. A hash of (seed, position) decides what is dropped, so that a mask is the same wherever it is drawn.
#pragma once

#include <cstdint>

#include "base/random.hpp"

namespace anyfm {

// The rate, and where the draws come from, a new stream for each epoch.
struct Dropout {
  float rate = 0;
  Random random{0};
};

// out[i] becomes 0 with probability `rate`, to a part in 2^24, and 1 / (1 − rate) otherwise.
//
// 32 bits to a number, so that the loop runs in vectors; the hash is Wellons' lowbias32 ("Prospecting for hash
// functions", 2018) with a key. Not for secrets.
inline void fill_dropout_mask(float* out, int64_t n, float rate, uint64_t seed) {
  const int32_t dropped = static_cast<int32_t>(rate * 0x1p24f);
  const float scale = 1.0f / (1.0f - rate);
  const uint32_t low = static_cast<uint32_t>(seed), high = static_cast<uint32_t>(seed >> 32);
  for (int64_t i = 0; i < n; ++i) {
    uint32_t x = static_cast<uint32_t>(i) * 0x9e3779b9u + low;
    x ^= x >> 16;
    x *= 0x21f0aaadu;
    x ^= (x >> 15) ^ high;
    x *= 0x735a2d97u;
    x ^= x >> 15;
    out[i] = static_cast<int32_t>(x >> 8) < dropped ? 0.0f : scale;
  }
}

}  // namespace anyfm

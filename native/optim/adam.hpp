// Adam (Kingma and Ba, ICLR 2015, algorithm 1) for parameters that every row uses: one step for each block of rows.
#pragma once

#include <cmath>
#include <cstdint>

#include "base/simd.hpp"

namespace anyfm {

// What one step has in common for all parameters.
struct AdamStep {
  static constexpr float kFirst = 0.9f, kSecond = 0.999f, kEpsilon = 1e-8f;
  float learning_rate;  // with the correction of the first moment's bias
  float spread;         // by which the root of the second moment is multiplied

  // Step number n, from 1 on.
  AdamStep(float rate, int64_t n)
      : learning_rate(static_cast<float>(rate / (1 - std::pow(double{kFirst}, static_cast<double>(n))))),
        spread(static_cast<float>(1 / std::sqrt(1 - std::pow(double{kSecond}, static_cast<double>(n))))) {}

  ANYFM_INLINE float apply(float value, float& first, float& second, float g) const {
    first = kFirst * first + (1 - kFirst) * g;
    second = kSecond * second + (1 - kSecond) * g * g;
    return value - learning_rate * first / (std::sqrt(second) * spread + kEpsilon);
  }
};

}  // namespace anyfm

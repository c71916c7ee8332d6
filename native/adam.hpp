// Adam (Kingma and Ba, ICLR 2015, algorithm 1) for parameters that every row touches: one step per block of rows.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "simd.hpp"

namespace anyfm {

// What a step of Adam is for every number.
struct AdamStep {
  static constexpr float kFirst = 0.9f, kSecond = 0.999f, kEpsilon = 1e-8f;
  float learning_rate;  // with the correction of the first moment's bias
  float spread;         // by which the root of the second moment is multiplied

  // Step number n, from 1 on.
  AdamStep(float rate, int64_t n)
      : learning_rate(static_cast<float>(rate / (1 - std::pow(double{kFirst}, static_cast<double>(n))))),
        spread(static_cast<float>(1 / std::sqrt(1 - std::pow(double{kSecond}, static_cast<double>(n))))) {}

  ANYFM_INLINE float apply(float value, float& first, float& second, float g, float rate = 1) const {
    first = kFirst * first + (1 - kFirst) * g;
    second = kSecond * second + (1 - kSecond) * g * g;
    return value - learning_rate * rate * first / (std::sqrt(second) * spread + kEpsilon);
  }
};

// n numbers with their state, in lines of n: the numbers, both moments, how many times the learning rate each steps,
// and its L2 penalty in the mean loss.
class Dense {
 public:
  static constexpr int kLines = 5;

  Dense(int64_t n) : n_(n), lines_(static_cast<size_t>(kLines * n), 0.0f) {}

  int64_t size() const { return n_; }
  float* data() { return lines_.data(); }
  const float* values() const { return lines_.data(); }
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

  // One step along the mean gradient over the rows of a block.
  void step(const float* gradient, float learning_rate) {
    const AdamStep step(learning_rate, ++steps_);
    float *value = lines_.data(), *first = value + n_, *second = first + n_;
    const float *rate = second + n_, *penalty = rate + n_;
    for (int64_t i = 0; i < n_; ++i)
      value[i] = step.apply(value[i], first[i], second[i], gradient[i] + penalty[i] * value[i], rate[i]);
  }

 private:
  int64_t n_;
  std::vector<float> lines_;
  int64_t steps_ = 0;
};

}  // namespace anyfm

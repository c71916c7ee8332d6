// Adam (Kingma and Ba, ICLR 2015, algorithm 1) for parameters that every row touches: one step per block of rows.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

namespace anyfm {

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
    constexpr float kFirst = 0.9f, kSecond = 0.999f, kEpsilon = 1e-8f;
    ++steps_;
    const double n = static_cast<double>(steps_);
    const float unbias =
        static_cast<float>(std::sqrt(1 - std::pow(double{kSecond}, n)) / (1 - std::pow(double{kFirst}, n)));
    float *value = lines_.data(), *first = value + n_, *second = first + n_;
    const float *rate = second + n_, *penalty = rate + n_;
    for (int64_t i = 0; i < n_; ++i) {
      const float g = gradient[i] + penalty[i] * value[i];
      first[i] = kFirst * first[i] + (1 - kFirst) * g;
      second[i] = kSecond * second[i] + (1 - kSecond) * g * g;
      value[i] -= learning_rate * rate[i] * unbias * first[i] / (std::sqrt(second[i]) + kEpsilon);
    }
  }

 private:
  int64_t n_;
  std::vector<float> lines_;
  int64_t steps_ = 0;
};

}  // namespace anyfm

// Dense parameters, which every row uses, and their optimizer.
//
// A parameter is stored as number / unit: the model uses stored value × unit. The optimizer sees stored values only, so
// that one learning rate suits parameters of any size: its gradient is that by the number × unit, and its L2 penalty in
// the mean loss is l2 / 2 · (value − center)², with the center in the same unit. `decay` shrinks a value toward its
// center by learning_rate · decay in each step.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "optim/adam.hpp"

namespace anyfm {

// What the bindings see of the dense parameters of a model.
class Dense {
 public:
  enum Line { kValues, kFirst, kSecond, kLines };  // stored values, and Adam's two moments

  virtual ~Dense() = default;
  virtual int64_t size() const = 0;
  virtual void read(Line line, float* to) const = 0;
  virtual void write(Line line, const float* from) = 0;
  // size() numbers each. Throws std::invalid_argument for what the kernel cannot do.
  virtual void set_optimizer(const float* units, const float* l2, const float* decay) = 0;

  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }

 protected:
  int64_t steps_ = 0;
};

// n parameters, each with a unit, a penalty and a decay. For scoring only the values are stored.
class DenseVector final : public Dense {
 public:
  // center: the number that penalty and decay pull toward.
  DenseVector(int64_t n, bool training, float center = 0)
      : n_(n),
        center_(center),
        numbers_(static_cast<size_t>(n), 0.0f),
        units_(static_cast<size_t>(n), 1.0f),
        lines_(static_cast<size_t>(n) * (training ? kLines : 1), 0.0f),
        l2_(training ? static_cast<size_t>(n) : 0, 0.0f),
        decay_(l2_) {}

  int64_t size() const override { return n_; }
  void read(Line line, float* to) const override { std::copy_n(lines_.data() + line * n_, n_, to); }
  void write(Line line, const float* from) override {
    std::copy_n(from, n_, lines_.data() + line * n_);
    if (line == kValues) take_values();
  }
  void set_optimizer(const float* units, const float* l2, const float* decay) override {
    units_.assign(units, units + n_);
    l2_.assign(l2, l2 + n_);
    decay_.assign(decay, decay + n_);
    take_values();
  }

  // Stored value × unit.
  const float* numbers() const { return numbers_.data(); }

  // One step along the mean gradient by the numbers over the rows of a block.
  void step(const float* gradient, float learning_rate) {
    const AdamStep step(learning_rate, ++steps_);
    float *value = lines_.data(), *first = value + n_, *second = first + n_;
    for (int64_t i = 0; i < n_; ++i) {
      const float center = center_ / units_[i], off = value[i] - center;
      const float g = gradient[i] * units_[i] + l2_[i] * off;
      value[i] = step.apply(center + off * (1 - learning_rate * decay_[i]), first[i], second[i], g);
    }
    take_values();
  }

 private:
  void take_values() {
    for (int64_t i = 0; i < n_; ++i) numbers_[i] = lines_[i] * units_[i];
  }

  int64_t n_;
  float center_;
  std::vector<float> numbers_, units_, lines_, l2_, decay_;
};

}  // namespace anyfm

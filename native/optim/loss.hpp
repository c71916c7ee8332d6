// The losses of one row, and their derivatives.
#pragma once

#include <cmath>
#include <limits>
#include <stdexcept>
#include <string>

namespace anyfm {

// The linear loss y z, whose derivative is the target itself, serves to sum squares of given derivatives up.
//
// Logistic loss log(1 + exp(z)) − y z, squared loss (z − y)² / 2, or half the Poisson deviance, exp(z) − y − y (z − log
// y).
//
// The derivatives of the squared and the Poisson loss, which have no bound, are taken at z held within [low, high], the
// range of the training targets and a margin. A fitted model never leaves it, and one that does, in its first blocks,
// comes back instead of running away.
struct Loss {
  enum Kind { kLogistic, kSquared, kPoisson, kLinear };
  Kind kind = kLogistic;
  float low = -std::numeric_limits<float>::infinity(), high = std::numeric_limits<float>::infinity();
};

inline Loss loss_named(const std::string& name) {
  if (name == "logistic") return {Loss::kLogistic};
  if (name == "squared") return {Loss::kSquared};
  if (name == "poisson") return {Loss::kPoisson};
  if (name == "linear") return {Loss::kLinear};
  throw std::invalid_argument("a loss must be logistic, squared, poisson or linear, got " + name);
}

struct LossValue {
  double loss;   // of one row, unweighted
  float dlogit;  // its derivative by the logit
};

inline LossValue loss_value(const Loss& loss, float z, float y) {
  if (loss.kind == Loss::kSquared) {
    const float d = z - y;
    return {0.5 * d * d, std::fmin(std::fmax(z, loss.low), loss.high) - y};
  }
  if (loss.kind == Loss::kPoisson) {
    const float mean = std::exp(std::fmin(std::fmax(z, loss.low), loss.high));
    const double count = y;
    const double constant = count > 0 ? count * std::log(count) - count : 0.0;
    return {std::exp(static_cast<double>(z)) - count * z + constant, mean - y};
  }
  if (loss.kind == Loss::kLinear) return {static_cast<double>(y) * z, y};
  const float e = std::exp(-std::fabs(z));
  const float p = (z >= 0 ? 1.0f : e) / (1.0f + e);
  return {std::fmax(z, 0.0f) + std::log1p(e) - y * z, p - y};
}

}  // namespace anyfm

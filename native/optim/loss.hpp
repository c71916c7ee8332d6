// The losses of one row, and their derivatives.
#pragma once

#include <cmath>

namespace anyfm {

// Logistic loss log(1 + exp(z)) − y z, or squared loss (z − y)² / 2.
//
// The squared loss's derivative is taken at z held within [low, high], the range of the training targets and a margin.
// A fitted model never leaves it, and one that does, in its first blocks, comes back instead of running away.
struct Loss {
  bool squared = false;
  float low = 0, high = 0;
};

struct LossValue {
  double loss;   // of one row, unweighted
  float dlogit;  // its derivative by the logit
};

inline LossValue loss_value(const Loss& loss, float z, float y) {
  if (loss.squared) {
    const float d = z - y;
    return {0.5 * d * d, std::fmin(std::fmax(z, loss.low), loss.high) - y};
  }
  const float e = std::exp(-std::fabs(z));
  const float p = (z >= 0 ? 1.0f : e) / (1.0f + e);
  return {std::fmax(z, 0.0f) + std::log1p(e) - y * z, p - y};
}

}  // namespace anyfm

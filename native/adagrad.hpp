// Adagrad (Duchi, Hazan, Singer 2011) on touched parameters only, with a proximal L2 penalty, and the losses it
// follows.
#pragma once

#include <cmath>
#include <cstdint>

#include "simd.hpp"

namespace anyfm {

// One step along gradient g with accumulator a (g's square already added) and penalty d:
//   w ← (w − η g / √a) / (1 + η d / √a)  =  (w √a − η g) / (√a + η d)
// The second form needs one root and one division, and holds for a penalty of any size.
struct Step {
  float root;     // √a
  float inverse;  // 1 / (√a + η d)
};

//
// A feature that stands in many rows of a block takes as many steps on the same, ageing logits. Where it is expected
// more than eight times a block, its squared gradients count for more in proportion, which holds its way through a
// block to that of the eighth root-sum: without this, tables of few values diverge.
struct Adagrad {
  float learning_rate = 0;
  float crowding = 0;  // crowd of a feature that occurs once in the data

  ANYFM_INLINE float crowd(float count) const { return std::fmax(1.0f, crowding * count); }
  ANYFM_INLINE Step step(float a, float d) const {
    const float root = std::sqrt(a);
    return {root, 1.0f / (root + learning_rate * d)};
  }
  ANYFM_INLINE float apply(Step s, float w, float g) const { return (w * s.root - learning_rate * g) * s.inverse; }
  ANYFM_INLINE void update(float& w, float& a, float d, float g) const {
    a += g * g;
    w = apply(step(a, d), w, g);
  }
};

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

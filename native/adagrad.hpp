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

struct Adagrad {
  float learning_rate;

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

enum class Loss { logistic, squared };

struct LossValue {
  double loss;   // of one row, unweighted
  float dlogit;  // its derivative by the logit
};

// Logistic: log(1 + exp(z)) − y z. Squared: (z − y)² / 2.
inline LossValue loss_value(Loss loss, float z, float y) {
  if (loss == Loss::squared) {
    const float d = z - y;
    return {0.5 * d * d, d};
  }
  const float e = std::exp(-std::fabs(z));
  const float p = (z >= 0 ? 1.0f : e) / (1.0f + e);
  return {std::fmax(z, 0.0f) + std::log1p(e) - y * z, p - y};
}

}  // namespace anyfm

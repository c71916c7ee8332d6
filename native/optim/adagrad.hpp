// Adagrad (Duchi, Hazan, Singer 2011) on touched parameters only, with a proximal L2 penalty.
#pragma once

#include <cmath>

#include "base/simd.hpp"

namespace anyfm {

// One step along gradient g with accumulator a (g's square already added) and penalty d:
//   w ← (w − η g / √a) / (1 + η d / √a)  =  (w √a − η g) / (√a + η d)
// The second form needs one root and one division, and holds for a penalty of any size.
struct Step {
  float root;     // √a
  float inverse;  // 1 / (√a + η d)
};

// A feature that stands in many rows of a block takes as many steps on the same, outdated logits. Where it is expected
// more often than is harmless, its squared gradients count for more in proportion, which limits how far it moves within
// a block: without this, tables of few values diverge.
struct Adagrad {
  float learning_rate = 0;
  float crowding = 0;  // `crowd` of a feature that occurs once in the data

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

}  // namespace anyfm

// One optimiser step of the vectors of one feature toward a run of fields: the innermost loop of the field-aware model.
//
// Factors are kept in planes of four: plane c of a record holds factors 4c … 4c+3 of its vectors toward field 0, 1, 2 …
// side by side. Q vectors of four then fill one register of 4Q lanes, and four registers hold 4Q fields, whose
// accumulators fill one register: roots and quotients are taken for 4Q fields at once.
#pragma once

#include <cstdint>

#include "simd.hpp"

namespace anyfm {

// Fields per register of the widest vectors of this build.
#if defined(__AVX512F__)
constexpr int kQuads = 4;
#elif defined(__AVX2__)
constexpr int kQuads = 2;
#else
constexpr int kQuads = 1;
#endif

struct FieldStep {
  float kappa;           // derivative of the loss by the pair sum, times x of the feature
  float rate;            // learning rate
  float penalty;         // of one occurrence of the feature, times `shrink` of the field
  float inverse_length;  // 1 / n_factors
};

// Where the vectors of one feature and what belongs to them lie, for a run of fields.
struct FieldRun {
  float* weights;        // plane 0 at the first field
  int64_t plane;         // floats from one plane to the next
  float* accumulators;   // one per field; or as the weights, one per coordinate
  const float* partner;  // Σ x v of the partners, laid out as the weights
  int64_t partner_plane;
  const float* shrink;  // per field
};

namespace field_step {

// Four registers m_i, each of Q groups of four lanes, are summed group by group into one: lane 4l + i of the result is
// the sum of group l of m_i, which belongs to field Q i + l. `Mixed` and `Natural` go from one order to the other.
template <int Q>
struct Even {
  static constexpr int at(int j) { return j / 4 * 4 + (j % 2) * 2 + (j % 4 / 2) * 4 * Q; }
};
template <int Q>
struct Odd {
  static constexpr int at(int j) { return Even<Q>::at(j) + 1; }
};
template <int Q>
struct Mixed {
  static constexpr int at(int j) { return Q * (j % 4) + j / 4; }
};
template <int Q>
struct Natural {
  static constexpr int at(int j) { return 4 * (j % Q) + j / Q; }
};
template <int I>
struct Splat {
  static constexpr int at(int j) { return j / 4 * 4 + I; }
};

template <int Q>
ANYFM_INLINE Vec<4 * Q> group_sums(const Vec<4 * Q>* m) {
  const auto pairwise = [](Vec<4 * Q> a, Vec<4 * Q> b) { return shuffle<Even<Q>>(a, b) + shuffle<Odd<Q>>(a, b); };
  return pairwise(pairwise(m[0], m[1]), pairwise(m[2], m[3]));
}

template <int Q, int I, int C>
ANYFM_INLINE void move(const FieldRun& run, int planes, Vec<4 * Q> keep, Vec<4 * Q> rate) {
  using V = Vec<4 * Q>;
  const V keep_i = shuffle<Splat<I>>(keep, keep), rate_i = shuffle<Splat<I>>(rate, rate);
  for (int c = 0; c < (C ? C : planes); ++c) {
    float* w = run.weights + c * run.plane + I * 4 * Q;
    const V partner = V::load(run.partner + c * run.partner_plane + I * 4 * Q);
    (V::load(w) * keep_i - partner * rate_i).store(w);
  }
}

// 4Q fields, one accumulator per vector. The step is that of adagrad.hpp with 1/√a for √a.
template <int Q, int C>
ANYFM_INLINE void by_vector(const FieldStep& step, const FieldRun& run, int planes) {
  using V = Vec<4 * Q>;
  V squares[4];
  for (int i = 0; i < 4; ++i) {
    squares[i] = V::splat(0);
    for (int c = 0; c < (C ? C : planes); ++c) {
      const V partner = V::load(run.partner + c * run.partner_plane + i * 4 * Q);
      squares[i] = squares[i] + partner * partner;
    }
  }
  const V before = V::load(run.accumulators), shrink = V::load(run.shrink);
  const V a = shuffle<Mixed<Q>>(before, before) +
              group_sums<Q>(squares) * V::splat(step.kappa * step.kappa * step.inverse_length);
  shuffle<Natural<Q>>(a, a).store(run.accumulators);
  const V rate = V::splat(step.rate) * inverse_root(a);
  const V u = rate * V::splat(step.penalty) * shuffle<Mixed<Q>>(shrink, shrink);
  const V one = V::splat(1), keep = one - u * inverse(one + u);  // exactly 1 without a penalty
  const V moved = keep * rate * V::splat(step.kappa);
  move<Q, 0, C>(run, planes, keep, moved);
  move<Q, 1, C>(run, planes, keep, moved);
  move<Q, 2, C>(run, planes, keep, moved);
  move<Q, 3, C>(run, planes, keep, moved);
}

// One field, one accumulator per coordinate, the penalty a part of the gradient: the rule of libffm. A field whose
// shrink is zero has no partner in the row and stays as it is.
inline void by_coordinate(const FieldStep& step, const FieldRun& run, int planes) {
  using V = Vec<4>;
  if (*run.shrink == 0) return;
  for (int c = 0; c < planes; ++c) {
    float* w = run.weights + c * run.plane;
    float* a = run.accumulators + c * run.plane;
    const V before = V::load(w);
    const V g = V::splat(step.kappa) * V::load(run.partner + c * run.partner_plane) +
                V::splat(step.penalty * *run.shrink) * before;
    const V sum = V::load(a) + g * g;
    sum.store(a);
    (before - V::splat(step.rate) * inverse_root(sum) * g).store(w);
  }
}

ANYFM_INLINE FieldRun advance(const FieldRun& run, int fields, bool coordinates) {
  return {run.weights + 4 * fields, run.plane,         run.accumulators + (coordinates ? 4 * fields : fields),
          run.partner + 4 * fields, run.partner_plane, run.shrink + fields};
}

}  // namespace field_step

// Steps the vectors toward `n` fields, n a multiple of four.
template <int C>
ANYFM_INLINE void step_fields(const FieldStep& step, FieldRun run, int n, int planes, bool coordinates) {
  using namespace field_step;
  if (coordinates) {
    for (; n > 0; --n, run = advance(run, 1, true)) by_coordinate(step, run, planes);
    return;
  }
  for (; n >= 4 * kQuads; n -= 4 * kQuads, run = advance(run, 4 * kQuads, false))
    by_vector<kQuads, C>(step, run, planes);
  if constexpr (kQuads > 2)
    for (; n >= 8; n -= 8, run = advance(run, 8, false)) by_vector<2, C>(step, run, planes);
  if constexpr (kQuads > 1)
    for (; n >= 4; n -= 4, run = advance(run, 4, false)) by_vector<1, C>(step, run, planes);
}

}  // namespace anyfm

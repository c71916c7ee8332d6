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
  float* weights;       // plane 0 at the first field
  int64_t plane;        // floats from one plane to the next
  float* accumulators;  // one per field; or as the weights, one per coordinate
  const float* shrink;  // per field
};

// Σ x v of the partners in each field of the run: at<Q>(c, f) is plane c of the Q fields from f on.
struct Partners {
  const float* first;
  int64_t field;  // floats from one field to the next
  int64_t plane;  // and from one plane to the next

  template <int Q>
  ANYFM_INLINE Vec<4 * Q> at(int c, int f) const {
    if constexpr (Q == 1)
      return Vec<4>::load(first + c * plane + f * field);
    else
      return join(at<Q / 2>(c, f), at<Q / 2>(c, f + Q / 2));
  }
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

// 4Q fields from `f` on, one accumulator per vector. The step is that of adagrad.hpp with 1/√a for √a.
template <int Q, int C>
ANYFM_INLINE void by_vector(const FieldStep& step, const FieldRun& run, const Partners& partners, int f, int planes) {
  using V = Vec<4 * Q>;
  V kept[C ? C : 1][4], squares[4];  // partners are read once where they fit the registers
  for (int i = 0; i < 4; ++i) {
    squares[i] = V::splat(0);
    for (int c = 0; c < (C ? C : planes); ++c) {
      const V partner = partners.at<Q>(c, f + i * Q);
      if (C) kept[C ? c : 0][i] = partner;
      squares[i] = squares[i] + partner * partner;
    }
  }
  float* accumulators = run.accumulators + f;
  const V before = V::load(accumulators), shrink = V::load(run.shrink + f);
  const V a = shuffle<Mixed<Q>>(before, before) +
              group_sums<Q>(squares) * V::splat(step.kappa * step.kappa * step.inverse_length);
  shuffle<Natural<Q>>(a, a).store(accumulators);
  const V rate = V::splat(step.rate) * inverse_root(a);
  const V u = rate * V::splat(step.penalty) * shuffle<Mixed<Q>>(shrink, shrink);
  const V one = V::splat(1), keep = one - u * inverse(one + u);  // exactly 1 without a penalty
  const V moved = keep * rate * V::splat(step.kappa);
  const V keep_i[4] = {shuffle<Splat<0>>(keep, keep), shuffle<Splat<1>>(keep, keep), shuffle<Splat<2>>(keep, keep),
                       shuffle<Splat<3>>(keep, keep)};
  const V moved_i[4] = {shuffle<Splat<0>>(moved, moved), shuffle<Splat<1>>(moved, moved),
                        shuffle<Splat<2>>(moved, moved), shuffle<Splat<3>>(moved, moved)};
  for (int c = 0; c < (C ? C : planes); ++c)
    for (int i = 0; i < 4; ++i) {
      float* w = run.weights + c * run.plane + 4 * (f + i * Q);
      const V partner = C ? kept[C ? c : 0][i] : partners.at<Q>(c, f + i * Q);
      (V::load(w) * keep_i[i] - partner * moved_i[i]).store(w);
    }
}

// One field, one accumulator per coordinate, the penalty a part of the gradient: the rule of libffm. A field whose
// shrink is zero has no partner in the row and stays as it is.
inline void by_coordinate(const FieldStep& step, const FieldRun& run, const Partners& partners, int f, int planes) {
  using V = Vec<4>;
  if (run.shrink[f] == 0) return;
  for (int c = 0; c < planes; ++c) {
    float* w = run.weights + c * run.plane + 4 * f;
    float* a = run.accumulators + c * run.plane + 4 * f;
    const V before = V::load(w);
    const V g = V::splat(step.kappa) * partners.at<1>(c, f) + V::splat(step.penalty * run.shrink[f]) * before;
    const V sum = V::load(a) + g * g;
    sum.store(a);
    (before - V::splat(step.rate) * inverse_root(sum) * g).store(w);
  }
}

}  // namespace field_step

// Steps the vectors toward `n` fields, n a multiple of four.
template <int C>
ANYFM_INLINE void step_fields(const FieldStep& step, const FieldRun& run, const Partners& partners, int n, int planes,
                              bool coordinates) {
  using namespace field_step;
  int f = 0;
  if (coordinates) {
    for (; f < n; ++f) by_coordinate(step, run, partners, f, planes);
    return;
  }
  for (; f + 4 * kQuads <= n; f += 4 * kQuads) by_vector<kQuads, C>(step, run, partners, f, planes);
  if constexpr (kQuads > 2)
    for (; f + 8 <= n; f += 8) by_vector<2, C>(step, run, partners, f, planes);
  if constexpr (kQuads > 1)
    for (; f + 4 <= n; f += 4) by_vector<1, C>(step, run, partners, f, planes);
}

}  // namespace anyfm

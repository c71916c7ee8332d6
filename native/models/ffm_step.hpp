// One optimizer step of the vectors of one feature toward a run of fields: the innermost loop of the field-aware model.
//
// Factors are kept in planes of four: plane c of a record holds factors 4c … 4c+3 of its vectors toward field 0, 1, 2 …
// side by side. Q vectors of four then fill one register of 4Q lanes, and four registers hold 4Q fields, whose
// accumulators fill one register: roots and quotients are taken for 4Q fields at once.
#pragma once

#include <cstdint>

#include "base/simd.hpp"

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

// Σ x v of the partners in each field of the run, laid out as the weights.
struct Partners {
  const float* first;
  int64_t plane;

  template <int Q>
  ANYFM_INLINE Vec<4 * Q> at(int c, int f) const {
    return Vec<4 * Q>::load(first + c * plane + 4 * f);
  }
};

namespace ffm_step {

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

// The step of up to 16 fields, as two factors: w ← keep w − move Σ x v. Both are in the order of group_sums.
struct Move {
  alignas(64) float keep[16];
  alignas(64) float move[16];
};

// The two factors of 4Q fields from `f` on, one accumulator per vector, by the rule of adagrad.hpp.
template <int Q, int C>
ANYFM_INLINE void plan(const FieldStep& step, const FieldRun& run, const Partners& partners, int f, int planes,
                       Move& out) {
  using V = Vec<4 * Q>;
  V squares[4];
  for (int i = 0; i < 4; ++i) {
    const V first = partners.at<Q>(0, f + i * Q);
    squares[i] = first * first;
    for (int c = 1; c < (C ? C : planes); ++c) {
      const V partner = partners.at<Q>(c, f + i * Q);
      squares[i] = squares[i] + partner * partner;
    }
  }
  float* accumulators = run.accumulators + f;
  const V before = V::load(accumulators), shrink = V::load(run.shrink + f);
  const V decay = V::splat(step.rate * step.penalty) * shuffle<Mixed<Q>>(shrink, shrink);
  const V a = shuffle<Mixed<Q>>(before, before) +
              group_sums<Q>(squares) * V::splat(step.kappa * step.kappa * step.inverse_length);
  shuffle<Natural<Q>>(a, a).store(accumulators);
  const V root = inverse_root(a), u = root * decay, one = V::splat(1);
  const V keep = one - u * inverse(one + u);  // exactly 1 without a penalty
  keep.store(out.keep);
  (keep * (root * V::splat(step.rate * step.kappa))).store(out.move);
}

template <int Q, int C>
ANYFM_INLINE void carry_out(const Move& move, const FieldRun& run, const Partners& partners, int f, int planes) {
  using V = Vec<4 * Q>;
  const V keep = V::load(move.keep), by = V::load(move.move);
  const V keeps[4] = {shuffle<Splat<0>>(keep, keep), shuffle<Splat<1>>(keep, keep), shuffle<Splat<2>>(keep, keep),
                      shuffle<Splat<3>>(keep, keep)};
  const V moves[4] = {shuffle<Splat<0>>(by, by), shuffle<Splat<1>>(by, by), shuffle<Splat<2>>(by, by),
                      shuffle<Splat<3>>(by, by)};
  for (int c = 0; c < (C ? C : planes); ++c)
    for (int i = 0; i < 4; ++i) {
      float* w = run.weights + c * run.plane + 4 * (f + i * Q);
      (V::load(w) * keeps[i] - partners.at<Q>(c, f + i * Q) * moves[i]).store(w);
    }
}

// One field, one accumulator per coordinate, the penalty a part of the gradient: the rule of libffm.
inline void by_coordinate(const FieldStep& step, const FieldRun& run, const Partners& partners, int f, int planes) {
  using V = Vec<4>;
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

}  // namespace ffm_step

// Steps the vectors of `n_runs` features, feature_at(0), feature_at(1) …, toward 4Q fields from `f` on. Planned first
// and carried out after: each loop is short enough for the processor to work on several features at once.
template <int Q, int C, class FeatureAt>
ANYFM_INLINE void step_fields(int n_runs, const FeatureAt& feature_at, int f, int planes) {
  using namespace ffm_step;
  constexpr int kAtOnce = 16;
  Move moves[kAtOnce];
  for (int first = 0; first < n_runs; first += kAtOnce) {
    const int n = n_runs - first < kAtOnce ? n_runs - first : kAtOnce;
    for (int s = 0; s < n; ++s) {
      const auto feature = feature_at(first + s);
      plan<Q, C>(feature.step, feature.run, feature.partners, f, planes, moves[s]);
    }
    for (int s = 0; s < n; ++s) {
      const auto feature = feature_at(first + s);
      carry_out<Q, C>(moves[s], feature.run, feature.partners, f, planes);
    }
  }
}

// What is needed to step the vectors of one feature.
struct FeatureStep {
  FieldStep step;
  FieldRun run;
  Partners partners;
};

// Steps the vectors of `n_runs` features toward `n` fields, n a multiple of four.
template <int C, class FeatureAt>
ANYFM_INLINE void step_fields(int n_runs, const FeatureAt& feature_at, int n, int planes, bool libffm) {
  if (libffm) {
    for (int s = 0; s < n_runs; ++s) {
      const FeatureStep feature = feature_at(s);
      for (int f = 0; f < n; ++f) ffm_step::by_coordinate(feature.step, feature.run, feature.partners, f, planes);
    }
    return;
  }
  int f = 0;
  for (; f + 4 * kQuads <= n; f += 4 * kQuads) step_fields<kQuads, C>(n_runs, feature_at, f, planes);
  if constexpr (kQuads > 2)
    for (; f + 8 <= n; f += 8) step_fields<2, C>(n_runs, feature_at, f, planes);
  if constexpr (kQuads > 1)
    for (; f + 4 <= n; f += 4) step_fields<1, C>(n_runs, feature_at, f, planes);
}

}  // namespace anyfm

// The parameters of features with a weight w and one vector of factors v, and the arithmetic of the factorization
// machine over them: sums over the entries of a row, the sum over their pairs, its derivatives, and an optimizer step.
//
// Record of a feature: [v_1 … v_K padded | w | a_w a_v d_w d_v | count | h_w h_v]: one accumulator a for w and one for
// the whole vector v (the mean square of its gradients), their penalties d for one occurrence, how often the feature
// occurs, and the accumulators h when the penalties were last set. At K = 8 that is one cache line. For scoring it is
// [v | w].
#pragma once

#include "base/rows.hpp"
#include "base/simd.hpp"
#include "base/table.hpp"
#include "models/model.hpp"
#include "optim/adagrad.hpp"

namespace anyfm {

// N lanes to a chunk of a vector, C chunks to a vector (0: known at run time only). The padding stays zero, since its
// gradient is zero.
template <int N, int C = 0>
class FactorTable {
 public:
  using V = Vec<N>;
  static constexpr int kMaxFactors = 256;
  static constexpr int kMaxChunks = C ? C : kMaxFactors / N;

  // Σ v x by chunk, Σ v² x² by lane, and Σ w x, over entries.
  struct Sums {
    V total[kMaxChunks], squares;
    float linear;
  };

  FactorTable(const ModelSizes& sizes, int n_factors)
      : n_factors_(n_factors),
        chunks_((n_factors + N - 1) / N),
        inverse_n_factors_(1.0f / static_cast<float>(n_factors)),
        table_(sizes.n_features, (padded() + (sizes.training ? 8 : 1) + 3) / 4 * 4) {}

  static RecordLayout layout(int n_factors) {
    const int64_t w = (n_factors + N - 1) / N * N;
    return {{{"linear", {w, 1, w + 1, w + 3, w + 6}}, {"factors", {0, n_factors, w + 2, w + 4, w + 7}}}, w + 5};
  }

  Table& table() { return table_; }
  int n_factors() const { return n_factors_; }
  ANYFM_INLINE int chunks() const { return C ? C : chunks_; }
  ANYFM_INLINE int64_t padded() const { return static_cast<int64_t>(chunks()) * N; }
  const float* vector(int32_t id) const { return table_[id]; }
  float linear(int32_t id) const { return table_[id][padded()]; }
  float count(int32_t id) const { return table_[id][padded() + 5]; }

  ANYFM_INLINE void prefetch(int32_t id) const {
    const float* record = table_[id];
    for (int64_t c = 0; c < table_.stride(); c += 16) ANYFM_PREFETCH(record + c);
  }
  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) prefetch(row.ids[s]);
  }

  ANYFM_INLINE void clear(Sums& sums) const {
    for (int c = 0; c < chunks(); ++c) sums.total[c] = V::splat(0);
    sums.squares = V::splat(0);
    sums.linear = 0;
  }

  // Adds a feature of value x; kAllOnes: x is 1.
  template <bool kAllOnes>
  ANYFM_INLINE void add(int32_t id, float x, Sums& sums) const {
    const float* record = table_[id];
    sums.linear += kAllOnes ? record[padded()] : record[padded()] * x;
    for (int c = 0; c < chunks(); ++c) {
      V vx = V::load(record + c * N);
      if (!kAllOnes) vx = vx * V::splat(x);
      sums.total[c] = sums.total[c] + vx;
      sums.squares = sums.squares + vx * vx;
    }
  }

  // ½ Σ_k [(Σ v x)² − Σ v² x²], the sum of ⟨v_i, v_j⟩ x_i x_j over all pairs of entries; total(c): Σ v x.
  template <class Total>
  ANYFM_INLINE float pairs(Total&& total, V squares) const {
    V pairs = V::splat(0) - squares;
    for (int c = 0; c < chunks(); ++c) pairs = pairs + total(c) * total(c);
    return 0.5f * sum(pairs);
  }

  // Chunk of the derivative of that sum by v, over x: Σ v x − v x.
  template <bool kAllOnes>
  static ANYFM_INLINE V dpairs(V total, V v, float x) {
    return total - (kAllOnes ? v : v * V::splat(x));
  }

  // One Adagrad step of w along dw, and of v along dv(c, v's chunk c).
  template <class Gradient>
  ANYFM_INLINE void step(int32_t id, float dw, Gradient&& dv, float weight, const Adagrad& adagrad) {
    float* record = table_[id];
    float* w = record + padded();
    float* a = w + 1;
    const float* d = w + 3;
    V v[kMaxChunks], g[kMaxChunks], squares = V::splat(0);
    for (int c = 0; c < chunks(); ++c) {
      v[c] = V::load(record + c * N);
      g[c] = dv(c, v[c]);
      squares = squares + g[c] * g[c];
    }
    const float crowd = adagrad.crowd(w[5]);
    a[0] += dw * dw * crowd;
    a[1] += sum(squares) * (inverse_n_factors_ * crowd);
    const Step of_w = adagrad.step(a[0], weight * d[0]), of_v = adagrad.step(a[1], weight * d[1]);
    *w = adagrad.apply(of_w, *w, dw);
    const V keep = V::splat(of_v.root * of_v.inverse), rate = V::splat(adagrad.learning_rate * of_v.inverse);
    for (int c = 0; c < chunks(); ++c) (v[c] * keep - g[c] * rate).store(record + c * N);
  }

 private:
  int n_factors_, chunks_;
  float inverse_n_factors_;
  Table table_;
};

// Calls make(a FactorTable type's lanes and chunks as constants) for a number of factors.
template <class Make>
auto with_lanes(int n_factors, Make&& make) {
  using std::integral_constant;
  if (n_factors <= 4) return make(integral_constant<int, 4>(), integral_constant<int, 1>());
  if (n_factors <= 8) return make(integral_constant<int, 8>(), integral_constant<int, 1>());
  if (n_factors <= 16) return make(integral_constant<int, 16>(), integral_constant<int, 1>());
  if (n_factors <= 32) return make(integral_constant<int, 16>(), integral_constant<int, 2>());
  return make(integral_constant<int, 16>(), integral_constant<int, 0>());
}

// Steps the features of `owner` along the derivatives of a block: dlogit x of a weight, x times the entry's line of
// `dvectors` of a vector, where entries count from first_entry of their row. Entries with a value of 0 are absent.
template <int N, int C>
void step_features(FactorTable<N, C>& features, const Adagrad& adagrad, const Block& block, const int64_t* first_entry,
                   const Ownership& owners, int owner, const float* dvectors, bool normalize) {
  using V = Vec<N>;
  for (int i = 0; i < block.size; ++i) {
    const float weight = block.weight[i], dlogit = block.dlogit[i];
    if (weight == 0) continue;
    const Row row = block.row(i);
    const float scale = normalize ? inverse_norm(row) : 1.0f;
    const float* of_row = dvectors + first_entry[i] * features.padded();
    owners.for_each(row, owner, [&](int64_t s) {
      const float x = row.values ? row.values[s] * scale : scale;
      const float* dvector = of_row + s * features.padded();
      if (x != 0)
        features.step(
            row.ids[s], dlogit * x,
            [&](int c, V) ANYFM_INLINE_LAMBDA { return V::load(dvector + c * N) * V::splat(x); }, weight, adagrad);
    });
  }
}

}  // namespace anyfm

// The factorization machine. The formula stands in src/anyfm/models/fm.py.
//
// Record of a feature: [v_1 … v_K padded | w | a_w a_v d_w d_v], with one accumulator for w and one for the whole
// vector v (the mean square of its gradients), and their L2 penalties per occurrence. At K = 8 that is one cache line.
// Scoring keeps [v | w].
#pragma once

#include <algorithm>
#include <vector>

#include "adagrad.hpp"
#include "evidence.hpp"
#include "rows.hpp"
#include "simd.hpp"
#include "table.hpp"
#include "trainer.hpp"

namespace anyfm {

// Factors are stored in chunks of 4, 8 or 16 lanes; the padding stays zero by itself, since its gradient is zero.
inline int lanes_for(int n_factors) { return n_factors <= 4 ? 4 : n_factors <= 8 ? 8 : 16; }

// N lanes to a chunk, C chunks to a vector (0: known at run time only).
template <int N, int C>
class Fm {
 public:
  struct Scratch {
    std::vector<float> sums;  // (block rows, padded): Σ v x of each row
    float scale[kBlockRows];
  };
  static constexpr int kMaxChunks = 16;  // 256 factors

  Fm(int64_t n_features, int n_factors, Adagrad adagrad, bool normalize, bool training)
      : n_factors_(n_factors),
        chunks_((n_factors + N - 1) / N),
        table_(n_features, (chunks_ * N + (training ? 8 : 1) + 3) / 4 * 4),
        adagrad_(adagrad),
        normalize_(normalize) {}

  Columns columns() const {
    return {{"factors", {0, n_factors_}},
            {"linear", {padded(), 1}},
            {"accumulators", {padded() + 1, 2}},
            {"count", {padded() + 5, 1}}};
  }
  int64_t count_column() const { return padded() + 5; }
  std::vector<PenaltyGroup> penalty_groups() const {
    const int64_t w = padded();
    return {{w, 1, w + 1, 1, w + 3, w + 6}, {0, n_factors_, w + 2, 1, w + 4, w + 7}};
  }
  Table& table() { return table_; }
  const Table& table() const { return table_; }
  Bias& bias() { return bias_; }
  Adagrad& adagrad() { return adagrad_; }
  Scratch make_scratch(int rows) const { return {std::vector<float>(static_cast<size_t>(rows) * padded()), {}}; }

  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) {
      const float* record = table_[row.ids[s]];
      for (int64_t c = 0; c < table_.stride(); c += 16) ANYFM_PREFETCH(record + c);
    }
  }

  float forward(const Row& row, int i, Scratch& scratch) const {
    float* sums = scratch.sums.data() + static_cast<size_t>(i) * padded();
    const float scale = normalize_ ? inverse_norm(row) : 1.0f;
    scratch.scale[i] = scale;
    return bias_.value + (row.values || normalize_ ? terms<false>(row, scale, sums) : terms<true>(row, scale, sums));
  }

  void update_shared(const Block& block) { bias_.update(block, adagrad_); }

  void update(const Block& block, Scratch& scratch, const Ownership& owners, int owner) {
    for (int i = 0; i < block.size; ++i) {
      if (block.weight[i] == 0) continue;
      const Row row = block.row(i);
      const float* sums = scratch.sums.data() + static_cast<size_t>(i) * padded();
      const float scale = scratch.scale[i], dlogit = block.dlogit[i], weight = block.weight[i];
      if (row.values || normalize_)
        owners.for_each(row, owner, [&](int64_t s) {
          step<false>(table_[row.ids[s]], (row.values ? row.values[s] : 1.0f) * scale, sums, dlogit, weight);
        });
      else
        owners.for_each(row, owner, [&](int64_t s) { step<true>(table_[row.ids[s]], 1.0f, sums, dlogit, weight); });
    }
  }

 private:
  using V = Vec<N>;

  ANYFM_INLINE int chunks() const { return C ? C : chunks_; }
  ANYFM_INLINE int64_t padded() const { return static_cast<int64_t>(chunks()) * N; }

  // Σ w x + ½ Σ_f [(Σ v x)² − Σ v² x²], leaving Σ v x in `sums`. With kUnit every x is 1.
  template <bool kUnit>
  ANYFM_INLINE float terms(const Row& row, float scale, float* sums) const {
    constexpr int kLocal = C ? C : kMaxChunks;
    V total[kLocal], squares = V::splat(0);
    for (int c = 0; c < chunks(); ++c) total[c] = V::splat(0);
    float linear = 0;
    for (int64_t s = 0; s < row.size; ++s) {
      const float* record = table_[row.ids[s]];
      const float x = kUnit ? 1.0f : scale * (row.values ? row.values[s] : 1.0f);
      linear += kUnit ? record[padded()] : record[padded()] * x;
      for (int c = 0; c < chunks(); ++c) {
        V vx = V::load(record + c * N);
        if (!kUnit) vx = vx * V::splat(x);
        total[c] = total[c] + vx;
        squares = squares + vx * vx;
      }
    }
    V pairs = V::splat(0) - squares;
    for (int c = 0; c < chunks(); ++c) {
      pairs = pairs + total[c] * total[c];
      total[c].store(sums + c * N);
    }
    return linear + 0.5f * sum(pairs);
  }

  // One Adagrad step of w along g x and of v along g x (Σ v x − v x), where g is the loss's derivative by the logit.
  template <bool kUnit>
  ANYFM_INLINE void step(float* record, float x, const float* sums, float dlogit, float weight) const {
    const float gx = kUnit ? dlogit : dlogit * x;
    float* w = record + padded();
    float* a = w + 1;
    const float* d = w + 3;
    constexpr int kLocal = C ? C : kMaxChunks;
    V v[kLocal], g[kLocal], squares = V::splat(0);
    for (int c = 0; c < chunks(); ++c) {
      v[c] = V::load(record + c * N);
      g[c] = V::splat(gx) * (V::load(sums + c * N) - (kUnit ? v[c] : v[c] * V::splat(x)));
      squares = squares + g[c] * g[c];
    }
    a[0] += gx * gx;
    a[1] += sum(squares) * inverse_n_factors_;
    const Step of_w = adagrad_.step(a[0], weight * d[0]), of_v = adagrad_.step(a[1], weight * d[1]);
    *w = adagrad_.apply(of_w, *w, gx);
    const V keep = V::splat(of_v.root * of_v.inverse), rate = V::splat(adagrad_.learning_rate * of_v.inverse);
    for (int c = 0; c < chunks(); ++c) (v[c] * keep - g[c] * rate).store(record + c * N);
  }

  int n_factors_;
  int chunks_;
  float inverse_n_factors_ = 1.0f / static_cast<float>(n_factors_);
  Table table_;
  Bias bias_;
  Adagrad adagrad_;
  bool normalize_;
};

}  // namespace anyfm

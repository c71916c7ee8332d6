// The factorization machine. The formula stands in src/anyfm/models/fm.py.
//
// Record of a feature: [v_1 … v_K padded | w | a_w a_v d_w d_v], with one accumulator for w and one for the whole
// vector v (the mean square of its gradients), and their L2 penalties per occurrence. At K = 8 that is one cache line.
// Scoring keeps [v | w].
#pragma once

#include <vector>

#include "adagrad.hpp"
#include "evidence.hpp"
#include "rows.hpp"
#include "simd.hpp"
#include "table.hpp"

namespace anyfm {

// Factors are stored in chunks of 4, 8 or 16 lanes; the padding stays zero by itself, since its gradient is zero.
inline int lanes_for(int n_factors) { return n_factors <= 4 ? 4 : n_factors <= 8 ? 8 : 16; }

// N lanes to a chunk, C chunks to a vector (0: known at run time only).
//
// The sums over the entries of a row, or a part of it: [Σ v x | Σ v² x² by lane | Σ w x].
template <int N, int C>
class Fm {
 public:
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
  Bias& bias() { return bias_; }
  const Bias& bias() const { return bias_; }
  Adagrad& adagrad() { return adagrad_; }
  bool normalize() const { return normalize_; }
  float scale_of(const Row& row) const { return normalize_ ? inverse_norm(row) : 1.0f; }

  ANYFM_INLINE void prefetch(int32_t id) const {
    const float* record = table_[id];
    for (int64_t c = 0; c < table_.stride(); c += 16) ANYFM_PREFETCH(record + c);
  }

  ANYFM_INLINE int64_t part_size() const { return padded() + N + 4; }

  template <bool kUnit>
  ANYFM_INLINE void sum_slots(const Row& row, int begin, int end, float scale, float* part) const {
    V total[kLocal], squares = V::splat(0);
    for (int c = 0; c < chunks(); ++c) total[c] = V::splat(0);
    float linear = 0;
    for (int s = begin; s < end; ++s) add<kUnit>(row, s, scale, total, squares, linear);
    store(total, squares, linear, part);
  }

  template <bool kUnit>
  ANYFM_INLINE void add_entry(const Row& row, int64_t s, float scale, float* part) const {
    V total[kLocal], squares = V::load(part + padded());
    for (int c = 0; c < chunks(); ++c) total[c] = V::load(part + c * N);
    float linear = part[padded() + N];
    add<kUnit>(row, s, scale, total, squares, linear);
    store(total, squares, linear, part);
  }

  // Adds up all kParts parts of a row, in one order.
  ANYFM_INLINE void add_parts(const float* parts, float* sums) const {
    for (int64_t c = 0; c < part_size() / 4; ++c) {
      Vec<4> total = Vec<4>::load(parts + 4 * c);
      for (int p = 1; p < kParts; ++p) total = total + Vec<4>::load(parts + p * part_size() + 4 * c);
      total.store(sums + 4 * c);
    }
  }

  // w_0 + Σ w x + ½ Σ_f [(Σ v x)² − Σ v² x²]
  ANYFM_INLINE float logit(float bias, const float* sums) const {
    V pairs = V::splat(0) - V::load(sums + padded());
    for (int c = 0; c < chunks(); ++c) {
      const V total = V::load(sums + c * N);
      pairs = pairs + total * total;
    }
    return bias + sums[padded() + N] + 0.5f * sum(pairs);
  }

  // One Adagrad step of w along g x and of v along g x (Σ v x − v x), where g is the loss's derivative by the logit.
  template <bool kUnit>
  ANYFM_INLINE void step(int32_t id, float x, const float* sums, float dlogit, float weight) {
    float* record = table_[id];
    const float gx = kUnit ? dlogit : dlogit * x;
    float* w = record + padded();
    float* a = w + 1;
    const float* d = w + 3;
    V v[kLocal], g[kLocal], squares = V::splat(0);
    for (int c = 0; c < chunks(); ++c) {
      v[c] = V::load(record + c * N);
      g[c] = V::splat(gx) * (V::load(sums + c * N) - (kUnit ? v[c] : v[c] * V::splat(x)));
      squares = squares + g[c] * g[c];
    }
    const float crowd = adagrad_.crowd(record[count_column()]);
    a[0] += gx * gx * crowd;
    a[1] += sum(squares) * (inverse_n_factors_ * crowd);
    const Step of_w = adagrad_.step(a[0], weight * d[0]), of_v = adagrad_.step(a[1], weight * d[1]);
    *w = adagrad_.apply(of_w, *w, gx);
    const V keep = V::splat(of_v.root * of_v.inverse), rate = V::splat(adagrad_.learning_rate * of_v.inverse);
    for (int c = 0; c < chunks(); ++c) (v[c] * keep - g[c] * rate).store(record + c * N);
  }

 private:
  using V = Vec<N>;
  static constexpr int kLocal = C ? C : kMaxChunks;

  ANYFM_INLINE int chunks() const { return C ? C : chunks_; }
  ANYFM_INLINE int64_t padded() const { return static_cast<int64_t>(chunks()) * N; }

  template <bool kUnit>
  ANYFM_INLINE void add(const Row& row, int64_t s, float scale, V* total, V& squares, float& linear) const {
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
  ANYFM_INLINE void store(const V* total, V squares, float linear, float* part) const {
    for (int c = 0; c < chunks(); ++c) total[c].store(part + c * N);
    squares.store(part + padded());
    part[padded() + N] = linear;
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

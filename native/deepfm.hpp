// DeepFM, scoring alone. The formula stands in src/anyfm/models/deepfm.py; torch trains it.
//
// Record of a feature: [v_1 … v_K padded | w].
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "mlp.hpp"
#include "model.hpp"
#include "simd.hpp"

namespace anyfm {

class DeepFm final : public AnyModel {
 public:
  DeepFm(int64_t n_features, int n_fields, int n_factors, Activation activation, int n_threads)
      : AnyModel(n_threads),
        n_fields_(n_fields),
        n_factors_(n_factors),
        padded_((n_factors + kLanes - 1) / kLanes * kLanes),
        table_(n_features, padded_ + kLanes),
        mlp_(activation) {}

  double step(const Rows&, const Ownership&, const int64_t*, int64_t, const Loss&, Adagrad) override {
    throw std::invalid_argument("DeepFM is scored here, not trained");
  }
  void logits(const Rows& rows, float* out, bool threaded) override {
    if (!threaded) return score(rows, 0, rows.n_rows, out);
    Pool& pool = pool_.get();
    const int n = pool.size();
    pool.run([&](int t) { score(rows, rows.n_rows * t / n, rows.n_rows * (t + 1) / n, out); });
  }
  Table& table() override { return table_; }
  Bias& bias() override { return bias_; }
  Columns columns() const override { return {{"factors", {0, n_factors_}}, {"linear", {padded_, 1}}}; }
  int64_t count_column() const override { return 0; }
  std::vector<PenaltyGroup> penalty_groups() const override { return {}; }
  int n_fields() const override { return n_fields_; }

  int64_t n_inputs() const { return static_cast<int64_t>(n_fields_) * n_factors_; }
  Mlp& mlp() { return mlp_; }

 private:
  static constexpr int kLanes = 4;
  static constexpr int kMaxChunks = 64;  // 256 factors

  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const {
    const int block = static_cast<int>(std::min<int64_t>(Mlp::kRows, end - begin));
    std::vector<float> inputs(mlp_.empty() ? 0 : static_cast<size_t>(block * n_inputs()));
    std::vector<float> scratch(static_cast<size_t>(mlp_.scratch_floats(block)));
    for (int64_t first = begin; first < end; first += block) {
      const int n = static_cast<int>(std::min<int64_t>(block, end - first));
      std::fill(inputs.begin(), inputs.end(), 0.0f);
      for (int i = 0; i < n; ++i) {
        if (first + i + kAhead < end) prefetch(rows[first + i + kAhead]);
        logits[first + i] = wide(rows[first + i], mlp_.empty() ? nullptr : inputs.data() + i * n_inputs());
      }
      if (!mlp_.empty()) mlp_.add_logits(inputs.data(), n, scratch.data(), logits + first);
    }
  }

  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s)
      for (int64_t c = 0; c < table_.stride(); c += 16) ANYFM_PREFETCH(table_[row.ids[s]] + c);
  }

  // The factorization machine's logit; adds each entry's vector to its field's place in `inputs`, which are zeros.
  float wide(const Row& row, float* inputs) const {
    using V = Vec<kLanes>;
    const int chunks = static_cast<int>(padded_ / kLanes);
    V total[kMaxChunks], squares = V::splat(0);
    for (int c = 0; c < chunks; ++c) total[c] = V::splat(0);
    float linear = 0;
    for (int64_t s = 0; s < row.size; ++s) {
      const float* record = table_[row.ids[s]];
      const float x = row.values ? row.values[s] : 1.0f;
      linear += record[padded_] * x;
      for (int c = 0; c < chunks; ++c) {
        const V vx = V::load(record + c * kLanes) * V::splat(x);
        total[c] = total[c] + vx;
        squares = squares + vx * vx;
      }
      if (!inputs) continue;
      float* of_field = inputs + (row.fields ? row.fields[s] : s) * n_factors_;
      for (int k = 0; k < n_factors_; ++k) of_field[k] += record[k] * x;
    }
    V pairs = V::splat(0) - squares;
    for (int c = 0; c < chunks; ++c) pairs = pairs + total[c] * total[c];
    return bias_.value + linear + 0.5f * sum(pairs);
  }

  static constexpr int kAhead = 4;
  const int n_fields_, n_factors_;
  const int64_t padded_;
  Table table_;
  Bias bias_;
  Mlp mlp_;
};

}  // namespace anyfm

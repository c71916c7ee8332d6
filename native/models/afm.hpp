// The attentional factorization machine. The formula stands in src/anyfm/models/afm.py, the record in factor_table.hpp.
//
// Dense parameters: W (n_factors, attention_factors), b, h and p, one after the other.
#pragma once

#include <algorithm>
#include <memory>

#include "models/attention_backward.hpp"
#include "models/factor_table.hpp"
#include "models/model.hpp"
#include "optim/dense.hpp"
#include "optim/dropout.hpp"
#include "training/row_parallel.hpp"

namespace anyfm {

class Afm final : public RecordModel {
 public:
  using Features = FactorTable<4>;
  class Worker;

  Afm(const ModelSizes& sizes, int n_factors, int attention_factors, bool normalize)
      : RecordModel(sizes, Features::layout(n_factors)),
        features_(sizes, n_factors),
        network_(n_factors, attention_factors),
        dense_(network_.size(), sizes.training),
        normalize_(normalize) {}

  // For training/row_parallel.hpp.
  Features& features() { return features_; }
  DenseVector& dense_parameters() { return dense_; }
  bool normalize() const { return normalize_; }
  static int64_t dense_batch_rows(int64_t) { return 1; }  // every block

  Dense* dense() override { return &dense_; }
  void set_dropout(float rate, uint64_t seed, uint64_t stream) override { dropout_ = {rate, Random(seed, stream)}; }

 protected:
  Table& table() override { return features_.table(); }
  double train(const Pass& pass) override { return train_row_parallel(*this, pass, pool_.get()); }
  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const override {
    AttentionRow scratch(network_, longest_row(rows, begin, end));
    for (int64_t i = begin; i < end; ++i) {
      if (i + 1 < end) features_.prefetch(rows[i + 1]);
      const float linear = gather(rows[i], scratch);
      logits[i] = bias_.value + linear + scratch.forward<false>(network_);
    }
  }
  void dense_changed() override { network_.take(dense_.numbers()); }

 private:
  // Hands the vectors of a row's entries to `to` and returns the sum of their linear terms. Values of 0 are absent.
  ANYFM_INLINE float gather(const Row& row, AttentionRow& to) const {
    const float scale = normalize_ ? inverse_norm(row) : 1.0f;
    float linear = 0;
    to.begin();
    for (int64_t s = 0; s < row.size; ++s) {
      const float x = row.values ? row.values[s] * scale : scale;
      if (x == 0) continue;
      linear += features_.linear(row.ids[s]) * x;
      to.add(s, features_.vector(row.ids[s]), x);
    }
    to.end();
    return linear;
  }

  Features features_;
  attention::Network network_;  // as the dense parameters are
  DenseVector dense_;
  Dropout dropout_;
  bool normalize_;
};

// For training/row_parallel.hpp.
class Afm::Worker {
 public:
  Worker(const Afm& model, int64_t longest_row)
      : model_(model), network_(model.network_), row_(network_, longest_row), sums_(network_) {}

  void take(const float* numbers) { network_.take(numbers); }
  void begin_part() { sums_.clear(); }
  float forward(float bias, const Row& row, int64_t at) {
    drop(at);
    const float linear = model_.gather(row, row_);
    return bias + linear + row_.forward<true>(network_);
  }
  void backward(const Row&, float dlogit, float* dvectors) {
    row_.backward(network_, dlogit, sums_, dvectors, model_.features_.padded());
  }
  void end_part(float* gradient) const { sums_.write(gradient); }

 private:
  // Decides which numbers of the pooled vector row `at` of the data does without.
  void drop(int64_t at) {
    const Dropout& dropout = model_.dropout_;
    const float scale = 1.0f / (1.0f - dropout.rate);
    for (int c = 0; c < network_.n_factors; ++c) {
      const uint64_t counter = static_cast<uint64_t>(at) * network_.n_factors + c;
      const bool dropped = dropout.rate > 0 && dropout.random.uniform(counter) < dropout.rate;
      row_.drop_scales()[c] = dropped ? 0.0f : scale;
      row_.projection()[c] = network_.projection[c] * row_.drop_scales()[c];
    }
  }

  const Afm& model_;
  attention::Network network_;
  AttentionTraining row_;
  NetworkGradients sums_;
};

inline std::unique_ptr<Model> make_afm(const ModelSizes& sizes, Options& options) {
  const int n_factors = options.integer("n_factors", 1, 256);
  const int attention_factors = options.integer("attention_factors", 1, 256);
  return std::make_unique<Afm>(sizes, n_factors, attention_factors, options.flag("normalize"));
}

}  // namespace anyfm

// The attentional factorization machine. The formula stands in src/anyfm/models/afm.py.
//
// Threads share the rows of a block, by parts of its rows: each computes its rows' logits and their derivatives by
// vectors and by the network. After a barrier each thread updates the features that it owns (rows.hpp), walking the
// rows in order, and steps a copy of the network that is the same on every thread, along the parts' gradients added up
// in one order. So the result is the same bit for bit on any number of threads.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "adam.hpp"
#include "attention_gradients.hpp"
#include "denormals.hpp"
#include "dropout.hpp"
#include "factor_table.hpp"
#include "pool.hpp"
#include "trainer.hpp"

namespace anyfm {

struct AfmOptions {
  int n_factors, attention_factors;
  bool normalize;
};

class Afm {
 public:
  Afm(int64_t n_features, AfmOptions options, bool training)
      : options_(options),
        features_(n_features, options.n_factors, training),
        dense_(attention::Network(options.n_factors, options.attention_factors).size()) {}

  FactorTable& features() { return features_; }
  const FactorTable& features() const { return features_; }
  const AfmOptions& options() const { return options_; }
  Bias& bias() { return bias_; }
  const Bias& bias() const { return bias_; }
  Dense& dense() { return dense_; }
  const Dense& dense() const { return dense_; }
  Dropout& dropout() { return dropout_; }
  const Dropout& dropout() const { return dropout_; }

  attention::Network network() const {
    attention::Network made(options_.n_factors, options_.attention_factors);
    made.take(dense_.values());
    return made;
  }
  float scale_of(const Row& row) const { return options_.normalize ? inverse_norm(row) : 1.0f; }
  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) features_.prefetch(row.ids[s]);
  }

  // Hands the vectors of a row's entries to `to` and returns the sum of their linear terms. Values of 0 are absent.
  ANYFM_INLINE float gather(const Row& row, float scale, AttentionRow& to) const {
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

 private:
  AfmOptions options_;
  FactorTable features_;
  Bias bias_;
  Dense dense_;
  Dropout dropout_;
};

// What the threads share of a block of rows.
struct AfmBlock : SharedBlock {
  std::vector<float> dvectors;  // of all entries of the block
  std::vector<float> gradients[kParts];
};

// One thread's half of a block: its parts of the rows, forward and backward.
class AfmWorker {
 public:
  AfmWorker(const Afm& model, int64_t longest)
      : model_(model), network_(model.network()), row_(network_, longest), sums_(network_) {}

  attention::Network& network() { return network_; }

  void part(Block& block, const int64_t* first_entry, int begin, int end, float bias, const Loss& loss,
            AfmBlock& shared, std::vector<float>& gradient) {
    sums_.clear();
    const int64_t step = model_.features().padded();
    for (int i = begin; i < end; ++i) {
      if (i + 1 < end) model_.prefetch(block.row(i + 1));
      const Row row = block.row(i);
      drop(block.order[i]);
      const float linear = model_.gather(row, model_.scale_of(row), row_);
      block.take_loss(i, bias + linear + row_.forward<true>(network_), loss);
      shared.put(block, i);
      if (block.weight[i] == 0) continue;
      row_.backward(network_, block.dlogit[i], sums_, shared.dvectors.data() + first_entry[i] * step, step);
    }
    sums_.write(gradient.data());
  }

 private:
  // Which numbers of the pooled vector row `at` of the data goes without.
  void drop(int64_t at) {
    const Dropout& dropout = model_.dropout();
    const float kept = 1.0f / (1.0f - dropout.rate);
    for (int c = 0; c < network_.n_factors; ++c) {
      const uint64_t counter = static_cast<uint64_t>(at) * network_.n_factors + c;
      const bool gone = dropout.rate > 0 && dropout.random.uniform(counter) < dropout.rate;
      row_.drop_scales()[c] = gone ? 0.0f : kept;
      row_.projection()[c] = network_.projection[c] * row_.drop_scales()[c];
    }
  }

  const Afm& model_;
  attention::Network network_;
  AttentionTraining row_;
  NetworkGradients sums_;
};

// The mean gradient of the network over the block, from its parts.
inline void add_gradients(const AfmBlock& shared, double weight, std::vector<float>& total) {
  const float share = static_cast<float>(1 / weight);
  for (size_t k = 0; k < total.size(); ++k) {
    float g = 0;
    for (int p = 0; p < kParts; ++p) g += shared.gradients[p][k];
    total[k] = g * share;
  }
}

inline double train(Afm& model, const Adagrad& adagrad, float dense_rate, const Rows& rows, const Ownership& owners,
                    const int64_t* order, int64_t n, const Loss& loss, Pool& pool) {
  const int block_rows = block_rows_for(rows.n_rows);
  const int64_t longest = longest_row(rows, 0, rows.n_rows);
  AfmBlock shared;
  shared.dvectors.resize(static_cast<size_t>(longest * block_rows * model.features().padded()), 0.0f);
  for (std::vector<float>& gradient : shared.gradients)
    gradient.resize(static_cast<size_t>(model.dense().size()), 0.0f);
  std::vector<std::unique_ptr<AfmWorker>> workers;
  for (int t = 0; t < pool.size(); ++t) workers.push_back(std::make_unique<AfmWorker>(model, longest));
  Barrier barrier(pool.size());
  double total = 0;
  pool.run([&](int t) {
    AfmWorker& worker = *workers[t];
    Bias bias = model.bias();  // every thread steps copies of its own
    Dense dense = model.dense();
    std::vector<float> gradient(static_cast<size_t>(dense.size()));
    Block block{&rows, order, n, 0, {}, {}, {}};
    for (int64_t start = 0; start < n; start += block_rows) {
      block.order = order + start;
      block.size = static_cast<int>(std::min<int64_t>(block_rows, n - start));
      int64_t first_entry[kBlockRows + 1] = {0};
      for (int i = 0; i < block.size; ++i) first_entry[i + 1] = first_entry[i] + block.row(i).size;
      for (int p = owners.first_part(t); p < owners.first_part(t + 1); ++p)
        worker.part(block, first_entry, block.size * p / kParts, block.size * (p + 1) / kParts, bias.value, loss,
                    shared, shared.gradients[p]);
      barrier.wait();
      shared.get(block);
      double weight = 0;
      for (int i = 0; i < block.size; ++i) {
        weight += block.weight[i];
        if (t == 0) total += block.loss[i];
      }
      step_features(model.features(), adagrad, block, first_entry, owners, t, shared.dvectors.data(),
                    [&](const Row& row) { return model.scale_of(row); });
      bias.update(block, adagrad);
      if (weight > 0 && dense_rate > 0) {
        add_gradients(shared, weight, gradient);
        dense.step(gradient.data(), dense_rate);
        worker.network().take(dense.values());
      }
      barrier.wait();
    }
    if (t == 0) {
      model.bias() = bias;
      model.dense() = dense;
    }
  });
  return total;
}

// The logits of rows begin … end − 1.
inline void score(const Afm& model, const attention::Network& network, const Rows& rows, int64_t begin, int64_t end,
                  float* logits) {
  const FlushDenormals flush;
  AttentionRow scratch(network, longest_row(rows, begin, end));
  for (int64_t i = begin; i < end; ++i) {
    if (i + 1 < end) model.prefetch(rows[i + 1]);
    const Row row = rows[i];
    const float linear = model.gather(row, model.scale_of(row), scratch);
    logits[i] = model.bias().value + linear + scratch.forward<false>(network);
  }
}

}  // namespace anyfm

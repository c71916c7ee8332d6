// DeepFM. The formula stands in src/anyfm/models/deepfm.py.
//
// Threads take the rows of a block chunk by chunk: lay out their vectors for the perceptron, go through it and back,
// and note the derivatives by the vectors. After a barrier each thread updates the features that it owns (rows.hpp),
// walking the rows in order, and then takes units of the perceptron's weights and adds up their gradients
// (mlp_train.hpp). Where a batch is full, Adam steps them after another barrier. No number depends on which thread
// found it, so the result is the same bit for bit on any number of threads, and none waits long for another that the
// machine held up.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "denormals.hpp"
#include "factor_table.hpp"
#include "mlp.hpp"
#include "mlp_train.hpp"
#include "model.hpp"
#include "simd.hpp"

namespace anyfm {

struct DeepOptions {
  int n_fields, n_factors;
  Activation activation;
  std::vector<int64_t> hidden;  // for training; empty where it is only scored, or has no perceptron
};

// How training goes, beyond what every model is told.
struct DeepSettings {
  int block_rows = kBlockRows;      // of one step of the features
  int64_t batch_rows = kBlockRows;  // of one step of the perceptron, made up of whole blocks
  float unit = 1;                   // the perceptron's inputs are so many times the vectors
  float trust = 0;  // occurrences of a feature at which half of the perceptron's gradient reaches its vector
  float learning_rate = 0, decay = 0;  // of the perceptron
};

class DeepFm final : public AnyModel {
 public:
  DeepFm(int64_t n_features, const DeepOptions& options, bool training, int n_threads)
      : AnyModel(n_threads),
        n_fields_(options.n_fields),
        n_factors_(options.n_factors),
        features_(n_features, options.n_factors, training),
        scorer_(options.activation) {
    if (!training || options.hidden.empty()) return;
    std::vector<int64_t> sizes{n_inputs()};
    sizes.insert(sizes.end(), options.hidden.begin(), options.hidden.end());
    trainer_ = std::make_unique<MlpTrainer>(sizes, options.activation, kMostBlockRows);
  }

  double step(const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
              Adagrad adagrad) override;
  void logits(const Rows& rows, float* out, bool threaded) override {
    if (trainer_) scorer_ = trainer_->scorer(settings_.unit);
    if (!threaded) return score(rows, 0, rows.n_rows, out);
    Pool& pool = pool_.get();
    const int n = pool.size();
    pool.run([&](int t) { score(rows, rows.n_rows * t / n, rows.n_rows * (t + 1) / n, out); });
  }
  Table& table() override { return features_.table(); }
  Bias& bias() override { return bias_; }
  Columns columns() const override { return features_.columns(); }
  int64_t count_column() const override { return features_.count_column(); }
  std::vector<PenaltyGroup> penalty_groups() const override { return features_.penalty_groups(); }
  int n_fields() const override { return n_fields_; }

  int64_t n_inputs() const { return static_cast<int64_t>(n_fields_) * n_factors_; }
  Mlp& scorer() { return scorer_; }
  MlpTrainer* trainer() { return trainer_.get(); }
  DeepSettings& settings() { return settings_; }

 private:
  using V = Vec<4>;
  static constexpr int kMaxChunks = 64;  // 256 factors
  struct Pass;

  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const {
    const FlushDenormals flush;
    const int block = static_cast<int>(std::min<int64_t>(Mlp::kRows, end - begin));
    std::vector<float> inputs(scorer_.empty() ? 0 : static_cast<size_t>(block * n_inputs()));
    std::vector<float> scratch(static_cast<size_t>(scorer_.scratch_floats(block)));
    std::vector<float> total(static_cast<size_t>(features_.padded()));
    for (int64_t first = begin; first < end; first += block) {
      const int n = static_cast<int>(std::min<int64_t>(block, end - first));
      for (int i = 0; i < n; ++i) {
        if (first + i + kAhead < end) prefetch(rows[first + i + kAhead]);
        float* of_row = scorer_.empty() ? nullptr : inputs.data() + i * n_inputs();
        logits[first + i] = bias_.value + wide(rows[first + i], total.data(), of_row, 1.0f);
      }
      if (!scorer_.empty()) scorer_.add_logits(inputs.data(), n, scratch.data(), logits + first);
    }
  }

  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) features_.prefetch(row.ids[s]);
  }

  // The factorization machine's logit but for its bias; `total` becomes Σ v x, and each field's place in `inputs` the
  // sum over its entries of unit · v x.
  float wide(const Row& row, float* total, float* inputs, float unit) const {
    const int chunks = static_cast<int>(features_.padded() / 4);
    V totals[kMaxChunks], squares = V::splat(0);
    for (int c = 0; c < chunks; ++c) totals[c] = V::splat(0);
    if (inputs) std::fill(inputs, inputs + n_inputs(), 0.0f);
    float linear = 0;
    for (int64_t s = 0; s < row.size; ++s) {
      const float* vector = features_.vector(row.ids[s]);
      const float x = row.values ? row.values[s] : 1.0f;
      linear += features_.linear(row.ids[s]) * x;
      for (int c = 0; c < chunks; ++c) {
        const V vx = V::load(vector + c * 4) * V::splat(x);
        totals[c] = totals[c] + vx;
        squares = squares + vx * vx;
      }
      if (!inputs) continue;
      float* of_field = inputs + field(row, s) * n_factors_;
      for (int k = 0; k < n_factors_; ++k) of_field[k] += vector[k] * x * unit;
    }
    V pairs = V::splat(0) - squares;
    for (int c = 0; c < chunks; ++c) {
      pairs = pairs + totals[c] * totals[c];
      totals[c].store(total + c * 4);
    }
    return linear + 0.5f * sum(pairs);
  }
  static int64_t field(const Row& row, int64_t s) { return row.fields ? row.fields[s] : s; }

  static constexpr int kChunkRows = 5 * MlpTrainer::kRows;  // of a block, that a thread takes at a time
  static constexpr int kAhead = 4;
  const int n_fields_, n_factors_;
  FactorTable features_;
  Bias bias_;
  Mlp scorer_;
  std::unique_ptr<MlpTrainer> trainer_;
  DeepSettings settings_;
};

// One call of `step`: what its threads share.
struct DeepFm::Pass {
  DeepFm& model;
  const Rows& rows;
  const Loss& loss;
  SharedBlock shared;
  std::atomic<int> next_row{0};                        // of the block, that no thread has taken yet
  std::atomic<int64_t> next_unit{0}, next_stepped{0};  // of the perceptron's weights: without gradient, without step
  int64_t padded = model.features_.padded();
  std::vector<float> logits, totals, dvectors;  // of the rows, and of all entries, of a block

  Pass(DeepFm& of, const Rows& all_rows, const Loss& kind) : model(of), rows(all_rows), loss(kind) {
    const int64_t n = model.settings_.block_rows;
    logits.resize(static_cast<size_t>(n));
    totals.resize(static_cast<size_t>(n * padded));
    dvectors.resize(static_cast<size_t>(n * padded * longest_row(rows, 0, rows.n_rows)), 0.0f);
  }

  // Rows begin … end − 1 of the block, both ways.
  void both_ways(Block& block, const int64_t* first_entry, int begin, int end, float bias) {
    MlpTrainer* trainer = model.trainer_.get();
    const float unit = model.settings_.unit;
    for (int i = begin; i < end; ++i) {
      if (i + kPrefetchIds < block.n_left) prefetch_ids(block.row(i + kPrefetchIds));
      if (i + kPrefetchRows < end) model.prefetch(block.row(i + kPrefetchRows));
      logits[i] =
          bias + model.wide(block.row(i), totals.data() + i * padded, trainer ? trainer->inputs(i) : nullptr, unit);
    }
    if (trainer) trainer->forward(begin, end, block.order, logits.data());
    for (int i = begin; i < end; ++i) {
      block.take_loss(i, logits[i], loss);
      if (block.weight[i] == 0) block.dlogit[i] = 0;
      shared.put(block, i);
    }
    if (trainer) trainer->backward(begin, end, shared.dlogit);
    for (int i = begin; i < end; ++i)
      if (block.weight[i] != 0)
        derivatives(block.row(i), i, block.dlogit[i], dvectors.data() + first_entry[i] * padded);
  }

  // By the vector of each entry, over its value x: dlogit (Σ v x − v x), and its share of what came through the
  // perceptron.
  void derivatives(const Row& row, int i, float dlogit, float* to) const {
    const FactorTable& features = model.features_;
    const float* total = totals.data() + i * padded;
    const int n_factors = model.n_factors_;
    for (int64_t s = 0; s < row.size; ++s, to += padded) {
      const float x = row.values ? row.values[s] : 1.0f;
      const float* vector = features.vector(row.ids[s]);
      for (int64_t k = 0; k < padded; ++k) to[k] = dlogit * (total[k] - vector[k] * x);
      if (!model.trainer_) continue;
      const float* deep = model.trainer_->dinputs(i) + DeepFm::field(row, s) * n_factors;
      const float count = features.count(row.ids[s]);
      const float share = model.settings_.unit * (count / std::max(count + model.settings_.trust, 1e-30f));
      for (int k = 0; k < n_factors; ++k) to[k] += share * deep[k];
    }
  }
};

inline double DeepFm::step(const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
                           Adagrad adagrad) {
  Pool& pool = pool_.get();
  const int n_threads = pool.size();
  const DeepSettings& settings = settings_;
  Pass pass(*this, rows, loss);
  Barrier barrier(n_threads);
  double total = 0;
  pool.run([&](int t) {
    Bias bias = bias_;  // every thread steps a copy of its own
    auto block_memory = std::make_unique<Block>();
    Block& block = *block_memory;
    block.rows = &rows;
    std::vector<int64_t> first_entry(static_cast<size_t>(settings.block_rows) + 1, 0);
    double batch_weight = 0;
    int64_t batch_size = 0;
    for (int64_t start = 0; start < n; start += settings.block_rows) {
      block.order = order + start;
      block.n_left = n - start;
      block.size = static_cast<int>(std::min<int64_t>(settings.block_rows, n - start));
      for (int i = 0; i < block.size; ++i) first_entry[i + 1] = first_entry[i] + block.row(i).size;
      if (t == 0) pass.next_unit = pass.next_stepped = 0;
      for (int begin; (begin = pass.next_row.fetch_add(kChunkRows)) < block.size;)
        pass.both_ways(block, first_entry.data(), begin, std::min(begin + kChunkRows, block.size), bias.value);
      barrier.wait();
      if (t == 0) pass.next_row = 0;
      pass.shared.get(block);
      for (int i = 0; i < block.size; ++i) {
        batch_weight += block.weight[i];
        if (t == 0) total += block.loss[i];
      }
      step_features(features_, adagrad, block, first_entry.data(), owners, t, pass.dvectors.data(),
                    [](const Row&) { return 1.0f; });
      bias.update(block, adagrad);
      if (trainer_) {
        for (int64_t unit; (unit = pass.next_unit.fetch_add(1)) < trainer_->n_units();)
          trainer_->gradient(unit, block.size, block.dlogit, batch_size == 0);
        batch_size += block.size;
        if (batch_size >= settings.batch_rows || block.size == block.n_left) {
          barrier.wait();
          if (batch_weight > 0) {
            const MlpTrainer::Step step = trainer_->next_step(batch_weight, settings.learning_rate, settings.decay);
            for (int64_t unit; (unit = pass.next_stepped.fetch_add(1)) < trainer_->n_units();)
              trainer_->step(unit, step);
            barrier.wait();
            if (t == 0) trainer_->end_step();
          }
          batch_weight = 0;
          batch_size = 0;
        }
      }
      barrier.wait();
    }
    if (t == 0) bias_ = bias;
  });
  return total;
}

}  // namespace anyfm

// DeepFM. The formula stands in src/anyfm/models/deepfm.py, the record of a feature in factor_table.hpp.
//
// Threads take the rows of a block chunk by chunk: lay out their vectors for the perceptron, go forward and backward
// through it, and note the derivatives by the vectors. After a barrier each thread updates the features that it owns
// (ownership.hpp), walking the rows in order, and then takes slices of the perceptron's weights and adds up their
// gradients (mlp_train.hpp). Where a batch is full, Adam steps them after another barrier. No number depends on which
// thread computed it, so the result is the same bit for bit on any number of threads, and none waits long for another
// that the machine held up.
//
// Dense parameters: W_0, b_0, W_1, b_1, … and u, one after the other; none without hidden layers.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "base/barrier.hpp"
#include "models/factor_table.hpp"
#include "models/mlp.hpp"
#include "models/mlp_train.hpp"
#include "models/model.hpp"

namespace anyfm {

struct DeepFmOptions {
  int n_factors;
  Activation activation;
  std::vector<int64_t> hidden_layer_sizes;
  int64_t batch_size;  // rows of one step of the perceptron, at most
  float shrinkage;     // occurrences of a feature at which half of the perceptron's gradient reaches its vector
};

class DeepFm final : public RecordModel {
 public:
  DeepFm(const ModelSizes& sizes, const DeepFmOptions& options)
      : RecordModel(sizes, Features::layout(options.n_factors)),
        options_(options),
        shape_{{n_inputs()}, options.activation},
        features_(sizes, options.n_factors) {
    shape_.sizes.insert(shape_.sizes.end(), options.hidden_layer_sizes.begin(), options.hidden_layer_sizes.end());
    if (shape_.n_layers() == 0) return;
    if (sizes.training) {
      auto trainer = std::make_unique<MlpTrainer>(shape_, kMostBlockRows);
      trainer_ = trainer.get();
      dense_ = std::move(trainer);
    } else {
      dense_ = std::make_unique<DenseVector>(shape_.n_parameters(), false);
    }
    dense_changed();
  }

  int n_fields() const override { return sizes_.n_fields; }
  int block_rows(int64_t n_rows) const override {
    return static_cast<int>(std::min<int64_t>(kMostRows, batch_rows(n_rows)));
  }
  Dense* dense() override { return dense_.get(); }
  void set_dropout(float rate, uint64_t seed, uint64_t stream) override {
    if (trainer_) trainer_->dropout() = {rate, Random(seed, stream)};
  }

 protected:
  Table& table() override { return features_.table(); }
  double train(const Pass& pass) override;
  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const override {
    const int block = static_cast<int>(std::min<int64_t>(Mlp::kRows, end - begin));
    std::vector<float> inputs(scorer_ ? static_cast<size_t>(block * n_inputs()) : 0);
    std::vector<float> scratch(scorer_ ? static_cast<size_t>(scorer_->scratch_floats(block)) : 0);
    Features::Sums sums;
    for (int64_t first = begin; first < end; first += block) {
      const int n = static_cast<int>(std::min<int64_t>(block, end - first));
      for (int i = 0; i < n; ++i) {
        if (first + i + kAhead < end) features_.prefetch(rows[first + i + kAhead]);
        const Row row = rows[first + i];
        logits[first + i] = bias_.value + wide(row, sums);
        if (scorer_) lay_out(row, 1.0f, inputs.data() + i * n_inputs());
      }
      if (scorer_) scorer_->add_logits(inputs.data(), n, scratch.data(), logits + first);
    }
  }
  void dense_changed() override {
    std::vector<float> values(static_cast<size_t>(dense_->size()));
    dense_->read(Dense::kValues, values.data());
    if (trainer_)
      for (int64_t i = 0; i < shape_.n_in(0) * shape_.n_out(0); ++i) values[i] *= trainer_->unit();
    scorer_ = std::make_unique<Mlp>(shape_, values.data());
  }

 private:
  using Features = FactorTable<4>;
  using V = Vec<4>;
  struct SharedPass;

  static constexpr int kChunkRows = 5 * MlpTrainer::kRows;  // of a block, that a thread takes at a time
  static constexpr int kMostRows = 8 * kChunkRows;          // of a block
  static constexpr int kAhead = 4;

  int64_t n_inputs() const { return static_cast<int64_t>(sizes_.n_fields) * options_.n_factors; }
  int64_t batch_rows(int64_t n_rows) const { return batch_rows_for(n_rows, options_.batch_size); }
  static int64_t field(const Row& row, int64_t s) { return row.fields ? row.fields[s] : s; }
  static float value(const Row& row, int64_t s) { return row.values ? row.values[s] : 1.0f; }

  // The factorization machine's logit but for its bias.
  float wide(const Row& row, Features::Sums& sums) const {
    features_.clear(sums);
    for (int64_t s = 0; s < row.size; ++s) features_.add<false>(row.ids[s], value(row, s), sums);
    return sums.linear + features_.pairs([&](int c) ANYFM_INLINE_LAMBDA { return sums.total[c]; }, sums.squares);
  }

  // The perceptron's inputs: for each field the sum over its entries of unit · v x.
  void lay_out(const Row& row, float unit, float* inputs) const {
    const int n_factors = options_.n_factors;
    std::fill(inputs, inputs + n_inputs(), 0.0f);
    for (int64_t s = 0; s < row.size; ++s) {
      const float* vector = features_.vector(row.ids[s]);
      const float x = value(row, s);
      float* of_field = inputs + field(row, s) * n_factors;
      add_scaled(of_field, vector, x * unit, n_factors);
    }
  }

  // to += scale · from, both of n numbers. Written out, since compilers take the widest vectors, and n is small.
  static void add_scaled(float* to, const float* from, float scale, int n) {
    int k = 0;
    for (; k + 4 <= n; k += 4) (V::load(to + k) + V::load(from + k) * V::splat(scale)).store(to + k);
    for (; k < n; ++k) to[k] += from[k] * scale;
  }

  const DeepFmOptions options_;
  MlpShape shape_;
  Features features_;
  std::unique_ptr<Dense> dense_;
  MlpTrainer* trainer_ = nullptr;  // dense_, in training
  std::unique_ptr<Mlp> scorer_;    // as the dense parameters are
};

// One pass: what its threads share.
struct DeepFm::SharedPass {
  DeepFm& model;
  const Loss loss;
  SharedBlock shared;
  std::atomic<int> next_row{0};                         // of the block, that no thread has taken yet
  std::atomic<int64_t> next_slice{0}, next_stepped{0};  // of the perceptron's weights: without gradient, without step
  const int64_t padded = model.features_.padded();
  std::vector<float> logits, totals, dvectors;  // of the rows (also Σ v x), and of all entries, of a block

  SharedPass(DeepFm& of, const Pass& pass, int64_t block_rows) : model(of), loss(pass.loss) {
    logits.resize(static_cast<size_t>(block_rows));
    totals.resize(static_cast<size_t>(block_rows * padded));
    dvectors.resize(static_cast<size_t>(block_rows * padded * longest_row(pass.rows, 0, pass.rows.n_rows)), 0.0f);
  }

  // Rows begin … end − 1 of the block, forward and backward.
  void forward_backward(Block& block, const int64_t* first_entry, int begin, int end, float bias) {
    MlpTrainer* trainer = model.trainer_;
    Features::Sums sums;
    for (int i = begin; i < end; ++i) {
      if (i + kPrefetchIds < block.n_left) prefetch_ids(block.row(i + kPrefetchIds));
      if (i + kPrefetchRows < end) model.features_.prefetch(block.row(i + kPrefetchRows));
      const Row row = block.row(i);
      logits[i] = bias + model.wide(row, sums);
      for (int c = 0; c < model.features_.chunks(); ++c) sums.total[c].store(totals.data() + i * padded + 4 * c);
      if (trainer) model.lay_out(row, trainer->unit(), trainer->inputs(i));
    }
    if (trainer) trainer->forward(begin, end, block.order, logits.data());
    for (int i = begin; i < end; ++i) {
      block.take_logit(i, logits[i], loss);
      if (block.weight[i] == 0) block.dlogit[i] = 0;
      shared.put(block, i);
    }
    if (trainer) trainer->backward(begin, end, shared.dlogit);
    for (int i = begin; i < end; ++i)
      if (block.weight[i] != 0)
        derivatives(block.row(i), i, block.dlogit[i], dvectors.data() + first_entry[i] * padded);
  }

  // By the vector of each entry, over its value x: that of the pairs, and the fraction count / (count + shrinkage) of
  // what came through the perceptron.
  void derivatives(const Row& row, int i, float dlogit, float* to) const {
    const Features& features = model.features_;
    const float* total = totals.data() + i * padded;
    const int n_factors = model.options_.n_factors;
    for (int64_t s = 0; s < row.size; ++s, to += padded) {
      const float* vector = features.vector(row.ids[s]);
      for (int64_t k = 0; k < padded; k += 4)
        (V::splat(dlogit) * Features::dpairs<false>(V::load(total + k), V::load(vector + k), value(row, s)))
            .store(to + k);
      if (!model.trainer_) continue;
      const float* deep = model.trainer_->dinputs(i) + DeepFm::field(row, s) * n_factors;
      const float count = features.count(row.ids[s]);
      const float fraction = count / std::max(count + model.options_.shrinkage, 1e-30f);
      const float scale = model.trainer_->unit() * fraction;
      DeepFm::add_scaled(to, deep, scale, n_factors);
    }
  }
};

inline double DeepFm::train(const Pass& pass) {
  Pool& pool = pool_.get();
  const int block_rows = this->block_rows(pass.rows.n_rows);
  const int64_t batch_rows = this->batch_rows(pass.rows.n_rows);
  SharedPass common(*this, pass, block_rows);
  Barrier barrier(pool.size());
  double total = 0;
  pool.run(barrier, [&](int t) {
    Bias bias = bias_;  // every thread steps a copy
    Block block(pass);
    std::vector<int64_t> first_entry(static_cast<size_t>(block_rows) + 1, 0);
    double batch_weight = 0;
    int64_t batch_size = 0;
    for (int64_t start = 0; start < pass.n; start += block_rows) {
      block.move_to(pass, start, block_rows);
      for (int i = 0; i < block.size; ++i) first_entry[i + 1] = first_entry[i] + block.row(i).size;
      if (t == 0) common.next_slice = common.next_stepped = 0;
      for (int begin; (begin = common.next_row.fetch_add(kChunkRows)) < block.size;)
        common.forward_backward(block, first_entry.data(), begin, std::min(begin + kChunkRows, block.size), bias.value);
      barrier.wait();
      if (t == 0) common.next_row = 0;
      common.shared.get(block);
      for (int i = 0; i < block.size; ++i) {
        batch_weight += block.weight[i];
        if (t == 0) total += block.loss[i];
      }
      step_features(features_, pass.adagrad, block, first_entry.data(), pass.owners, t, common.dvectors.data(), false);
      bias.update(block, pass.adagrad);
      if (trainer_) {
        for (int64_t slice; (slice = common.next_slice.fetch_add(1)) < trainer_->n_slices();)
          trainer_->gradient(slice, block.size, block.dlogit, batch_size == 0);
        batch_size += block.size;
        if (batch_size >= batch_rows || block.size == block.n_left) {
          barrier.wait();
          if (batch_weight > 0) {
            const MlpTrainer::Step step = trainer_->next_step(batch_weight, pass.dense_learning_rate);
            for (int64_t slice; (slice = common.next_stepped.fetch_add(1)) < trainer_->n_slices();)
              trainer_->step(slice, step);
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

inline std::unique_ptr<Model> make_deepfm(const ModelSizes& sizes, Options& options) {
  const int n_factors = options.integer("n_factors", 1, 256);
  const Activation activation = static_cast<Activation>(options.choice("activation", {"relu", "tanh", "sigmoid"}));
  return std::make_unique<DeepFm>(sizes, DeepFmOptions{n_factors, activation, options.sizes("hidden_layer_sizes"),
                                                       options.integer("batch_size", 1, int64_t{1} << 30),
                                                       static_cast<float>(options.positive("shrinkage"))});
}

}  // namespace anyfm

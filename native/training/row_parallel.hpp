// The training loop of models whose threads share the rows of a block: AFM and FwFM.
//
// Each thread goes forward and backward through its parts of the rows: their logits, and the derivatives by the vectors
// of their entries and by the dense parameters. After a barrier each thread updates the features that it owns
// (ownership.hpp), walking the rows in order, and steps a copy of the dense parameters that is the same on every
// thread, along the gradients of the parts added up in one order. So the result is the same bit for bit on any number
// of threads.
//
// Such a model offers
//   Bias& bias();  FactorTable<…>& features();  DenseVector& dense_parameters();  bool normalize()
//   int64_t dense_batch_rows(int64_t n_rows)           rows of one step of the dense parameters: whole blocks, at least
//   Worker, one thread's own:
//     Worker(const Model&, int64_t longest_row)
//     void take(const float* numbers)                  the dense parameters as they are now
//     void begin_part()                                zeroes their gradient
//     float forward(float bias, const Row&, int64_t at)   the logit of row `at` of the data
//     void backward(const Row&, float dlogit, float* dvectors)   of the row that went forward last: writes the
//         derivative by the vector of each entry, over its value x, (entries, padded()); entries with x = 0 are skipped
//     void end_part(float* gradient)                   by the dense parameters, summed over the rows of the part
#pragma once

#include <algorithm>
#include <vector>

#include "base/barrier.hpp"
#include "base/pool.hpp"
#include "models/factor_table.hpp"
#include "optim/dense.hpp"
#include "training/block.hpp"

namespace anyfm {

// What the threads share of a block of rows.
struct RowParallelBlock : SharedBlock {
  std::vector<float> dvectors;           // of all entries of the block
  std::vector<float> gradients[kParts];  // by the dense parameters
};

// Adds the gradients of the parts to `total`, in one order.
inline void add_gradients(const RowParallelBlock& shared, std::vector<float>& total) {
  for (size_t k = 0; k < total.size(); ++k) {
    float g = 0;
    for (int p = 0; p < kParts; ++p) g += shared.gradients[p][k];
    total[k] += g;
  }
}

template <class Model>
double train_row_parallel(Model& model, const Pass& pass, Pool& pool) {
  using Worker = typename Model::Worker;
  const Ownership& owners = pass.owners;
  const int block_rows = block_rows_for(pass.rows.n_rows);
  const int64_t batch_rows = model.dense_batch_rows(pass.rows.n_rows);
  const int64_t longest = longest_row(pass.rows, 0, pass.rows.n_rows), padded = model.features().padded();
  const size_t n_dense = static_cast<size_t>(model.dense_parameters().size());
  RowParallelBlock shared;
  shared.dvectors.resize(static_cast<size_t>(longest * block_rows * padded), 0.0f);
  for (std::vector<float>& gradient : shared.gradients) gradient.resize(n_dense, 0.0f);
  Barrier barrier(pool.size());
  double total = 0;
  pool.run(barrier, [&](int t) {
    Worker worker(model, longest);  // in memory of this thread, so that none writes into another's cache lines
    Bias bias = model.bias();       // every thread steps copies
    DenseVector dense = model.dense_parameters();
    std::vector<float> gradient(n_dense, 0.0f);  // summed over the blocks of a batch
    double batch_weight = 0;
    int64_t batch_size = 0;
    worker.take(dense.numbers());
    Block block(pass);
    for (int64_t start = 0; start < pass.n; start += block_rows) {
      block.move_to(pass, start, block_rows);
      int64_t first_entry[kBlockRows + 1] = {0};
      for (int i = 0; i < block.size; ++i) first_entry[i + 1] = first_entry[i] + block.row(i).size;
      for (int p = owners.first_part(t); p < owners.first_part(t + 1); ++p) {
        worker.begin_part();
        const int end = block.size * (p + 1) / kParts;
        for (int i = block.size * p / kParts; i < end; ++i) {
          if (i + 1 < end) model.features().prefetch(block.row(i + 1));
          const Row row = block.row(i);
          block.take_logit(i, worker.forward(bias.value, row, block.order[i]), pass.loss);
          shared.put(block, i);
          if (block.weight[i] != 0)
            worker.backward(row, block.dlogit[i], shared.dvectors.data() + first_entry[i] * padded);
        }
        worker.end_part(shared.gradients[p].data());
      }
      barrier.wait();
      shared.get(block);
      for (int i = 0; i < block.size; ++i) {
        batch_weight += block.weight[i];
        if (t == 0) total += block.loss[i];
      }
      step_features(model.features(), pass.adagrad, block, first_entry, owners, t, shared.dvectors.data(),
                    model.normalize());
      bias.update(block, pass.adagrad);
      if (pass.dense_learning_rate > 0) {
        add_gradients(shared, gradient);
        batch_size += block.size;
        if (batch_size >= batch_rows || block.size == block.n_left) {
          if (batch_weight > 0) {
            const float inverse = static_cast<float>(1 / batch_weight);
            for (float& g : gradient) g *= inverse;
            dense.step(gradient.data(), pass.dense_learning_rate);
            worker.take(dense.numbers());
          }
          std::fill(gradient.begin(), gradient.end(), 0.0f);
          batch_weight = 0;
          batch_size = 0;
        }
      }
      barrier.wait();
    }
    if (t != 0) return;
    model.bias() = bias;
    model.dense_parameters() = dense;
  });
  return total;
}

}  // namespace anyfm

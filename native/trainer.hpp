// The loops around every model: blocks of rows, forward by rows, update by owners.
//
// A block is trained in two halves with a barrier after each. In the forward half the threads share the rows and only
// read parameters; in the update half they share the parameters, and each owner walks the rows of the block in order.
// Nothing is written by two threads, so the result is the same bit for bit on any number of threads, and no cache
// line travels between cores.
//
// A model M offers
//   using Scratch = …;                  what forward leaves for update, made by make_scratch(block_rows)
//   float forward(row, i, scratch)      the logit of row i of the block
//   void update(row, i, dlogit, weight, owner…)  see Fm for the signature
//   void update_shared(dlogits, weights, n)      parameters that belong to no feature, by one thread
#pragma once

#include <cmath>
#include <vector>

#include "adagrad.hpp"
#include "pool.hpp"
#include "rows.hpp"
#include "simd.hpp"

namespace anyfm {

// One optimiser step per occurrence: within 64 rows a frequent feature takes few enough steps on the same forward
// values; at 256 that diverges.
constexpr int kBlockRows = 64;

// A block of rows in training order, with what its forward half found.
struct Block {
  const Rows* rows;
  const int64_t* order;
  int64_t n_left;  // rows from the start of this block to the end of the pass
  int size;
  float dlogit[kBlockRows];  // derivative of the weighted loss by the logit
  float weight[kBlockRows];
  double loss[kBlockRows];  // weighted

  Row row(int i) const { return (*rows)[order[i]]; }
};

// How far ahead the cache is told of a row's records, and of its ids, which shuffling scatters too.
constexpr int kPrefetchRows = 2;
constexpr int kPrefetchIds = 12;

inline void prefetch_ids(const Row& row) {
  constexpr int64_t kIdsPerLine = 16;
  for (int64_t s = 0; s < row.size; s += kIdsPerLine) ANYFM_PREFETCH(row.ids + s);
}

template <class Model>
void forward_half(const Model& model, Block& block, int begin, int end, Loss loss, typename Model::Scratch& scratch) {
  for (int i = begin; i < end; ++i) {
    if (i + kPrefetchIds < block.n_left) prefetch_ids(block.row(i + kPrefetchIds));
    if (i + kPrefetchRows < block.n_left) model.prefetch(block.row(i + kPrefetchRows));
    const int64_t at = block.order[i];
    const float z = model.forward(block.row(i), i, scratch);
    const LossValue value = loss_value(loss, z, block.rows->y[at]);
    const float weight = block.rows->row_weight(at);
    block.weight[i] = weight;
    block.dlogit[i] = weight * value.dlogit;
    block.loss[i] = weight == 0 ? 0.0 : weight * value.loss;
  }
}

// Trains on rows order[0 … n−1], in that order. Returns the weighted sum of the losses, each before its own update.
template <class Model>
double train(Model& model, const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, Loss loss,
             Pool& pool) {
  const int n_threads = pool.size();
  typename Model::Scratch scratch = model.make_scratch(kBlockRows);
  Barrier barrier(n_threads);
  Block block{&rows, order, n, 0, {}, {}, {}};
  double total = 0;
  pool.run([&](int t) {
    for (int64_t start = 0; start < n; start += kBlockRows) {
      if (t == 0) {
        block.order = order + start;
        block.n_left = n - start;
        block.size = static_cast<int>(std::min<int64_t>(kBlockRows, n - start));
      }
      barrier.wait();
      forward_half(model, block, block.size * t / n_threads, block.size * (t + 1) / n_threads, loss, scratch);
      barrier.wait();
      if (t == 0) {
        for (int i = 0; i < block.size; ++i) total += block.loss[i];
        model.update_shared(block);
      }
      model.update(block, scratch, owners, t);
      barrier.wait();
    }
  });
  return total;
}

// The logits of rows begin … end − 1.
template <class Model>
void score(const Model& model, const Rows& rows, int64_t begin, int64_t end, float* logits) {
  typename Model::Scratch scratch = model.make_scratch(1);
  for (int64_t i = begin; i < end; ++i) {
    if (i + kPrefetchRows < end) model.prefetch(rows[i + kPrefetchRows]);
    logits[i] = model.forward(rows[i], 0, scratch);
  }
}

template <class Model>
void score(const Model& model, const Rows& rows, float* logits, Pool& pool) {
  const int n_threads = pool.size();
  pool.run([&](int t) { score(model, rows, rows.n_rows * t / n_threads, rows.n_rows * (t + 1) / n_threads, logits); });
}

}  // namespace anyfm

// What the training loops of all models share: what they are asked for, blocks of rows, and how far ahead the cache is
// told of them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/rows.hpp"
#include "base/simd.hpp"
#include "optim/adagrad.hpp"
#include "optim/loss.hpp"
#include "training/ownership.hpp"

namespace anyfm {

// One pass over n rows in a given order.
struct Pass {
  const Rows& rows;
  const Ownership& owners;
  const int64_t* order;
  int64_t n;
  Loss loss;
  Adagrad adagrad;            // of the bias and of what belongs to features
  float dense_learning_rate;  // of Adam, for what every row uses
};

// One optimizer step per occurrence: within 64 rows a frequent feature takes few enough steps on the same forward
// values; at 256 that diverges.
constexpr int kBlockRows = 64;
constexpr int kMostBlockRows = 256;  // of any model

// A small table has at least this many blocks an epoch, down to blocks of one row.
constexpr int64_t kFewestBlocks = 64;
inline int block_rows_for(int64_t n_rows) {
  return static_cast<int>(std::min<int64_t>(kBlockRows, std::max<int64_t>(1, n_rows / kFewestBlocks)));
}

// Rows of one step of dense parameters that is made up of whole blocks: an epoch of a small table has about 128 steps.
inline int64_t batch_rows_for(int64_t n_rows, int64_t limit) {
  return std::min(limit, std::max<int64_t>(16, n_rows / 128));
}

// A block of rows in training order, with the results of its forward pass.
struct Block {
  const Rows* rows;
  const int64_t* order;
  int64_t n_left;  // rows from the start of this block to the end of the pass
  int size;
  float dlogit[kMostBlockRows];  // derivative of the weighted loss by the logit
  float weight[kMostBlockRows];
  double loss[kMostBlockRows];  // weighted

  explicit Block(const Pass& pass) : rows(&pass.rows), order(pass.order), n_left(pass.n), size(0) {}

  // Moves to the block that begins at row `start` of the pass.
  void move_to(const Pass& pass, int64_t start, int64_t block_rows) {
    order = pass.order + start;
    n_left = pass.n - start;
    size = static_cast<int>(std::max<int64_t>(0, std::min(block_rows, n_left)));
  }

  Row row(int i) const { return (*rows)[order[i]]; }

  // Takes the logit z of row i: its loss, and the derivative of it.
  void take_logit(int i, float z, const Loss& kind) {
    const int64_t at = order[i];
    const LossValue value = loss_value(kind, z, rows->y[at]);
    weight[i] = rows->row_weight(at);
    dlogit[i] = weight[i] * value.dlogit;
    loss[i] = weight[i] == 0 ? 0.0 : weight[i] * value.loss;
  }
};

// The results of each thread for its rows of a block, for the others to see.
struct SharedBlock {
  float dlogit[kMostBlockRows], weight[kMostBlockRows];
  double loss[kMostBlockRows];

  void put(const Block& from, int i) {
    dlogit[i] = from.dlogit[i];
    weight[i] = from.weight[i];
    loss[i] = from.loss[i];
  }
  void get(Block& to) const {
    std::copy(dlogit, dlogit + to.size, to.dlogit);
    std::copy(weight, weight + to.size, to.weight);
    std::copy(loss, loss + to.size, to.loss);
  }
};

// The bias belongs to no feature: it takes one step for each row, without a penalty. Every thread steps a copy.
struct Bias {
  float value = 0;
  float accumulator = 1;

  void update(const Block& block, const Adagrad& adagrad) {
    for (int i = 0; i < block.size; ++i)
      if (block.weight[i] != 0) adagrad.update(value, accumulator, 0.0f, block.dlogit[i]);
  }
};

// How far ahead the cache is told of a row's records, and of its ids, which shuffling scatters too.
constexpr int kPrefetchRows = 2;
constexpr int kPrefetchIds = 12;

inline void prefetch_ids(const Row& row) {
  constexpr int64_t kIdsPerLine = 16;
  for (int64_t s = 0; s < row.size; s += kIdsPerLine) ANYFM_PREFETCH(row.ids + s);
}

}  // namespace anyfm

// What the training loops of all models share: blocks of rows, and how far ahead the cache is told of them.
#pragma once

#include <algorithm>
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
constexpr int kMostBlockRows = 256;  // of any model

// A small table has at least this many blocks an epoch, down to blocks of one row.
constexpr int64_t kFewestBlocks = 64;
inline int block_rows_for(int64_t n_rows) {
  return static_cast<int>(std::min<int64_t>(kBlockRows, std::max<int64_t>(1, n_rows / kFewestBlocks)));
}

// A block of rows in training order, with what its forward half found.
struct Block {
  const Rows* rows;
  const int64_t* order;
  int64_t n_left;  // rows from the start of this block to the end of the pass
  int size;
  float dlogit[kMostBlockRows];  // derivative of the weighted loss by the logit
  float weight[kMostBlockRows];
  double loss[kMostBlockRows];  // weighted

  Row row(int i) const { return (*rows)[order[i]]; }

  // Notes what the logit z of row i means: its loss, and the derivative of it.
  void take_loss(int i, float z, const Loss& kind) {
    const int64_t at = order[i];
    const LossValue value = loss_value(kind, z, rows->y[at]);
    weight[i] = rows->row_weight(at);
    dlogit[i] = weight[i] * value.dlogit;
    loss[i] = weight[i] == 0 ? 0.0 : weight[i] * value.loss;
  }
};

// What each thread found of its rows of a block, for the others to see.
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

// How far ahead the cache is told of a row's records, and of its ids, which shuffling scatters too.
constexpr int kPrefetchRows = 2;
constexpr int kPrefetchIds = 12;

inline void prefetch_ids(const Row& row) {
  constexpr int64_t kIdsPerLine = 16;
  for (int64_t s = 0; s < row.size; s += kIdsPerLine) ANYFM_PREFETCH(row.ids + s);
}

}  // namespace anyfm

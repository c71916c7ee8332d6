// The loops around models whose logit is a function of sums over the entries of a row: linear and FM.
//
// Each thread owns parts of every row (ownership.hpp). For a block of rows it sums its own parts, leaves the sums where
// the others see them, waits, adds all parts up in one order, and updates its own parameters. So one barrier a block is
// enough, a thread reads and writes no parameter but its own, which stay in its cache, and the result is the same bit
// for bit on any number of threads.
//
// Such a model offers
//   bool normalize()                                      whether rows are divided by their norm
//   int64_t part_size()                                   floats of the sums of one part
//   void sum_slots<kAllOnes>(row, begin, end, scale, part)   of slots begin … end − 1, written to `part`
//   void add_entry<kAllOnes>(row, s, scale, part)            of one entry, added to `part`
//   void add_parts(parts, sums)                           adds up all kParts parts of a row, in one order
//   float logit(bias, sums)                               from the sums over all parts
//   void step<kAllOnes>(id, x, sums, dlogit, weight, adagrad)   one optimizer step of one entry
//   void prefetch(id)
// where kAllOnes says that every x is 1.
#pragma once

#include <algorithm>
#include <vector>

#include "base/barrier.hpp"
#include "base/pool.hpp"
#include "training/block.hpp"

namespace anyfm {

// What one thread needs of a block.
struct PartSumsScratch {
  std::vector<float> sums;  // (block rows, part size): of whole rows
  float scale[kBlockRows];
};

// Sums the parts first … last − 1 of row i into `parts`, which holds all parts of all rows of the block.
template <bool kAllOnes, class Model>
ANYFM_INLINE void sum_parts(const Model& model, const Row& row, const Ownership& owners, int first, int last,
                            float scale, float* parts) {
  const int64_t size = model.part_size();
  if (owners.by_slot()) {
    for (int p = first; p < last; ++p)
      model.template sum_slots<kAllOnes>(row, owners.first_slot(row, p), owners.first_slot(row, p + 1), scale,
                                         parts + p * size);
    return;
  }
  std::fill(parts + first * size, parts + last * size, 0.0f);
  for (int64_t s = 0; s < row.size; ++s) {
    const int p = owners.part_of(row.ids[s]);
    if (p >= first && p < last) model.template add_entry<kAllOnes>(row, s, scale, parts + p * size);
  }
}

// Tells the cache of what a thread owns of the rows that follow row i, in the next block too.
template <class Model>
ANYFM_INLINE void prefetch_owned(const Model& model, const Block& block, int i, const Ownership& owners, int owner) {
  if (i + kPrefetchIds < block.n_left) prefetch_ids(block.row(i + kPrefetchIds));
  if (i + kPrefetchRows >= block.n_left) return;
  const Row row = block.row(i + kPrefetchRows);
  owners.for_each(row, owner, [&](int64_t s) { model.prefetch(row.ids[s]); });
}

template <bool kAllOnes, class Model>
double train_part_sums_of(Model& model, const Pass& pass, Pool& pool) {
  const int n_threads = pool.size();
  const int64_t size = model.part_size();
  const int block_rows = block_rows_for(pass.rows.n_rows);
  std::vector<float> parts[2];  // by row and part; two, so that one barrier a block is enough
  for (std::vector<float>& part : parts) part.resize(static_cast<size_t>(size * kParts * kBlockRows));
  Barrier barrier(n_threads);
  double total = 0;
  pool.run(barrier, [&](int t) {
    const Ownership& owners = pass.owners;
    const Adagrad adagrad = pass.adagrad;
    const int first = owners.first_part(t), last = owners.first_part(t + 1);
    PartSumsScratch scratch{std::vector<float>(static_cast<size_t>(size * kBlockRows)), {}};
    Bias bias = model.bias();  // every thread steps a copy
    Block block(pass);
    double seen = 0;
    for (int64_t start = 0, parity = 0; start < pass.n; start += block_rows, parity = 1 - parity) {
      block.move_to(pass, start, block_rows);
      float* block_parts = parts[parity].data();
      for (int i = 0; i < block.size; ++i) {
        prefetch_owned(model, block, i, owners, t);
        const Row row = block.row(i);
        scratch.scale[i] = !kAllOnes && model.normalize() ? inverse_norm(row) : 1.0f;
        sum_parts<kAllOnes>(model, row, owners, first, last, scratch.scale[i], block_parts + i * kParts * size);
      }
      barrier.wait();
      for (int i = 0; i < block.size; ++i) {
        float* sums = scratch.sums.data() + i * size;
        model.add_parts(block_parts + i * kParts * size, sums);
        block.take_logit(i, model.logit(bias.value, sums), pass.loss);
        seen += block.loss[i];
      }
      for (int i = 0; i < block.size; ++i) {
        if (block.weight[i] == 0) continue;
        const Row row = block.row(i);
        const float* sums = scratch.sums.data() + i * size;
        const float dlogit = block.dlogit[i], weight = block.weight[i], scale = scratch.scale[i];
        owners.for_each(row, t, [&](int64_t s) {
          const float x = kAllOnes ? 1.0f : scale * (row.values ? row.values[s] : 1.0f);
          model.template step<kAllOnes>(row.ids[s], x, sums, dlogit, weight, adagrad);
        });
      }
      bias.update(block, adagrad);
    }
    barrier.wait();
    if (t != 0) return;
    model.bias() = bias;
    total = seen;
  });
  return total;
}

template <class Model>
double train_part_sums(Model& model, const Pass& pass, Pool& pool) {
  return pass.rows.values || model.normalize() ? train_part_sums_of<false>(model, pass, pool)
                                               : train_part_sums_of<true>(model, pass, pool);
}

// The logits of rows begin … end − 1.
template <class Model>
void score_part_sums(const Model& model, const Rows& rows, int64_t begin, int64_t end, float* logits) {
  std::vector<float> sums(static_cast<size_t>(model.part_size()));
  for (int64_t i = begin; i < end; ++i) {
    if (i + kPrefetchRows < end) {
      const Row ahead = rows[i + kPrefetchRows];
      for (int64_t s = 0; s < ahead.size; ++s) model.prefetch(ahead.ids[s]);
    }
    const Row row = rows[i];
    const int slots = static_cast<int>(row.size);
    if (row.values || model.normalize())
      model.template sum_slots<false>(row, 0, slots, model.normalize() ? inverse_norm(row) : 1.0f, sums.data());
    else
      model.template sum_slots<true>(row, 0, slots, 1.0f, sums.data());
    logits[i] = model.logit(model.bias().value, sums.data());
  }
}

}  // namespace anyfm

// The loops around the field-aware model: every thread walks the rows of a block for its own pairs of groups of fields
// (ffm_field_groups.hpp), leaves each row's part of the logit, waits for the others, adds all parts up in one order,
// and updates what belongs to its own pairs.
#pragma once

#include <algorithm>
#include <vector>

#include "base/aligned.hpp"
#include "base/barrier.hpp"
#include "base/pool.hpp"
#include "base/row_fields.hpp"
#include "models/ffm_field_groups.hpp"
#include "training/block.hpp"

namespace anyfm {

template <class Ffm>
double train_ffm(Ffm& model, const Pass& pass, Pool& pool) {
  using Scratch = typename Ffm::Scratch;
  const Rows& rows = pass.rows;
  const std::vector<int32_t> slots = slots_by_field(rows, model.groups().n_fields());
  // A feature of two fields would have vectors in the pairs of two threads: then one thread does it all.
  const int n_workers = rows.one_field_each ? pool.size() : 1;
  const std::vector<std::vector<int>> pairs_of = model.groups().by_thread(n_workers);
  const std::vector<FieldGroups::Pair>& pairs = model.groups().pairs();
  const int n_pairs = static_cast<int>(pairs.size()),
            block_rows = std::min(model.cached_rows(), block_rows_for(rows.n_rows));
  // By pair and row, every pair's on cache lines apart; two, so that one barrier a block is enough.
  const int part_stride = (block_rows + 15) / 16 * 16;
  AlignedFloats parts[2] = {AlignedFloats(n_pairs * part_stride), AlignedFloats(n_pairs * part_stride)};
  Barrier barrier(n_workers);
  double total = 0;
  pool.run(barrier, [&](int t) {
    if (t >= n_workers) return;
    Scratch scratches[2] = {model.make_scratch(), model.make_scratch()};  // this block and the next
    Bias bias = model.bias();
    Block block(pass);
    const auto size_at = [&](int64_t at) {
      return static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(block_rows, pass.n - at)));
    };
    model.lay_out(rows, slots, pass.order, 0, size_at(0), scratches[0]);
    int parity = 0;
    for (int64_t start = 0; start < pass.n; start += block_rows, parity = 1 - parity) {
      block.move_to(pass, start, block_rows);
      Scratch &scratch = scratches[parity], &ahead = scratches[1 - parity];
      float* part = parts[parity].get();
      for (int p : pairs_of[t])
        for (int i = 0; i < block.size; ++i) part[p * part_stride + i] = model.forward(pairs[p], i, scratch);
      barrier.wait();
      for (int i = 0; i < block.size; ++i) {
        float z = bias.value;
        for (int p = 0; p < n_pairs; ++p) z += part[p * part_stride + i];
        block.take_logit(i, z, pass.loss);
        if (t == 0) total += block.loss[i];
      }
      if (model.has_bias()) bias.update(block, pass.adagrad);
      const int64_t* order = pass.order;
      const int64_t next = start + block_rows;
      model.lay_out(rows, slots, order + std::min(next, pass.n), 0, size_at(next), ahead);
      for (int i = 0; i < size_at(next + block_rows); ++i) model.prefetch_counts(rows[order[next + block_rows + i]]);
      for (int i = 0; i < size_at(next + 2 * block_rows); ++i) prefetch_ids(rows[order[next + 2 * block_rows + i]]);
      for (int p : pairs_of[t])
        for (int i = 0; i < block.size; ++i) {
          if (i < ahead.block.size()) model.prefetch(pairs[p], i, ahead);
          if (block.weight[i] != 0) model.update(pairs[p], i, block.dlogit[i], block.weight[i], pass.adagrad, scratch);
        }
    }
    barrier.wait();
    if (t == 0) model.bias() = bias;
  });
  return total;
}

}  // namespace anyfm

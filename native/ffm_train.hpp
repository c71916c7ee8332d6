// The loops around the field-aware model: every thread walks the rows of a block for its own units (field_groups.hpp),
// leaves each row's part of the logit, waits for the others, adds all parts up in one order, and updates its own units.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "aligned.hpp"
#include "denormals.hpp"
#include "ffm.hpp"
#include "pool.hpp"
#include "trainer.hpp"

namespace anyfm {

// Throws unless every entry stands in a field from 0 to n_fields − 1.
inline void check_fields(const Rows& rows, int n_fields) {
  const int64_t n = rows.offsets ? rows.n_entries : rows.n_slots;
  if (!rows.fields && (rows.offsets || n > n_fields))
    throw std::domain_error("rows of a field-aware model must name the field of each entry");
  for (int64_t e = 0; rows.fields && e < n; ++e)
    if (rows.fields[e] < 0 || rows.fields[e] >= n_fields) throw std::domain_error("field out of bounds");
}

// Whether no feature stands in two fields.
inline bool one_field_each(const Rows& rows, int64_t n_features) {
  std::vector<int32_t> field_of(static_cast<size_t>(n_features), -1);
  for (int64_t i = 0; i < rows.n_rows; ++i) {
    const Row row = rows[i];
    for (int64_t s = 0; s < row.size; ++s) {
      int32_t& known = field_of[row.ids[s]];
      const int32_t field = row.fields ? row.fields[s] : static_cast<int32_t>(s);
      if (known >= 0 && known != field) return false;
      known = field;
    }
  }
  return true;
}

// The slot of each field where every row holds one feature of every field; empty elsewhere.
inline std::vector<int32_t> slots_by_field(const Rows& rows, int n_fields) {
  if (rows.offsets || rows.n_slots != n_fields) return {};
  std::vector<int32_t> slots(n_fields, -1);
  for (int s = 0; s < n_fields; ++s) {
    int32_t& slot = slots[rows.fields ? rows.fields[s] : s];
    if (slot >= 0) return {};
    slot = s;
  }
  return slots;
}

template <int C>
double train(Ffm<C>& model, const Rows& rows, const Ownership&, const int64_t* order, int64_t n, const Loss& loss,
             Pool& pool) {
  const std::vector<int32_t> slots = slots_by_field(rows, model.groups().n_fields());
  // A feature of two fields would have vectors in the units of two threads: then one thread does it all.
  const int n_workers = rows.one_field_each ? pool.size() : 1;
  const std::vector<std::vector<int>> shares = model.groups().share(n_workers);
  const std::vector<FieldGroups::Unit>& units = model.groups().units();
  const int n_units = static_cast<int>(units.size()),
            block_rows = std::min(model.block_rows(), block_rows_for(rows.n_rows));
  // By unit and row, every unit's on cache lines of its own; two, so that one barrier a block is enough.
  const int part_stride = (block_rows + 15) / 16 * 16;
  AlignedFloats parts[2] = {AlignedFloats(n_units * part_stride), AlignedFloats(n_units * part_stride)};
  Barrier barrier(n_workers);
  double total = 0;
  pool.run([&](int t) {
    if (t >= n_workers) return;
    typename Ffm<C>::Scratch scratches[2] = {model.make_scratch(), model.make_scratch()};  // this block and the next
    Bias bias = model.bias();
    Block block{&rows, order, n, 0, {}, {}, {}};
    const auto size_at = [&](int64_t at) {
      return static_cast<int>(std::max<int64_t>(0, std::min<int64_t>(block_rows, n - at)));
    };
    model.take(rows, slots, order, 0, size_at(0), scratches[0]);
    int parity = 0;
    for (int64_t start = 0; start < n; start += block_rows, parity = 1 - parity) {
      block.order = order + start;
      block.size = size_at(start);
      typename Ffm<C>::Scratch &scratch = scratches[parity], &ahead = scratches[1 - parity];
      float* part = parts[parity].get();
      for (int u : shares[t])
        for (int i = 0; i < block.size; ++i) part[u * part_stride + i] = model.forward(units[u], i, scratch);
      barrier.wait();
      for (int i = 0; i < block.size; ++i) {
        float z = bias.value;
        for (int u = 0; u < n_units; ++u) z += part[u * part_stride + i];
        block.take_loss(i, z, loss);
        if (t == 0) total += block.loss[i];
      }
      if (model.options().linear) bias.update(block, model.adagrad());
      const int64_t next = start + block_rows;
      model.take(rows, slots, order + std::min(next, n), 0, size_at(next), ahead);
      for (int i = 0; i < size_at(next + block_rows); ++i) model.prefetch_counts(rows[order[next + block_rows + i]]);
      for (int i = 0; i < size_at(next + 2 * block_rows); ++i) prefetch_ids(rows[order[next + 2 * block_rows + i]]);
      for (int u : shares[t])
        for (int i = 0; i < block.size; ++i) {
          if (i < ahead.block.size()) model.prefetch(units[u], i, ahead);
          if (block.weight[i] != 0) model.update(units[u], i, block.dlogit[i], block.weight[i], scratch);
        }
    }
    barrier.wait();
    if (t == 0) model.bias() = bias;
  });
  return total;
}

template <int C>
void score(const Ffm<C>& model, const Rows& rows, int64_t begin, int64_t end, float* logits) {
  const FlushDenormals flush;
  const std::vector<int32_t> slots = slots_by_field(rows, model.groups().n_fields());
  typename Ffm<C>::Scratch scratch = model.make_scratch();
  for (int64_t i = begin; i < end; ++i) {
    if (i + kPrefetchRows < end) model.prefetch(rows[i + kPrefetchRows]);
    model.take(rows, slots, nullptr, i, 1, scratch);
    float z = model.bias().value;
    for (const FieldGroups::Unit unit : model.groups().units()) z += model.forward(unit, 0, scratch);
    logits[i] = z;
  }
}

}  // namespace anyfm

// The linear model. The formula stands in src/anyfm/models/linear.py.
//
// Record of a feature: [w | a d | count h]; the letters as in fm.hpp. Scoring keeps w alone.
#pragma once

#include <cmath>
#include <vector>

#include "adagrad.hpp"
#include "evidence.hpp"
#include "rows.hpp"
#include "table.hpp"
#include "trainer.hpp"

namespace anyfm {

class Linear {
 public:
  struct Scratch {
    float scale[kBlockRows];
  };
  enum Column { kWeight, kAccumulator, kPenalty, kCount, kPrevious, kColumns };

  Linear(int64_t n_features, Adagrad adagrad, bool normalize, bool training)
      : table_(n_features, training ? 8 : 1), adagrad_(adagrad), normalize_(normalize) {}

  Columns columns() const {
    return {{"linear", {kWeight, 1}}, {"accumulators", {kAccumulator, 1}}, {"count", {kCount, 1}}};
  }
  int64_t count_column() const { return kCount; }
  std::vector<PenaltyGroup> penalty_groups() const { return {{kWeight, 1, kAccumulator, 1, kPenalty, kPrevious}}; }
  Table& table() { return table_; }
  const Table& table() const { return table_; }
  Bias& bias() { return bias_; }
  Adagrad& adagrad() { return adagrad_; }
  Scratch make_scratch(int) const { return {}; }

  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) ANYFM_PREFETCH(table_[row.ids[s]]);
  }

  float forward(const Row& row, int i, Scratch& scratch) const {
    const float scale = normalize_ ? inverse_norm(row) : 1.0f;
    float z = 0;
    for (int64_t s = 0; s < row.size; ++s) z += *table_[row.ids[s]] * (row.values ? row.values[s] : 1.0f);
    scratch.scale[i] = scale;
    return bias_.value + scale * z;
  }

  void update_shared(const Block& block) { bias_.update(block, adagrad_); }

  void update(const Block& block, Scratch& scratch, const Ownership& owners, int owner) {
    for (int i = 0; i < block.size; ++i) {
      const float weight = block.weight[i];
      if (weight == 0) continue;
      const Row row = block.row(i);
      const float g = block.dlogit[i] * scratch.scale[i];
      owners.for_each(row, owner, [&](int64_t s) {
        float* r = table_[row.ids[s]];
        adagrad_.update(r[kWeight], r[kAccumulator], weight * r[kPenalty], row.values ? g * row.values[s] : g);
      });
    }
  }

 private:
  Table table_;
  Bias bias_;
  Adagrad adagrad_;
  bool normalize_;
};

}  // namespace anyfm

// The linear model. The formula stands in src/anyfm/models/linear.py.
//
// Record of a feature: [w | a d | count h]; the letters as in fm.hpp. Scoring keeps w alone.
#pragma once

#include <vector>

#include "adagrad.hpp"
#include "evidence.hpp"
#include "rows.hpp"
#include "table.hpp"

namespace anyfm {

class Linear {
 public:
  enum Column { kWeight, kAccumulator, kPenalty, kCount, kPrevious, kColumns };

  Linear(int64_t n_features, Adagrad adagrad, bool normalize, bool training)
      : table_(n_features, training ? 8 : 1), adagrad_(adagrad), normalize_(normalize) {}

  Columns columns() const {
    return {{"linear", {kWeight, 1}}, {"accumulators", {kAccumulator, 1}}, {"count", {kCount, 1}}};
  }
  int64_t count_column() const { return kCount; }
  std::vector<PenaltyGroup> penalty_groups() const { return {{kWeight, 1, kAccumulator, 1, kPenalty, kPrevious}}; }
  Table& table() { return table_; }
  Bias& bias() { return bias_; }
  const Bias& bias() const { return bias_; }
  Adagrad& adagrad() { return adagrad_; }
  bool normalize() const { return normalize_; }
  float scale_of(const Row& row) const { return normalize_ ? inverse_norm(row) : 1.0f; }

  ANYFM_INLINE void prefetch(int32_t id) const { ANYFM_PREFETCH(table_[id]); }
  int64_t part_size() const { return 1; }

  template <bool kUnit>
  ANYFM_INLINE void sum_slots(const Row& row, int begin, int end, float scale, float* part) const {
    *part = 0;
    for (int s = begin; s < end; ++s) add_entry<kUnit>(row, s, scale, part);
  }
  template <bool kUnit>
  ANYFM_INLINE void add_entry(const Row& row, int64_t s, float scale, float* part) const {
    const float w = *table_[row.ids[s]];
    *part += kUnit ? w : w * scale * (row.values ? row.values[s] : 1.0f);
  }
  void add_parts(const float* parts, float* sums) const {
    *sums = 0;
    for (int p = 0; p < kParts; ++p) *sums += parts[p];
  }
  float logit(float bias, const float* sums) const { return bias + *sums; }

  template <bool kUnit>
  ANYFM_INLINE void step(int32_t id, float x, const float*, float dlogit, float weight) {
    float* r = table_[id];
    const float g = kUnit ? dlogit : dlogit * x;
    r[kAccumulator] += g * g * adagrad_.crowd(r[kCount]);
    r[kWeight] = adagrad_.apply(adagrad_.step(r[kAccumulator], weight * r[kPenalty]), r[kWeight], g);
  }

 private:
  Table table_;
  Bias bias_;
  Adagrad adagrad_;
  bool normalize_;
};

}  // namespace anyfm

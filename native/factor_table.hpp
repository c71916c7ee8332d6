// The parameters of features with a weight and one vector of factors each, and one optimiser step of them along a
// gradient that is known already.
//
// Record of a feature: [v_1 … v_K padded | w | a_w a_v d_w d_v count before_w before_v], with one accumulator for w and
// one for the whole vector v (the mean square of its gradients), and their L2 penalties per occurrence. Scoring keeps
// [v | w].
#pragma once

#include <vector>

#include "adagrad.hpp"
#include "evidence.hpp"
#include "rows.hpp"
#include "simd.hpp"
#include "table.hpp"
#include "trainer.hpp"

namespace anyfm {

class FactorTable {
 public:
  FactorTable(int64_t n_features, int n_factors, bool training)
      : n_factors_(n_factors),
        padded_((n_factors + 3) / 4 * 4),
        table_(n_features, (padded_ + (training ? 8 : 1) + 3) / 4 * 4) {}

  Columns columns() const {
    return {{"factors", {0, n_factors_}},
            {"linear", {padded_, 1}},
            {"accumulators", {padded_ + 1, 2}},
            {"count", {count_column(), 1}}};
  }
  int64_t count_column() const { return padded_ + 5; }
  std::vector<PenaltyGroup> penalty_groups() const {
    const int64_t w = padded_;
    return {{w, 1, w + 1, 1, w + 3, w + 6}, {0, n_factors_, w + 2, 1, w + 4, w + 7}};
  }
  Table& table() { return table_; }
  int n_factors() const { return n_factors_; }
  int64_t padded() const { return padded_; }
  const float* vector(int32_t id) const { return table_[id]; }
  float linear(int32_t id) const { return table_[id][padded_]; }
  float count(int32_t id) const { return table_[id][count_column()]; }

  ANYFM_INLINE void prefetch(int32_t id) const {
    const float* record = table_[id];
    for (int64_t c = 0; c < table_.stride(); c += 16) ANYFM_PREFETCH(record + c);
  }

  // One Adagrad step of w along `of_w`, and of v along scale · by_v, which has padded() numbers.
  ANYFM_INLINE void step(int32_t id, float of_w, const float* by_v, float scale, float weight, const Adagrad& adagrad) {
    float* record = table_[id];
    float* w = record + padded_;
    float* a = w + 1;
    const float* d = w + 3;
    const V by = V::splat(scale);
    V squares = V::splat(0);
    for (int64_t c = 0; c < padded_; c += 4) {
      const V g = V::load(by_v + c) * by;
      squares = squares + g * g;
    }
    const float crowd = adagrad.crowd(record[count_column()]);
    a[0] += of_w * of_w * crowd;
    a[1] += sum(squares) * (crowd / static_cast<float>(n_factors_));
    const Step of_linear = adagrad.step(a[0], weight * d[0]), of_v = adagrad.step(a[1], weight * d[1]);
    *w = adagrad.apply(of_linear, *w, of_w);
    const V keep = V::splat(of_v.root * of_v.inverse), rate = by * V::splat(adagrad.learning_rate * of_v.inverse);
    for (int64_t c = 0; c < padded_; c += 4) (V::load(record + c) * keep - V::load(by_v + c) * rate).store(record + c);
  }

 private:
  using V = Vec<4>;
  int n_factors_;
  int64_t padded_;
  Table table_;
};

// Steps the features of `owner` along the derivatives of a block: dlogit x of a weight, x times the entry's line of
// `dvectors` of a vector, where entries count from first_entry of their row. Values x of 0 are absent.
template <class Scale>
void step_features(FactorTable& features, const Adagrad& adagrad, const Block& block, const int64_t* first_entry,
                   const Ownership& owners, int owner, const float* dvectors, Scale&& scale_of) {
  for (int i = 0; i < block.size; ++i) {
    const float weight = block.weight[i], dlogit = block.dlogit[i];
    if (weight == 0) continue;
    const Row row = block.row(i);
    const float scale = scale_of(row);
    const float* of_row = dvectors + first_entry[i] * features.padded();
    owners.for_each(row, owner, [&](int64_t s) {
      const float x = row.values ? row.values[s] * scale : scale;
      if (x != 0) features.step(row.ids[s], dlogit * x, of_row + s * features.padded(), x, weight, adagrad);
    });
  }
}

}  // namespace anyfm

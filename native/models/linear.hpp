// The linear model. The formula stands in src/anyfm/models/linear.py.
//
// Record of a feature: [w | a d | count h]: the weight, its accumulator, its penalty for one occurrence, how often the
// feature occurs, and the accumulator when the penalty was last set. For scoring it is w alone.
#pragma once

#include <memory>

#include "models/model.hpp"
#include "training/part_sums.hpp"

namespace anyfm {

class Linear final : public RecordModel {
 public:
  enum Column { kWeight, kAccumulator, kPenalty, kCount, kPrevious };

  Linear(const ModelSizes& sizes, bool normalize)
      : RecordModel(sizes, {{{"linear", {kWeight, 1, kAccumulator, kPenalty, kPrevious}}}, kCount}),
        table_(sizes.n_features, sizes.training ? 8 : 1),
        normalize_(normalize) {}

  // For training/part_sums.hpp.
  bool normalize() const { return normalize_; }
  ANYFM_INLINE void prefetch(int32_t id) const { ANYFM_PREFETCH(table_[id]); }
  int64_t part_size() const { return 1; }

  template <bool kAllOnes>
  ANYFM_INLINE void sum_slots(const Row& row, int begin, int end, float scale, float* part) const {
    *part = 0;
    for (int s = begin; s < end; ++s) add_entry<kAllOnes>(row, s, scale, part);
  }
  template <bool kAllOnes>
  ANYFM_INLINE void add_entry(const Row& row, int64_t s, float scale, float* part) const {
    const float w = *table_[row.ids[s]];
    *part += kAllOnes ? w : w * scale * (row.values ? row.values[s] : 1.0f);
  }
  void add_parts(const float* parts, float* sums) const {
    *sums = 0;
    for (int p = 0; p < kParts; ++p) *sums += parts[p];
  }
  float logit(float bias, const float* sums) const { return bias + *sums; }

  template <bool kAllOnes>
  ANYFM_INLINE void step(int32_t id, float x, const float*, float dlogit, float weight, const Adagrad& adagrad) {
    float* r = table_[id];
    const float g = kAllOnes ? dlogit : dlogit * x;
    r[kAccumulator] += g * g * adagrad.crowd(r[kCount]);
    r[kWeight] = adagrad.apply(adagrad.step(r[kAccumulator], weight * r[kPenalty]), r[kWeight], g);
  }

 protected:
  Table& table() override { return table_; }
  double train(const Pass& pass) override { return train_part_sums(*this, pass, pool_.get()); }
  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const override {
    score_part_sums(*this, rows, begin, end, logits);
  }

 private:
  Table table_;
  bool normalize_;
};

inline std::unique_ptr<Model> make_linear(const ModelSizes& sizes, Options& options) {
  return std::make_unique<Linear>(sizes, options.flag("normalize"));
}

}  // namespace anyfm

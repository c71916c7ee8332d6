// The factorization machine. The formula stands in src/anyfm/models/fm.py, the record in factor_table.hpp.
#pragma once

#include <memory>

#include "models/factor_table.hpp"
#include "models/model.hpp"
#include "training/part_sums.hpp"

namespace anyfm {

// The sums over the entries of a row, or a part of it: [Σ v x | Σ v² x² by lane | Σ w x].
template <int N, int C>
class Fm final : public RecordModel {
 public:
  Fm(const ModelSizes& sizes, int n_factors, bool normalize)
      : RecordModel(sizes, Features::layout(n_factors)), features_(sizes, n_factors), normalize_(normalize) {}

  // For training/part_sums.hpp.
  bool normalize() const { return normalize_; }
  ANYFM_INLINE void prefetch(int32_t id) const { features_.prefetch(id); }
  ANYFM_INLINE int64_t part_size() const { return features_.padded() + N + 4; }

  template <bool kAllOnes>
  ANYFM_INLINE void sum_slots(const Row& row, int begin, int end, float scale, float* part) const {
    typename Features::Sums sums;
    features_.clear(sums);
    for (int s = begin; s < end; ++s) add<kAllOnes>(row, s, scale, sums);
    store(sums, part);
  }

  template <bool kAllOnes>
  ANYFM_INLINE void add_entry(const Row& row, int64_t s, float scale, float* part) const {
    typename Features::Sums sums;
    for (int c = 0; c < features_.chunks(); ++c) sums.total[c] = V::load(part + c * N);
    sums.squares = V::load(part + features_.padded());
    sums.linear = part[features_.padded() + N];
    add<kAllOnes>(row, s, scale, sums);
    store(sums, part);
  }

  ANYFM_INLINE void add_parts(const float* parts, float* sums) const {
    for (int64_t c = 0; c < part_size() / 4; ++c) {
      Vec<4> total = Vec<4>::load(parts + 4 * c);
      for (int p = 1; p < kParts; ++p) total = total + Vec<4>::load(parts + p * part_size() + 4 * c);
      total.store(sums + 4 * c);
    }
  }

  ANYFM_INLINE float logit(float bias, const float* sums) const {
    const float pairs = features_.pairs([&](int c) ANYFM_INLINE_LAMBDA { return V::load(sums + c * N); },
                                        V::load(sums + features_.padded()));
    return bias + sums[features_.padded() + N] + pairs;
  }

  template <bool kAllOnes>
  ANYFM_INLINE void step(int32_t id, float x, const float* sums, float dlogit, float weight, const Adagrad& adagrad) {
    const float gx = kAllOnes ? dlogit : dlogit * x;
    features_.step(
        id, gx,
        [&](int c, V v) ANYFM_INLINE_LAMBDA {
          return V::splat(gx) * Features::template dpairs<kAllOnes>(V::load(sums + c * N), v, x);
        },
        weight, adagrad);
  }

 protected:
  Table& table() override { return features_.table(); }
  double train(const Pass& pass) override { return train_part_sums(*this, pass, pool_.get()); }
  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const override {
    score_part_sums(*this, rows, begin, end, logits);
  }

 private:
  using Features = FactorTable<N, C>;
  using V = Vec<N>;

  template <bool kAllOnes>
  ANYFM_INLINE void add(const Row& row, int64_t s, float scale, typename Features::Sums& sums) const {
    features_.template add<kAllOnes>(row.ids[s], kAllOnes ? 1.0f : scale * (row.values ? row.values[s] : 1.0f), sums);
  }
  ANYFM_INLINE void store(const typename Features::Sums& sums, float* part) const {
    for (int c = 0; c < features_.chunks(); ++c) sums.total[c].store(part + c * N);
    sums.squares.store(part + features_.padded());
    part[features_.padded() + N] = sums.linear;
  }

  Features features_;
  bool normalize_;
};

inline std::unique_ptr<Model> make_fm(const ModelSizes& sizes, Options& options) {
  const int n_factors = options.integer("n_factors", 1, 256);
  const bool normalize = options.flag("normalize");
  return with_lanes(n_factors, [&](auto lanes, auto chunks) -> std::unique_ptr<Model> {
    return std::make_unique<Fm<lanes.value, chunks.value>>(sizes, n_factors, normalize);
  });
}

}  // namespace anyfm

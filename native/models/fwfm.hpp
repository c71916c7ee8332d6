// The field-weighted factorization machine (Pan et al., WWW 2018, equation 4; doi:10.1145/3178876.3186040). The record
// of a feature stands in factor_table.hpp.
//
//   z = w_0 + Σ_i w_i x_i + Σ_{i<j} r_{f(i) f(j)} ⟨v_i, v_j⟩ x_i x_j
//
// Several entries of a row may stand in one field, and a field may have none. With u_f = Σ_{i∈f} v_i x_i the pairs are
//   ½ Σ_f ⟨u_f, s_f⟩ + ½ Σ_f r_ff (‖u_f‖² − Σ_{i∈f} ‖v_i x_i‖²),   s_f = Σ_{g≠f} r_fg u_g
// where r_ff counts only if a field has two entries. The product of the matrix r with the vectors u is the hot loop.
//
// Dense parameters: the upper triangle of the symmetric matrix r with its diagonal, row by row, F (F + 1) / 2 numbers.
// Their penalty pulls toward 1, which is the factorization machine.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "base/aligned.hpp"
#include "models/factor_table.hpp"
#include "models/model.hpp"
#include "optim/dense.hpp"
#include "training/row_parallel.hpp"

namespace anyfm {

// The matrix r as the kernels read it, lines padded with zeros.
class FieldWeights {
 public:
  static constexpr int kTile = 4;  // fields are padded to a multiple of it

  explicit FieldWeights(int n_fields)
      : n_fields_(n_fields),
        padded_((n_fields + kTile - 1) / kTile * kTile),
        others_(static_cast<size_t>(padded_) * padded_, 0.0f),
        own_(static_cast<size_t>(padded_), 0.0f) {}

  int n_fields() const { return n_fields_; }
  int padded() const { return padded_; }
  int64_t n_parameters() const { return int64_t{n_fields_} * (n_fields_ + 1) / 2; }
  // r_fg, 0 for f = g: line g.
  const float* others(int g) const { return others_.data() + static_cast<int64_t>(g) * padded_; }
  // r_ff.
  float own(int f) const { return own_[f]; }

  // From the upper triangle.
  void take(const float* numbers) {
    for (int f = 0; f < n_fields_; ++f) {
      own_[f] = *numbers++;
      for (int g = f + 1; g < n_fields_; ++g) others_[f * padded_ + g] = others_[g * padded_ + f] = *numbers++;
    }
  }

 private:
  int n_fields_, padded_;
  std::vector<float> others_, own_;
};

template <int N, int C>
class FwFm final : public RecordModel {
 public:
  using Features = FactorTable<N, C>;
  class FieldSums;
  class Worker;

  FwFm(const ModelSizes& sizes, int n_factors, bool normalize)
      : RecordModel(sizes, Features::layout(n_factors)),
        features_(sizes, n_factors),
        weights_(sizes.n_fields),
        dense_(weights_.n_parameters(), sizes.training, 1.0f),
        normalize_(normalize) {}

  // For training/row_parallel.hpp.
  Features& features() { return features_; }
  DenseVector& dense_parameters() { return dense_; }
  bool normalize() const { return normalize_; }
  // About 128 steps an epoch, so that one learning rate of r suits short and long epochs.
  static int64_t dense_batch_rows(int64_t n_rows) { return batch_rows_for(n_rows, 4096); }

  int n_fields() const override { return sizes_.n_fields; }
  Dense* dense() override { return &dense_; }

 protected:
  Table& table() override { return features_.table(); }
  double train(const Pass& pass) override { return train_row_parallel(*this, pass, pool_.get()); }
  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const override {
    FieldSums sums(*this);
    for (int64_t i = begin; i < end; ++i) {
      if (i + kPrefetchRows < end) features_.prefetch(rows[i + kPrefetchRows]);
      logits[i] = sums.logit(bias_.value, *this, weights_, rows[i]);
    }
  }
  void dense_changed() override { weights_.take(dense_.numbers()); }

 private:
  // Calls f(id, field, x) for the entries of a row; those with a value of 0 are absent.
  template <class F>
  ANYFM_INLINE void for_entries(const Row& row, F&& f) const {
    const float scale = normalize_ ? inverse_norm(row) : 1.0f;
    for (int64_t s = 0; s < row.size; ++s) {
      const float x = row.values ? row.values[s] * scale : scale;
      if (x != 0) f(s, row.ids[s], row.fields ? row.fields[s] : static_cast<int32_t>(s), x);
    }
  }

  Features features_;
  FieldWeights weights_;  // as the dense parameters are
  DenseVector dense_;
  bool normalize_;
};

// The sums over the entries of each field of one row, fields padded with zeros.
template <int N, int C>
class FwFm<N, C>::FieldSums {
 public:
  using V = Vec<N>;

  explicit FieldSums(const FwFm& model)
      : chunks_(model.features_.chunks()),
        padded_(model.features_.padded()),
        n_padded_fields_(model.weights_.padded()),
        vectors_(aligned_zeros(n_padded_fields_ * padded_)),
        pulls_(aligned_zeros(n_padded_fields_ * padded_)),
        squares_(aligned_zeros(n_padded_fields_ * N)),
        n_entries_(static_cast<size_t>(n_padded_fields_), 0) {}

  // u_f, s_f, and Σ_{i∈f} v_i² x_i² by lane.
  const float* vector(int f) const { return vectors_.get() + f * padded_; }
  const float* pull(int f) const { return pulls_.get() + f * padded_; }
  // Whether the field has pairs: an exact 0 would be lost to rounding otherwise.
  bool has_pairs(int f) const { return n_entries_[f] > 1; }
  // ‖u_f‖² − Σ_{i∈f} ‖v_i x_i‖², by lane.
  ANYFM_INLINE V own_pairs(int f) const {
    V pairs = V::splat(0) - V::load(squares_.get() + f * N);
    for (int c = 0; c < chunks(); ++c) {
      const V u = V::load(vector(f) + c * N);
      pairs = pairs + u * u;
    }
    return pairs;
  }

  float logit(float bias, const FwFm& model, const FieldWeights& weights, const Row& row) {
    std::fill_n(vectors_.get(), weights.n_fields() * padded_, 0.0f);
    std::fill_n(squares_.get(), weights.n_fields() * N, 0.0f);
    std::fill(n_entries_.begin(), n_entries_.end(), 0);
    float linear = 0;
    model.for_entries(row, [&](int64_t, int32_t id, int32_t field, float x) ANYFM_INLINE_LAMBDA {
      const float* v = model.features_.vector(id);
      float *u = vectors_.get() + field * padded_, *squares = squares_.get() + field * N;
      linear += model.features_.linear(id) * x;
      V square = V::load(squares);
      for (int c = 0; c < chunks(); ++c) {
        const V vx = V::load(v + c * N) * V::splat(x);
        (V::load(u + c * N) + vx).store(u + c * N);
        square = square + vx * vx;
      }
      square.store(squares);
      ++n_entries_[field];
    });
    multiply(weights);
    V pairs = V::splat(0);
    for (int f = 0; f < weights.n_fields(); ++f) {
      V of_field = has_pairs(f) ? V::splat(weights.own(f)) * own_pairs(f) : V::splat(0);
      for (int c = 0; c < chunks(); ++c) of_field = of_field + V::load(vector(f) + c * N) * V::load(pull(f) + c * N);
      pairs = pairs + of_field;
    }
    return bias + linear + 0.5f * sum(pairs);
  }

 private:
  ANYFM_INLINE int chunks() const { return C ? C : chunks_; }

  // s = r u, kTile fields at a time.
  void multiply(const FieldWeights& weights) {
    constexpr int kTile = FieldWeights::kTile;
    for (int c = 0; c < chunks(); ++c)
      for (int f = 0; f < n_padded_fields_; f += kTile) {
        V total[kTile];
        ANYFM_UNROLL for (V& t : total) t = V::splat(0);
        for (int g = 0; g < weights.n_fields(); ++g) {
          const V u = V::load(vector(g) + c * N);
          const float* r = weights.others(g) + f;
          ANYFM_UNROLL for (int a = 0; a < kTile; ++a) total[a] = total[a] + V::splat(r[a]) * u;
        }
        ANYFM_UNROLL for (int a = 0; a < kTile; ++a) total[a].store(pulls_.get() + (f + a) * padded_ + c * N);
      }
  }

  int chunks_;
  int64_t padded_;
  int n_padded_fields_;
  AlignedFloats vectors_, pulls_, squares_;
  std::vector<int> n_entries_;
};

// For training/row_parallel.hpp. The rows of a part are stored until its end, so that the gradient of each pair of
// fields is added up over them in a register.
template <int N, int C>
class FwFm<N, C>::Worker {
 public:
  Worker(const FwFm& model, int64_t) : model_(model), weights_(model.weights_) {}

  void take(const float* numbers) { weights_.take(numbers); }
  void begin_part() { n_rows_ = 0; }
  float forward(float bias, const Row& row, int64_t) {
    if (n_rows_ == rows_.size()) rows_.emplace_back(model_);
    dlogits_.resize(rows_.size());
    return rows_[n_rows_].logit(bias, model_, weights_, row);
  }
  void backward(const Row& row, float dlogit, float* dvectors) {
    const FieldSums& sums = rows_[n_rows_];
    const Features& features = model_.features_;
    const int64_t padded = features.padded();
    model_.for_entries(row, [&](int64_t s, int32_t id, int32_t field, float x) ANYFM_INLINE_LAMBDA {
      const V own = V::splat(sums.has_pairs(field) ? weights_.own(field) : 0.0f), g = V::splat(dlogit);
      for (int64_t c = 0; c < padded; c += N) {
        const V same = V::load(sums.vector(field) + c) - V::load(features.vector(id) + c) * V::splat(x);
        (g * (V::load(sums.pull(field) + c) + own * same)).store(dvectors + s * padded + c);
      }
    });
    dlogits_[n_rows_++] = dlogit;
  }
  void end_part(float* gradient) const {
    constexpr int kTile = FieldWeights::kTile;
    const int n_fields = weights_.n_fields();
    for (int f = 0; f < n_fields; f += kTile)
      for (int g = f; g < n_fields; g += kTile) {
        V total[kTile][kTile];
        products(f, g, total);
        for (int a = 0; a < kTile && f + a < n_fields; ++a) {
          float* line = gradient + place(f + a) - (f + a);
          for (int b = g == f ? a + 1 : 0; b < kTile && g + b < n_fields; ++b) line[g + b] = sum(total[a][b]);
        }
      }
    for (int f = 0; f < n_fields; ++f) {
      V total = V::splat(0);
      for (size_t i = 0; i < n_rows_; ++i)
        if (rows_[i].has_pairs(f)) total = total + V::splat(dlogits_[i]) * rows_[i].own_pairs(f);
      gradient[place(f)] = 0.5f * sum(total);
    }
  }

 private:
  using V = Vec<N>;

  // Where r_ff stands in the triangle.
  int64_t place(int64_t f) const { return f * weights_.n_fields() - f * (f - 1) / 2; }

  // Σ dlogit u_{f+a} ⊙ u_{g+b} over the rows of the part.
  template <int kTile>
  ANYFM_INLINE void products(int f, int g, V (&total)[kTile][kTile]) const {
    const int64_t padded = model_.features_.padded();
    ANYFM_UNROLL for (int a = 0; a < kTile; ++a) ANYFM_UNROLL for (int b = 0; b < kTile; ++b) total[a][b] = V::splat(0);
    for (size_t i = 0; i < n_rows_; ++i) {
      const float *left = rows_[i].vector(f), *right = rows_[i].vector(g);
      const V dlogit = V::splat(dlogits_[i]);
      for (int64_t c = 0; c < padded; c += N) {
        V u[kTile];
        ANYFM_UNROLL for (int b = 0; b < kTile; ++b) u[b] = V::load(right + b * padded + c) * dlogit;
        ANYFM_UNROLL for (int a = 0; a < kTile; ++a) {
          const V v = V::load(left + a * padded + c);
          ANYFM_UNROLL for (int b = 0; b < kTile; ++b) total[a][b] = total[a][b] + v * u[b];
        }
      }
    }
  }

  const FwFm& model_;
  FieldWeights weights_;
  std::vector<FieldSums> rows_;
  std::vector<float> dlogits_;
  size_t n_rows_ = 0;
};

inline std::unique_ptr<Model> make_fwfm(const ModelSizes& sizes, Options& options) {
  const int n_factors = options.integer("n_factors", 1, 256);
  const bool normalize = options.flag("normalize");
  return with_lanes(n_factors, [&](auto lanes, auto chunks) -> std::unique_ptr<Model> {
    return std::make_unique<FwFm<lanes.value, chunks.value>>(sizes, n_factors, normalize);
  });
}

}  // namespace anyfm

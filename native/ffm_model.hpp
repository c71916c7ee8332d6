// What the bindings see of the field-aware model, beyond what every model has.
#pragma once

#include <vector>

#include "evidence.hpp"
#include "ffm.hpp"
#include "ffm_train.hpp"
#include "model.hpp"

namespace anyfm {

class AnyFfm : public AnyModel {
 public:
  using AnyModel::AnyModel;
  virtual int n_factors() const = 0;
  virtual Table& sections() = 0;
  virtual void start(const FfmStart& start) = 0;
  // Copies the factors of features first … first + n − 1 out of the table or into it.
  virtual void read_factors(float* to, int64_t first, int64_t n) = 0;
  virtual void write_factors(const float* from, int64_t first, int64_t n) = 0;
  // Sets the penalties from the prior, whose λ of each pair of fields is estimated anew first if asked for.
  virtual void field_penalties(const int32_t* field_of, Prior& prior, double noise, bool estimate, double start,
                               int epochs) = 0;
};

// One step of the estimate of evidence.hpp for each pair of fields (f, g): the prior precision of the vectors of the
// features of field f toward field g. What an epoch added to an accumulator is taken as what it holds beyond `start`,
// divided by `epochs`. Of a large field some 16,384 features are looked at.
template <int C>
void estimate_field_prior(const Ffm<C>& model, const int32_t* field_of, Prior& prior, double noise, double start,
                          int epochs, Pool& pool) {
  constexpr int64_t kEnough = 16384;
  const Table& table = model.table();
  const int64_t n_fields = model.groups().n_fields(), n_pairs = n_fields * n_fields;
  std::vector<int64_t> sizes(n_fields, 0);
  for (int64_t j = 0; j < table.n_records(); ++j) ++sizes[field_of[j]];
  std::vector<double> moments(n_pairs * detail::kChunks), counts(n_fields * detail::kChunks);
  const double information = 1 / (noise * noise * std::max(1, epochs));
  const double share = 1.0 / model.options().n_factors;
  detail::for_chunks(table.n_records(), pool, [&](int chunk, int64_t begin, int64_t end) {
    std::vector<int64_t> met(n_fields, 0);
    for (int64_t j = begin; j < end; ++j) {
      const int64_t f = field_of[j];
      if (met[f]++ % std::max<int64_t>(1, sizes[f] / kEnough) != 0) continue;
      const float* record = table[j];
      if (!(record[model.count_column()] > 0)) continue;
      counts[chunk * n_fields + f] += 1;
      double* moment = moments.data() + chunk * n_pairs + f * n_fields;
      for (int group = 0; group < model.groups().n_groups(); ++group) {
        const float* section = model.section(j, group);
        const FfmSection& layout = model.layout(group);
        const int first = model.groups().begin(group);
        for (int g = first; g < model.groups().end(group); ++g) {
          double square = 0;
          for (int c = 0; c < model.planes(); ++c)
            for (int k = 0; k < 4; ++k) {
              const double v = section[c * layout.plane + 4 * (g - first) + k];
              square += v * v;
            }
          const double grown = std::max(0.0, section[layout.weights + g - first] - start);
          moment[g] += square * share + 1 / (prior.precision[f * n_fields + g] + information * grown);
        }
      }
    }
  });
  for (int64_t f = 0; f < n_fields; ++f)
    for (int64_t g = 0; g < n_fields; ++g) {
      double moment = prior.strength / prior.guess, count = prior.strength;
      for (int chunk = 0; chunk < detail::kChunks; ++chunk) {
        moment += moments[chunk * n_pairs + f * n_fields + g];
        count += counts[chunk * n_fields + f];
      }
      prior.precision[f * n_fields + g] = std::min(prior.highest, std::max(prior.lowest, count / moment));
    }
}

template <int C>
class FfmOf final : public AnyFfm {
 public:
  FfmOf(int n_threads, int64_t n_features, FfmOptions options, bool training)
      : AnyFfm(n_threads), model_(n_features, options, training) {}

  double step(const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
              Adagrad adagrad) override {
    model_.adagrad() = adagrad;
    return train(model_, rows, owners, order, n, loss, pool_.get());
  }
  void logits(const Rows& rows, float* out, bool threaded) override {
    if (!threaded) return score(model_, rows, 0, rows.n_rows, out);
    Pool& pool = pool_.get();
    const int n = pool.size();
    pool.run([&](int t) { score(model_, rows, rows.n_rows * t / n, rows.n_rows * (t + 1) / n, out); });
  }
  Table& table() override { return model_.table(); }
  Bias& bias() override { return model_.bias(); }
  Columns columns() const override { return model_.columns(); }
  int64_t count_column() const override { return model_.count_column(); }
  std::vector<PenaltyGroup> penalty_groups() const override { return model_.penalty_groups(); }
  int n_fields() const override { return model_.options().n_fields; }
  int n_factors() const override { return model_.options().n_factors; }
  Table& sections() override { return model_.sections(); }
  void start(const FfmStart& start) override {
    detail::for_chunks(model_.table().n_records(), pool_.get(),
                       [&](int, int64_t first, int64_t last) { model_.start(start, first, last); });
  }

  void read_factors(float* to, int64_t first, int64_t n) override {
    detail::for_chunks(n, pool_.get(), [&](int, int64_t begin, int64_t end) {
      model_.read_factors(to + begin * floats(), first + begin, end - begin);
    });
  }
  void write_factors(const float* from, int64_t first, int64_t n) override {
    detail::for_chunks(n, pool_.get(), [&](int, int64_t begin, int64_t end) {
      model_.write_factors(from + begin * floats(), first + begin, end - begin);
    });
  }
  void field_penalties(const int32_t* field_of, Prior& prior, double noise, bool estimate, double start,
                       int epochs) override {
    if (estimate) estimate_field_prior(model_, field_of, prior, noise, start, epochs, pool_.get());
    model_.set_field_penalties(prior.precision, noise);
  }

 private:
  int64_t floats() const { return static_cast<int64_t>(n_fields()) * n_factors(); }

  Ffm<C> model_;
};

}  // namespace anyfm

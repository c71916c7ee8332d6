// Gibbs sampling of a factorization machine's posterior in regression.
//
// Rendle, "Factorization Machines with libFM", ACM TIST 3 (2012), section 3.3 (MCMC): the target has normal noise of
// precision α; every parameter of a field has a normal prior of its own mean and precision, the factors for each
// dimension k too, and those have normal-gamma priors. One sweep draws every number from its distribution given all
// others. The model is linear in each, so that these are normal: of a parameter θ with the derivative h of the logit,
// residuals e = y − z and prior N(μ, 1/λ),
//   precision λ + α Σ h²,  mean (λ μ + α Σ h (e + h θ)) / precision.
// For a weight h = x, for a factor v of dimension k h = x (q − v x) with q = Σ v x over the row.
//
// Features of one field that never stand in one row together are independent given the rest: threads share them.
// Numbers come from counters (base/random.hpp) and sums are taken by fixed chunks, so the result is the same bit for
// bit on any number of threads. A feature that stands in a row twice is treated as two.
#pragma once

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "base/barrier.hpp"
#include "base/pool.hpp"
#include "base/random.hpp"
#include "base/rows.hpp"

namespace anyfm {

class GibbsSampler {
 public:
  // The rows must outlive the sampler. field_of: of each of n_features features.
  GibbsSampler(const Rows& rows, const int32_t* field_of, int64_t n_features, int n_fields, int n_factors,
               bool normalize, int n_threads)
      : rows_(rows), n_factors_(n_factors), pool_(n_threads), linear_(static_cast<size_t>(n_features), 0.0f) {
    factors_.resize(linear_.size() * static_cast<size_t>(n_factors), 0.0f);
    residuals_.resize(static_cast<size_t>(rows.n_rows));
    sums_.resize(residuals_.size());
    if (normalize) {
      row_scale_.resize(residuals_.size());
      for (int64_t r = 0; r < rows.n_rows; ++r) row_scale_[r] = inverse_norm(rows[r]);
    }
    by_column(field_of, n_fields);
  }

  int64_t n_features() const { return static_cast<int64_t>(linear_.size()); }
  int n_factors() const { return n_factors_; }
  float bias() const { return bias_; }
  void set_bias(float bias) { bias_ = bias; }
  std::vector<float>& linear() { return linear_; }    // (n_features)
  std::vector<float>& factors() { return factors_; }  // (n_factors, n_features)

  // Draws the initial factors of the features that occur.
  void start(uint64_t seed, float deviation) {
    const Random random(seed, 0);
    std::fill(linear_.begin(), linear_.end(), 0.0f);
    std::fill(factors_.begin(), factors_.end(), 0.0f);
    for (const Field& field : fields_)
      for (int64_t c = field.begin; c < field.end; ++c)
        for (int k = 0; k < n_factors_; ++k) {
          const size_t place = static_cast<size_t>(k) * linear_.size() + columns_[c].feature;
          factors_[place] = deviation * random.normal(place);
        }
  }

  // Draws every parameter once; all depends on the parameters, the seed and the number of the sweep alone. Returns
  // half the sum of the squared residuals, weighted, from before.
  double sweep(uint64_t seed, uint64_t number) {
    Pool& pool = pool_.get();
    Barrier barrier(pool.size());
    double squares = 0;
    std::atomic<int64_t> next{0};
    pool.run(barrier, [&](int t) {
      const Team team{t, pool.size(), barrier, next};
      refresh_residuals(team);
      if (t == 0) {
        squares = weighted_sum([&](int64_t r) { return double(residuals_[r]) * residuals_[r]; });
        const double shape = 0.5 * (1 + total_weight()), rate = 0.5 * (1 + squares);
        precision_ = gamma(Random(seed, stream(number, 0)), 0, shape) / rate;
        draw_bias(Random(seed, stream(number, 1)));
      }
      team.meet();
      for_rows(team, [&](int64_t r) { residuals_[r] -= bias_change_; });
      for (size_t f = 0; f < fields_.size(); ++f)
        draw_field(
            team, f, linear_.data(), seed, stream(number, 2 + f), [](const Entry& entry, float) { return entry.x; },
            [](const Entry&, float) {});
      for (int k = 0; k < n_factors_; ++k) {
        float* factors = factors_.data() + static_cast<size_t>(k) * linear_.size();
        for_rows(team, [&](int64_t r) {
          float sum = 0;
          for_entries(r, [&](int32_t id, float x) { sum += factors[id] * x; });
          sums_[r] = sum;
        });
        for (size_t f = 0; f < fields_.size(); ++f)
          draw_field(
              team, f, factors, seed, stream(number, 2 + fields_.size() * (1 + k) + f),
              [&](const Entry& entry, float v) { return entry.x * (sums_[entry.row] - v * entry.x); },
              [&](const Entry& entry, float change) { sums_[entry.row] += change * entry.x; });
      }
    });
    return 0.5 * squares;
  }

 private:
  struct Entry {
    int32_t row;
    float x;
  };
  struct Column {  // of a feature that occurs
    int32_t feature;
    int64_t begin, end;  // its entries
  };
  struct Field {
    int64_t begin, end;  // its columns
    bool disjoint;       // no two of its features stand in one row
  };
  struct Prior {  // of the parameters of a field
    double mean = 0, precision = 1;
  };
  struct Team {
    int t, n;
    Barrier& barrier;
    std::atomic<int64_t>& next;
    void meet() const { barrier.wait(); }
  };
  static constexpr int64_t kColumns = 16;  // that a thread takes at a time
  static constexpr int64_t kRowChunks = 64;

  static uint64_t stream(uint64_t sweep, uint64_t tag) { return ((sweep + 1) << 24) + tag; }

  template <class F>
  void for_entries(int64_t r, F&& f) const {
    const Row row = rows_[r];
    const float scale = row_scale_.empty() ? 1.0f : row_scale_[r];
    for (int64_t s = 0; s < row.size; ++s) f(row.ids[s], (row.values ? row.values[s] : 1.0f) * scale);
  }

  void by_column(const int32_t* field_of, int n_fields) {
    std::vector<int64_t> count(linear_.size() + 1, 0);
    for (int64_t e = 0; e < rows_.n_entries; ++e) ++count[rows_.ids[e]];
    std::vector<std::vector<int32_t>> features(static_cast<size_t>(n_fields));
    for (size_t i = 0; i < linear_.size(); ++i)
      if (count[i] > 0) features[std::clamp(field_of[i], 0, n_fields - 1)].push_back(static_cast<int32_t>(i));
    std::vector<int64_t> place(linear_.size(), 0);
    std::vector<int32_t> group(linear_.size(), 0);
    int64_t at = 0;
    for (const std::vector<int32_t>& of_field : features) {
      if (of_field.empty()) continue;
      const int64_t first = static_cast<int64_t>(columns_.size());
      for (const int32_t i : of_field) {
        place[i] = at;
        group[i] = static_cast<int32_t>(fields_.size());
        columns_.push_back({i, at, at + count[i]});
        at += count[i];
      }
      fields_.push_back({first, static_cast<int64_t>(columns_.size()), true});
    }
    entries_.resize(static_cast<size_t>(at));
    std::vector<int64_t> last_row(fields_.size(), -1);
    for (int64_t r = 0; r < rows_.n_rows; ++r)
      for_entries(r, [&](int32_t id, float x) {
        entries_[place[id]++] = {static_cast<int32_t>(r), x};
        int64_t& last = last_row[group[id]];
        if (last == r) fields_[group[id]].disjoint = false;
        last = r;
      });
  }

  template <class F>
  void for_rows(const Team& team, F&& f) {
    const int64_t n = rows_.n_rows;
    for (int64_t r = n * team.t / team.n; r < n * (team.t + 1) / team.n; ++r) f(r);
    team.meet();
  }

  void refresh_residuals(const Team& team) {
    for_rows(team, [&](int64_t r) {
      float logit = bias_;
      for_entries(r, [&](int32_t id, float x) { logit += linear_[id] * x; });
      residuals_[r] = rows_.y[r] - logit;
    });
    for (int k = 0; k < n_factors_; ++k) {
      const float* factors = factors_.data() + static_cast<size_t>(k) * linear_.size();
      for_rows(team, [&](int64_t r) {
        float sum = 0, squares = 0;
        for_entries(r, [&](int32_t id, float x) {
          const float vx = factors[id] * x;
          sum += vx;
          squares += vx * vx;
        });
        residuals_[r] -= 0.5f * (sum * sum - squares);
      });
    }
  }

  // Σ weight · f(row); by one thread, the same whatever their number.
  template <class F>
  double weighted_sum(F&& f) const {
    double sum = 0;
    for (int64_t r = 0; r < rows_.n_rows; ++r) sum += rows_.row_weight(r) * f(r);
    return sum;
  }
  double total_weight() const {
    return weighted_sum([](int64_t) { return 1.0; });
  }

  void draw_bias(const Random& random) {
    const double precision = precision_ * total_weight() + 1e-6;
    const double mean = precision_ * weighted_sum([&](int64_t r) { return double(residuals_[r]) + bias_; }) / precision;
    const float drawn = static_cast<float>(mean + random.normal(0) / std::sqrt(precision));
    bias_change_ = drawn - bias_;
    bias_ = drawn;
  }

  // The prior of a field's parameters, given them: normal-gamma with mean 0, of one observation's worth each.
  Prior draw_prior(const Field& field, const float* parameters, const Random& random) const {
    const double n = static_cast<double>(field.end - field.begin);
    double sum = 0, squares = 0;
    for (int64_t c = field.begin; c < field.end; ++c) {
      const double value = parameters[columns_[c].feature];
      sum += value;
      squares += value * value;
    }
    const double rate = 0.5 * (1 + std::max(squares - sum * sum / (n + 1), 0.0));
    const double precision = gamma(random, 16, 0.5 * (1 + n)) / rate;
    return {sum / (n + 1) + random.normal(0) / std::sqrt((n + 1) * precision), precision};
  }

  // Draws the prior of a field and then its parameters. derivative(entry, θ): of the logit by θ; changed(entry, Δθ).
  template <class Derivative, class Changed>
  void draw_field(const Team& team, size_t f, float* parameters, uint64_t seed, uint64_t number,
                  Derivative&& derivative, Changed&& changed) {
    const Field& field = fields_[f];
    const Random random(seed, number);
    if (team.t == 0) {
      prior_ = draw_prior(field, parameters, Random(seed, number | (uint64_t{1} << 63)));
      team.next = field.begin;
    }
    team.meet();
    const double alpha = precision_;
    const Prior prior = prior_;
    const auto draw = [&](int64_t c) {
      const Column& column = columns_[c];
      float& parameter = parameters[column.feature];
      double squares = 0, product = 0;
      for (int64_t e = column.begin; e < column.end; ++e) {
        const Entry& entry = entries_[e];
        const float h = derivative(entry, parameter), weight = rows_.row_weight(entry.row);
        squares += weight * h * h;
        product += weight * h * residuals_[entry.row];
      }
      const double precision = prior.precision + alpha * squares;
      const double mean = (prior.precision * prior.mean + alpha * (product + squares * parameter)) / precision;
      const float drawn =
          static_cast<float>(mean + random.normal(static_cast<uint64_t>(column.feature)) / std::sqrt(precision));
      const float change = drawn - parameter;
      for (int64_t e = column.begin; e < column.end; ++e) {
        const Entry& entry = entries_[e];
        residuals_[entry.row] -= change * derivative(entry, parameter);
        changed(entry, change);
      }
      parameter = drawn;
    };
    if (field.disjoint) {
      for (int64_t c; (c = team.next.fetch_add(kColumns)) < field.end;)
        for (int64_t i = c; i < std::min(c + kColumns, field.end); ++i) draw(i);
    } else if (team.t == 0) {
      for (int64_t c = field.begin; c < field.end; ++c) draw(c);
    }
    team.meet();
  }

  // Γ(shape, 1) for shape ≥ 1, from the numbers `first` … of a stream (Marsaglia and Tsang, "A simple method for
  // generating gamma variables", 2000).
  static double gamma(const Random& random, uint64_t first, double shape) {
    const double d = shape - 1.0 / 3.0, c = 1.0 / std::sqrt(9.0 * d);
    for (uint64_t i = first;; i += 2) {
      const double x = random.normal(i), v = std::pow(1.0 + c * x, 3);
      if (v <= 0) continue;
      const double u = std::max(random.uniform(i + 1), 0x1p-25f);
      if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

  const Rows rows_;
  const int n_factors_;
  LazyPool pool_;
  std::vector<float> linear_, factors_, residuals_, sums_, row_scale_;
  std::vector<Entry> entries_;
  std::vector<Column> columns_;
  std::vector<Field> fields_;
  Prior prior_;           // of the field that is drawn
  double precision_ = 1;  // α
  float bias_ = 0, bias_change_ = 0;
};

}  // namespace anyfm

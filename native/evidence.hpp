// L2 penalties learnt from the data: each field's weights have a normal prior whose precision λ is re-estimated before
// every epoch, by one step of expectation-maximisation (MacKay, "Bayesian interpolation", 1992; the classic evidence
// approximation, with Adagrad's sums of squared gradients as the diagonal of the Fisher information).
//
//   λ_field = (n + c) / (Σ_j E[θ_j²] + c / λ_0),   E[θ_j²] = θ_j² + 1 / (λ_field + H_j / σ⁴)
//
// n counts the field's trained features, H_j is what the epoch added to the accumulator, σ² the noise of the target in
// the loss's units (1 for logloss, the mean squared error for squared loss), λ_0 the prior guess, worth c features.
// Of factors, which pairs couple and the diagonal does not know, λ comes out somewhat too high; a share of it is taken.
// The penalty of one occurrence is σ² λ_field / count_j, so that an epoch penalises every feature once, however
// frequent it is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "adagrad.hpp"
#include "pool.hpp"
#include "table.hpp"

namespace anyfm {

// The columns of a record that share one penalty.
struct PenaltyGroup {
  int64_t first, n;                     // the weights
  int64_t accumulator, n_accumulators;  // their accumulators
  int64_t penalty;                      // the penalty of one occurrence
  int64_t previous;                     // the mean accumulator when the penalty was last estimated
};

// What a group's penalties come from.
struct Prior {
  std::vector<double> precision;  // λ of each field
  double guess;                   // λ_0
  double strength;                // c; infinite where λ is fixed
  double lowest, highest;         // the bounds of λ
  double share = 1;               // what part of the estimate is taken
};

namespace detail {

inline double mean(const float* from, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += from[i];
  return total / static_cast<double>(n);
}

inline double mean_square(const float* from, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < n; ++i) total += static_cast<double>(from[i]) * from[i];
  return total / static_cast<double>(n);
}

// Runs f(chunk, begin, end) over a fixed number of chunks, so that sums taken by chunk do not depend on the threads.
constexpr int kChunks = 64;
template <class F>
void for_chunks(int64_t n, Pool& pool, F&& f) {
  pool.run([&](int t) {
    for (int chunk = t; chunk < kChunks; chunk += pool.size()) f(chunk, n * chunk / kChunks, n * (chunk + 1) / kChunks);
  });
}

}  // namespace detail

// Sets every feature's penalties from its field's λ, and remembers the accumulators as they are.
inline void set_penalties(Table& table, const std::vector<PenaltyGroup>& groups, int64_t count_column,
                          const int32_t* field_of, const std::vector<Prior>& priors, double noise, Pool& pool) {
  detail::for_chunks(table.n_records(), pool, [&](int, int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      float* record = table[j];
      const double scale = noise / std::max(1.0f, record[count_column]);
      for (size_t g = 0; g < groups.size(); ++g) {
        const PenaltyGroup& group = groups[g];
        record[group.penalty] = static_cast<float>(scale * priors[g].precision[field_of[j]]);
        record[group.previous] = static_cast<float>(detail::mean(record + group.accumulator, group.n_accumulators));
      }
    }
  });
}

// One step of the estimate: replaces λ of every field in every group that is not fixed.
inline void estimate_priors(const Table& table, const std::vector<PenaltyGroup>& groups, int64_t count_column,
                            const int32_t* field_of, std::vector<Prior>& priors, double noise, const Adagrad& adagrad,
                            Pool& pool) {
  const size_t n_fields = priors[0].precision.size(), n_groups = groups.size();
  const double information = 1 / (noise * noise);
  std::vector<double> moments(n_fields * n_groups * detail::kChunks), counts(n_fields * detail::kChunks);
  detail::for_chunks(table.n_records(), pool, [&](int chunk, int64_t begin, int64_t end) {
    double* moment = moments.data() + chunk * n_groups * n_fields;
    double* count = counts.data() + chunk * n_fields;
    for (int64_t j = begin; j < end; ++j) {
      const float* record = table[j];
      if (!(record[count_column] > 0)) continue;
      const size_t field = field_of[j];
      count[field] += 1;
      const double crowd = adagrad.crowd(record[count_column]);
      for (size_t g = 0; g < n_groups; ++g) {
        const PenaltyGroup& group = groups[g];
        const double grown = detail::mean(record + group.accumulator, group.n_accumulators) - record[group.previous];
        moment[g * n_fields + field] += detail::mean_square(record + group.first, group.n) +
                                        1 / (priors[g].precision[field] + information * std::max(0.0, grown) / crowd);
      }
    }
  });
  for (size_t g = 0; g < n_groups; ++g) {
    Prior& prior = priors[g];
    if (std::isinf(prior.strength)) continue;
    for (size_t field = 0; field < n_fields; ++field) {
      double moment = prior.strength / prior.guess, count = prior.strength;
      for (int chunk = 0; chunk < detail::kChunks; ++chunk) {
        moment += moments[(chunk * n_groups + g) * n_fields + field];
        count += counts[chunk * n_fields + field];
      }
      prior.precision[field] = std::min(prior.highest, std::max(prior.lowest, prior.share * count / moment));
    }
  }
}

}  // namespace anyfm

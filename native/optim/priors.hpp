// L2 penalties learned from the data: the vectors of each field have a normal prior whose precision λ is re-estimated
// before every epoch, by one step of expectation-maximization (MacKay, "Bayesian interpolation", 1992; the classic
// evidence approximation, with Adagrad's sums of squared gradients as the diagonal of the Fisher information).
//
//   λ_field = (n + c) / (Σ_j E[θ_j²] + c / λ_0),   E[θ_j²] = θ_j² + 1 / (λ_field + H_j / σ⁴)
//
// n counts the field's trained features, H_j is what the epoch added to the accumulator, σ² the dispersion of the
// target in the loss's units (1 for logloss, the mean squared error for squared loss), λ_0 the expected precision,
// worth c features. Of factors, which pairs couple and the diagonal does not know, λ comes out somewhat too high; a
// fraction of it is taken. The penalty of one occurrence is σ² λ_field / count_j, so that an epoch penalizes every
// feature once, however frequent it is.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/pool.hpp"
#include "base/table.hpp"
#include "optim/adagrad.hpp"

namespace anyfm {

// The prior of one vector of every feature.
struct Prior {
  std::vector<double> precision;  // λ of each field
  double expected;                // λ_0
  double strength;                // c; infinite where λ is fixed
  double lower, upper;            // the bounds of λ
  double fraction = 1;            // of the estimate that is taken

  bool is_fixed() const { return std::isinf(strength); }
  // λ of a field from what each chunk found of it: the sum of E[θ²] over its features, and their number. Chunks are so
  // many numbers apart.
  double estimate(const double* moments, size_t moment_stride, const double* counts, size_t count_stride) const {
    double moment = strength / expected, count = strength;
    for (size_t chunk = 0; chunk < kChunks; ++chunk) {
      moment += moments[chunk * moment_stride];
      count += counts[chunk * count_stride];
    }
    return std::min(upper, std::max(lower, fraction * count / moment));
  }
};

// How `set_priors` goes about it.
struct PriorUpdate {
  const int32_t* field_of;  // by feature
  double dispersion;        // σ²
  float crowding;           // as Adagrad has it
  bool estimate;            // replaces λ of the priors that are not fixed, before the penalties are set
  int n_epochs;             // over which accumulators grew, for models that do not note them before each epoch
};

// The columns of a record that hold one vector, its accumulator, its penalty for one occurrence, and the accumulator
// when that penalty was last set.
struct VectorColumns {
  int64_t first, length, accumulator, penalty, previous;
};

// Sets every feature's penalties from its field's λ, and notes the accumulators as they are. One prior a vector.
inline void set_penalties(Table& table, const std::vector<VectorColumns>& vectors, int64_t count_column,
                          const std::vector<Prior>& priors, const PriorUpdate& update, Pool& pool) {
  for_chunks(table.n_records(), pool, [&](int, int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end; ++j) {
      float* record = table[j];
      const double scale = update.dispersion / std::max(1.0f, record[count_column]);
      for (size_t v = 0; v < vectors.size(); ++v) {
        record[vectors[v].penalty] = static_cast<float>(scale * priors[v].precision[update.field_of[j]]);
        record[vectors[v].previous] = record[vectors[v].accumulator];
      }
    }
  });
}

// One step of the estimate: replaces λ of every field in every prior that is not fixed.
inline void estimate_priors(const Table& table, const std::vector<VectorColumns>& vectors, int64_t count_column,
                            std::vector<Prior>& priors, const PriorUpdate& update, Pool& pool) {
  const size_t n_fields = priors[0].precision.size(), n_vectors = vectors.size();
  const double information = 1 / (update.dispersion * update.dispersion);
  const Adagrad adagrad{0, update.crowding};
  std::vector<double> moments(n_fields * n_vectors * kChunks), counts(n_fields * kChunks);
  for_chunks(table.n_records(), pool, [&](int chunk, int64_t begin, int64_t end) {
    double* moment = moments.data() + chunk * n_vectors * n_fields;
    double* count = counts.data() + chunk * n_fields;
    for (int64_t j = begin; j < end; ++j) {
      const float* record = table[j];
      if (!(record[count_column] > 0)) continue;
      const size_t field = update.field_of[j];
      count[field] += 1;
      const double crowd = adagrad.crowd(record[count_column]);
      for (size_t v = 0; v < n_vectors; ++v) {
        const VectorColumns& columns = vectors[v];
        double squares = 0;
        for (int64_t i = 0; i < columns.length; ++i)
          squares += static_cast<double>(record[columns.first + i]) * record[columns.first + i];
        const double grown = double{record[columns.accumulator]} - record[columns.previous];
        moment[v * n_fields + field] += squares / static_cast<double>(columns.length) +
                                        1 / (priors[v].precision[field] + information * std::max(0.0, grown) / crowd);
      }
    }
  });
  for (size_t v = 0; v < n_vectors; ++v) {
    if (priors[v].is_fixed()) continue;
    for (size_t field = 0; field < n_fields; ++field)
      priors[v].precision[field] = priors[v].estimate(moments.data() + v * n_fields + field, n_vectors * n_fields,
                                                      counts.data() + field, n_fields);
  }
}

}  // namespace anyfm

// The options of the field-aware model, and where the vectors of a feature lie, which follows from them.
#pragma once

#include <cstdint>

#include "models/ffm_field_groups.hpp"

namespace anyfm {

struct FfmOptions {
  int n_fields, n_factors;
  bool normalize;
  bool linear;  // bias and linear terms
  bool libffm;  // the rule of libffm: one accumulator per coordinate, the penalty a part of the gradient
};

// Where the vectors of a feature toward one group of fields lie, with their accumulators: its section.
//
// Sections toward one group lie side by side in a table of their own, [planes of the vectors | accumulators], so that
// what two threads train is never neighbors in memory: the processor fetches neighboring lines unasked, and takes
// them from the core that is about to write them. The last section is followed by the linear columns.
struct FfmSection {
  int64_t plane;         // floats from one plane of vectors to the next
  int64_t weights;       // floats of all planes
  int64_t accumulators;  // floats of the accumulators behind them
  int64_t stride;        // floats from one feature to the next
};

inline FfmSection ffm_section(const FfmOptions& options, int group, bool training) {
  const FieldGroups groups(options.n_fields);
  const int64_t n_fields = groups.padded_end(group) - groups.begin(group);
  const int64_t weights = n_fields * ((options.n_factors + 3) / 4 * 4);
  const int64_t accumulators = !training ? 0 : options.libffm ? weights : n_fields;
  const int64_t linear = group < groups.n_groups() - 1 ? 0 : training ? 5 : 1;
  return {4 * n_fields, weights, accumulators, (weights + accumulators + linear + 15) / 16 * 16};
}

// Floats of all that belongs to one feature.
inline int64_t ffm_floats(const FfmOptions& options, bool training) {
  const int last = FieldGroups(options.n_fields).n_groups() - 1;
  return last * ffm_section(options, 0, training).stride + ffm_section(options, last, training).stride;
}

}  // namespace anyfm

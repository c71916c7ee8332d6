// The settings of the field-aware model that its kernel needs, and the size of a record that follows from them.
#pragma once

#include <cstdint>

#include "field_groups.hpp"
#include "random.hpp"

namespace anyfm {

struct FfmOptions {
  int n_fields, n_factors;
  bool normalize;
  bool linear;       // bias and linear terms
  bool coordinates;  // one accumulator per coordinate, as libffm
};

// Where the vectors of a feature toward one group of fields lie, with their accumulators: its section.
//
// Sections toward one group lie side by side in a table of their own, [planes of the vectors | accumulators], so that
// what two threads train is never neighbours in memory: the processor fetches neighbouring lines unasked, and takes
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
  const int64_t accumulators = !training ? 0 : options.coordinates ? weights : n_fields;
  const int64_t linear = group < groups.n_groups() - 1 ? 0 : training ? 5 : 1;
  return {4 * n_fields, weights, accumulators, (weights + accumulators + linear + 15) / 16 * 16};
}

// How the vectors start: evenly drawn from low … low + width, or at zero.
struct FfmStart {
  Random random;
  float low, width;
  float accumulator;
  const bool* drawn;        // by feature; false: its vectors are zero
  const int32_t* field_of;  // by feature
  bool without_own;         // whether the vector toward the feature's own field is zero too
};

// Floats of all that belongs to one feature.
inline int64_t ffm_floats(const FfmOptions& options, bool training) {
  const int last = FieldGroups(options.n_fields).n_groups() - 1;
  return last * ffm_section(options, 0, training).stride + ffm_section(options, last, training).stride;
}

}  // namespace anyfm

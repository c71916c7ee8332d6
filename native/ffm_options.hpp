// The settings of the field-aware model that its kernel needs, and the size of a record that follows from them.
#pragma once

#include <cstdint>

#include "field_groups.hpp"

namespace anyfm {

struct FfmOptions {
  int n_fields, n_factors;
  bool normalize;
  bool linear;       // bias and linear terms
  bool coordinates;  // one accumulator per coordinate, as libffm
};

// Floats of one record.
inline int64_t ffm_stride(const FfmOptions& options, bool training) {
  const int64_t padded = FieldGroups(options.n_fields).padded();
  const int64_t weights = padded * ((options.n_factors + 3) / 4 * 4);
  const int64_t rest = training ? (options.coordinates ? weights : padded) + 5 : 1;
  return (weights + rest + 15) / 16 * 16;
}

}  // namespace anyfm

#pragma once

#include "base/rows.hpp"
#include "bindings/arrays.hpp"
#include "training/ownership.hpp"

namespace anyfm {

// A view of the arrays of rows. Throws std::invalid_argument where their sizes do not fit together.
Rows view_rows(const In<int32_t>& ids, int64_t n_rows, const MaybeIn<int64_t>& offsets, const MaybeIn<float>& values,
               const MaybeIn<int32_t>& fields, const MaybeIn<float>& y, const MaybeIn<float>& weight);

// Rows that were checked against a number of features, with the arrays they view kept alive by Python's side.
struct BoundRows {
  Rows rows;
  int64_t n_features;
  int n_fields;
  int n_owners;
  Ownership owners;
};

}  // namespace anyfm

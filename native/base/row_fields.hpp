// What models that look at fields must know of the fields of rows.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <vector>

#include "base/rows.hpp"

namespace anyfm {

// Throws unless every entry stands in a field from 0 to n_fields − 1.
inline void check_fields(const Rows& rows, int n_fields) {
  const int64_t n = rows.offsets ? rows.n_entries : rows.n_slots;
  if (!rows.fields && (rows.offsets || n > n_fields))
    throw std::domain_error("rows of a field-aware model must name the field of each entry");
  for (int64_t e = 0; rows.fields && e < n; ++e)
    if (rows.fields[e] < 0 || rows.fields[e] >= n_fields) throw std::domain_error("field out of bounds");
}

// Whether no feature stands in two fields.
inline bool one_field_each(const Rows& rows, int64_t n_features) {
  std::vector<int32_t> field_of(static_cast<size_t>(n_features), -1);
  for (int64_t i = 0; i < rows.n_rows; ++i) {
    const Row row = rows[i];
    for (int64_t s = 0; s < row.size; ++s) {
      int32_t& known = field_of[row.ids[s]];
      const int32_t field = row.fields ? row.fields[s] : static_cast<int32_t>(s);
      if (known >= 0 && known != field) return false;
      known = field;
    }
  }
  return true;
}

// The slot of each field where every row holds one feature of every field; empty elsewhere.
inline std::vector<int32_t> slots_by_field(const Rows& rows, int n_fields) {
  if (rows.offsets || rows.n_slots != n_fields) return {};
  std::vector<int32_t> slots(n_fields, -1);
  for (int s = 0; s < n_fields; ++s) {
    int32_t& slot = slots[rows.fields ? rows.fields[s] : s];
    if (slot >= 0) return {};
    slot = s;
  }
  return slots;
}

}  // namespace anyfm

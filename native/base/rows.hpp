// A view of encoded rows: fixed width or ragged, with or without values. Owns nothing.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace anyfm {

struct Row {
  const int32_t* ids;
  const float* values;    // nullptr: all ones
  const int32_t* fields;  // nullptr: slot s is field s
  int64_t size;
};

struct Rows {
  const int32_t* ids = nullptr;
  const int64_t* offsets = nullptr;  // ragged rows; nullptr: every row has n_slots entries
  const float* values = nullptr;
  const int32_t* fields = nullptr;  // fixed width: one per slot; ragged: one per entry
  const float* y = nullptr;
  const float* weight = nullptr;
  int64_t n_rows = 0;
  int64_t n_slots = 0;
  int64_t n_entries = 0;
  bool one_field_each = true;  // no feature stands in two fields; known for rows bound for a field-aware model

  int64_t begin(int64_t i) const { return offsets ? offsets[i] : i * n_slots; }

  Row operator[](int64_t i) const {
    const int64_t first = begin(i);
    const int64_t size = offsets ? offsets[i + 1] - first : n_slots;
    return {ids + first, values ? values + first : nullptr, fields ? (offsets ? fields + first : fields) : nullptr,
            size};
  }
  float row_weight(int64_t i) const { return weight ? weight[i] : 1.0f; }
};

inline int64_t longest_row(const Rows& rows, int64_t begin, int64_t end) {
  if (!rows.offsets) return rows.n_slots;
  int64_t longest = 0;
  for (int64_t i = begin; i < end; ++i) longest = std::max(longest, rows[i].size);
  return longest;
}

// 1 / ‖x‖ of a row; 1 for a row of zeros.
inline float inverse_norm(const Row& row) {
  if (!row.values) return row.size ? 1.0f / std::sqrt(static_cast<float>(row.size)) : 1.0f;
  float squares = 0;
  for (int64_t s = 0; s < row.size; ++s) squares += row.values[s] * row.values[s];
  return squares > 0 ? 1.0f / std::sqrt(squares) : 1.0f;
}

}  // namespace anyfm

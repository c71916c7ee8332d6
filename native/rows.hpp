// A view of encoded rows: fixed width or ragged, with or without values. Owns nothing.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

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

// Who updates which feature. Every parameter has one owner, which walks the rows of a block in order, so that the
// result does not depend on the number of threads. Where the slots of fixed-width rows hold disjoint ranges of ids,
// an owner has whole slots; otherwise it has a range of ids.
class Ownership {
 public:
  Ownership(const Rows& rows, int n_owners) : n_owners_(n_owners), by_slot_(n_owners == 1 || slots_disjoint(rows)) {
    if (!by_slot_) cut_ids(rows);
  }

  bool by_slot() const { return by_slot_; }

  // Calls f(s) for each slot s of the row whose feature `owner` owns, in order.
  template <class F>
  void for_each(const Row& row, int owner, F&& f) const {
    if (by_slot_) {
      const int64_t stop = row.size * (owner + 1) / n_owners_;
      for (int64_t s = row.size * owner / n_owners_; s < stop; ++s) f(s);
    } else {
      const int64_t low = cuts_[owner], high = cuts_[owner + 1];
      for (int64_t s = 0; s < row.size; ++s)
        if (row.ids[s] >= low && row.ids[s] < high) f(s);
    }
  }

 private:
  static bool slots_disjoint(const Rows& rows) {
    if (rows.offsets || rows.n_rows == 0) return false;
    std::vector<int32_t> low(rows.ids, rows.ids + rows.n_slots), high(low);
    for (int64_t i = 1; i < rows.n_rows; ++i) {
      const int32_t* ids = rows.ids + i * rows.n_slots;
      for (int64_t s = 0; s < rows.n_slots; ++s) {
        low[s] = std::min(low[s], ids[s]);
        high[s] = std::max(high[s], ids[s]);
      }
    }
    std::vector<int64_t> by_low(rows.n_slots);
    for (int64_t s = 0; s < rows.n_slots; ++s) by_low[s] = s;
    std::sort(by_low.begin(), by_low.end(), [&](int64_t a, int64_t b) { return low[a] < low[b]; });
    for (int64_t s = 1; s < rows.n_slots; ++s)
      if (low[by_low[s]] <= high[by_low[s - 1]]) return false;
    return true;
  }

  // Cut the ids so that every owner has about the same number of entries, judged by a sample.
  void cut_ids(const Rows& rows) {
    const int64_t stride = std::max<int64_t>(1, rows.n_entries / 65536);
    std::vector<int32_t> sample;
    for (int64_t e = 0; e < rows.n_entries; e += stride) sample.push_back(rows.ids[e]);
    std::sort(sample.begin(), sample.end());
    cuts_.assign(1, INT64_MIN);
    for (int t = 1; t < n_owners_; ++t)
      cuts_.push_back(sample.empty() ? 0 : sample[sample.size() * static_cast<size_t>(t) / n_owners_]);
    cuts_.push_back(INT64_MAX);
  }

  int n_owners_;
  bool by_slot_;
  std::vector<int64_t> cuts_;
};

}  // namespace anyfm

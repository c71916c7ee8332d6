// Which thread trains which feature.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/rows.hpp"

namespace anyfm {

// The entries of every row are cut into kParts parts, in the same way whatever the number of
// threads, and each part has one owner. Where the slots of fixed-width rows hold disjoint ranges of ids, a part is a
// run of slots; otherwise it is a range of ids.
constexpr int kParts = 8;

class Ownership {
 public:
  Ownership(const Rows& rows, int n_owners) : n_owners_(n_owners), by_slot_(slots_disjoint(rows)) {
    if (!by_slot_) cut_ids(rows);
  }

  bool by_slot() const { return by_slot_; }
  int first_part(int owner) const { return kParts * owner / n_owners_; }
  int first_slot(const Row& row, int part) const { return static_cast<int>(row.size * part / kParts); }

  // The part of an entry, where parts are ranges of ids.
  int part_of(int32_t id) const {
    int part = 0;
    for (int p = 1; p < kParts; ++p) part += id >= cuts_[p];
    return part;
  }

  // Calls f(s) for each entry s of the row that `owner` owns, in order.
  template <class F>
  void for_each(const Row& row, int owner, F&& f) const {
    const int begin = first_part(owner), end = first_part(owner + 1);
    if (by_slot_) {
      const int stop = first_slot(row, end);
      for (int s = first_slot(row, begin); s < stop; ++s) f(s);
    } else {
      const int64_t low = cuts_[begin], high = cuts_[end];
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

  // Cut the ids so that every part has about the same number of entries, judged by a sample.
  void cut_ids(const Rows& rows) {
    const int64_t stride = std::max<int64_t>(1, rows.n_entries / 65536);
    std::vector<int32_t> sample;
    for (int64_t e = 0; e < rows.n_entries; e += stride) sample.push_back(rows.ids[e]);
    std::sort(sample.begin(), sample.end());
    cuts_[0] = INT64_MIN;
    for (size_t p = 1; p < kParts; ++p) cuts_[p] = sample.empty() ? 0 : sample[sample.size() * p / kParts];
    cuts_[kParts] = INT64_MAX;
  }

  int n_owners_;
  bool by_slot_;
  int64_t cuts_[kParts + 1] = {};
};

}  // namespace anyfm

// Pairs of fields, cut into units that threads share.
//
// Fields are cut into groups of 4, 8 or 16, and a unit is a pair of groups. The vector of a feature toward a field is
// used by the pairs of one unit only, in the forward half as well as in the update, so a thread that owns a unit is
// the only one ever to touch its parameters: no cache line travels between cores, and a barrier a block is enough. The
// units depend on the number of fields alone, so that sums taken unit by unit do not depend on the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace anyfm {

class FieldGroups {
 public:
  struct Unit {
    int a, b;  // groups, a ≤ b
  };

  explicit FieldGroups(int n_fields)
      : n_fields_(n_fields),
        padded_((n_fields + 3) / 4 * 4),
        width_(n_fields > 32   ? 16
               : n_fields > 16 ? 8
                               : 4),
        n_groups_((n_fields + width_ - 1) / width_) {
    for (int a = 0; a < n_groups_; ++a)
      for (int b = a; b < n_groups_; ++b) units_.push_back({a, b});
  }

  int n_fields() const { return n_fields_; }
  int padded() const { return padded_; }
  int width() const { return width_; }
  int n_groups() const { return n_groups_; }
  int begin(int group) const { return group * width_; }
  int end(int group) const { return std::min(n_fields_, (group + 1) * width_); }
  int padded_end(int group) const { return std::min(padded_, (group + 1) * width_); }
  const std::vector<Unit>& units() const { return units_; }

  // The linear terms of group a go with its last unit, whose accumulators share their cache line.
  bool has_linear(Unit unit) const { return unit.b == n_groups_ - 1; }

  // Units for each thread, the largest first to whom has least.
  std::vector<std::vector<int>> share(int n_threads) const {
    std::vector<std::vector<int>> shares(n_threads);
    std::vector<int64_t> load(n_threads, 0);
    std::vector<int> order(units_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return work(units_[x]) > work(units_[y]); });
    for (int unit : order) {
      const auto least = std::min_element(load.begin(), load.end()) - load.begin();
      load[least] += work(units_[unit]);
      shares[least].push_back(unit);
    }
    for (std::vector<int>& mine : shares) std::sort(mine.begin(), mine.end());
    return shares;
  }

 private:
  // Vectors that a unit steps.
  int64_t work(Unit unit) const {
    const int64_t a = padded_end(unit.a) - begin(unit.a), b = padded_end(unit.b) - begin(unit.b);
    return unit.a == unit.b ? a * b : 2 * a * b;
  }

  int n_fields_, padded_, width_, n_groups_;
  std::vector<Unit> units_;
};

}  // namespace anyfm

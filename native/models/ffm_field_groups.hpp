// Groups of fields, whose pairs are what threads share.
//
// Fields are cut into groups of 4, 8 or 16. The vector of a feature toward a field is used by one pair of groups only,
// forward as well as in the update, so a thread that owns a pair of groups is the only one ever to touch its
// parameters: no cache line travels between cores, and a barrier a block is enough. The pairs of groups depend on the
// number of fields alone, so that sums taken by them do not depend on the threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace anyfm {

class FieldGroups {
 public:
  struct Pair {
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
      for (int b = a; b < n_groups_; ++b) pairs_.push_back({a, b});
  }

  int n_fields() const { return n_fields_; }
  int padded() const { return padded_; }
  int width() const { return width_; }
  int n_groups() const { return n_groups_; }
  int begin(int group) const { return group * width_; }
  int end(int group) const { return std::min(n_fields_, (group + 1) * width_); }
  int padded_end(int group) const { return std::min(padded_, (group + 1) * width_); }
  const std::vector<Pair>& pairs() const { return pairs_; }

  // The linear terms of group a go with its last pair, whose accumulators share their cache line.
  bool has_linear(Pair pair) const { return pair.b == n_groups_ - 1; }

  // The pairs of each thread: the largest come first, each to the thread with the least work.
  std::vector<std::vector<int>> by_thread(int n_threads) const {
    std::vector<std::vector<int>> threads(n_threads);
    std::vector<int64_t> load(n_threads, 0);
    std::vector<int> order(pairs_.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return work(pairs_[x]) > work(pairs_[y]); });
    for (int pair : order) {
      const auto least = std::min_element(load.begin(), load.end()) - load.begin();
      load[least] += work(pairs_[pair]);
      threads[least].push_back(pair);
    }
    for (std::vector<int>& one : threads) std::sort(one.begin(), one.end());
    return threads;
  }

 private:
  // Vectors that a pair steps.
  int64_t work(Pair pair) const {
    const int64_t a = padded_end(pair.a) - begin(pair.a), b = padded_end(pair.b) - begin(pair.b);
    return pair.a == pair.b ? a * b : 2 * a * b;
  }

  int n_fields_, padded_, width_, n_groups_;
  std::vector<Pair> pairs_;
};

}  // namespace anyfm

// The best items by an inner product: for each query q, the positions of all items whose score ⟨q, item⟩ is at least
// the k-th best score minus a margin. One pass over the items; scores are not stored.
//
// Items lie in blocks of kItems: (block, dimension, kItems), so that one register holds the same dimension of several
// items, and no lane is ever added to another. Those of the last block that are no items are zero.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <thread>
#include <vector>

#include "base/simd.hpp"

namespace anyfm {

constexpr int kItems = 16;   // of a block
constexpr int kQueries = 4;  // that share a pass over the items

struct ItemBlocks {
  const float* data;
  int64_t n_items, n_dimensions;
};

// The candidates of one query so far. Those below the k-th best minus the margin are dropped whenever the list is long.
class Candidates {
 public:
  // skip: positions, ascending, of items that are left out.
  Candidates(int64_t k, float margin, const int32_t* skip, const int32_t* skip_end)
      : k_(k), limit_(2 * k + 1024), margin_(margin), skip_(skip), skip_end_(skip_end) {}

  float floor() const { return floor_; }
  void add(float score, int32_t position) {
    if (std::binary_search(skip_, skip_end_, position)) return;
    list_.push_back({score, position});
    if (static_cast<int64_t>(list_.size()) < limit_) return;
    drop();
    limit_ = 2 * std::max<int64_t>(k_, static_cast<int64_t>(list_.size())) + 1024;
  }
  std::vector<int32_t> positions() {
    drop();
    std::vector<int32_t> all;
    for (const Candidate& one : list_) all.push_back(one.position);
    std::sort(all.begin(), all.end());
    return all;
  }

 private:
  struct Candidate {
    float score;
    int32_t position;
  };

  void drop() {
    if (static_cast<int64_t>(list_.size()) <= k_) return;
    const auto kth = list_.begin() + (k_ - 1);
    std::nth_element(list_.begin(), kth, list_.end(), [](Candidate a, Candidate b) { return a.score > b.score; });
    floor_ = kth->score - margin_;
    list_.erase(std::remove_if(kth, list_.end(), [&](Candidate one) { return !(one.score >= floor_); }), list_.end());
  }

  int64_t k_, limit_;
  float margin_, floor_ = -std::numeric_limits<float>::infinity();
  const int32_t *skip_, *skip_end_;
  std::vector<Candidate> list_;
};

// Offers all items to Q queries, q (Q, n_dimensions).
template <int Q>
void offer_items(const ItemBlocks& items, const float* q, Candidates* candidates) {
  using V = Vec<kItems>;
  const int64_t n = items.n_dimensions;
  for (int64_t first = 0; first < items.n_items; first += kItems) {
    const float* block = items.data + first * n;
    V total[Q];
    ANYFM_UNROLL for (V& t : total) t = V::splat(0);
    for (int64_t d = 0; d < n; ++d) {
      const V item = V::load(block + d * kItems);
      ANYFM_UNROLL for (int j = 0; j < Q; ++j) total[j] = total[j] + item * V::splat(q[j * n + d]);
    }
    const int present = static_cast<int>(std::min<int64_t>(kItems, items.n_items - first));
    for (int j = 0; j < Q; ++j) {
      float scores[kItems];
      total[j].store(scores);
      const float floor = candidates[j].floor();
      int any = 0;
      for (int i = 0; i < kItems; ++i) any |= scores[i] >= floor;
      for (int i = 0; any && i < present; ++i)
        if (scores[i] >= floor) candidates[j].add(scores[i], static_cast<int32_t>(first + i));
    }
  }
}

// The positions for each of n_queries queries (n_queries, n_dimensions), ascending. Query j leaves out the positions
// skip[skip_offsets[j]] … skip[skip_offsets[j + 1] − 1], ascending.
inline std::vector<std::vector<int32_t>> shortlists(const ItemBlocks& items, const float* queries, int64_t n_queries,
                                                    const float* margins, int64_t k, const int64_t* skip_offsets,
                                                    const int32_t* skip, int n_threads) {
  std::vector<std::vector<int32_t>> found(static_cast<size_t>(n_queries));
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t j = begin; j < end;) {
      const int64_t n = end - j >= kQueries ? kQueries : 1;
      std::vector<Candidates> candidates;
      for (int64_t i = j; i < j + n; ++i)
        candidates.emplace_back(k, margins[i], skip + skip_offsets[i], skip + skip_offsets[i + 1]);
      const float* q = queries + j * items.n_dimensions;
      n == kQueries ? offer_items<kQueries>(items, q, candidates.data()) : offer_items<1>(items, q, candidates.data());
      for (int64_t i = 0; i < n; ++i) found[j + i] = candidates[i].positions();
      j += n;
    }
  };
  const int64_t n = std::max<int64_t>(1, std::min<int64_t>(n_threads, n_queries / kQueries));
  std::vector<std::thread> others;
  for (int64_t t = 1; t < n; ++t) others.emplace_back(run, n_queries * t / n, n_queries * (t + 1) / n);
  run(0, n_queries / n);
  for (std::thread& other : others) other.join();
  return found;
}

}  // namespace anyfm

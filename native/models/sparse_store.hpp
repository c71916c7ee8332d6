// The per-feature parameters of a model that torch trains on the CPU: gathering them for a batch, and one Adagrad step
// of every feature that the batch touched.
//
// The records lie in an array of the caller's: weights, accumulators and penalties of a feature side by side, as in
// factor_table.hpp. A batch takes one step a feature, on the sum of the gradients of its entries. Their squares are
// added up one by one, so that the accumulators hold what they hold in the other kernels: information, which the priors
// are estimated from; and a feature that crowds the batch is slowed down by `Adagrad::crowd`, as there.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "base/denormals.hpp"
#include "base/pool.hpp"
#include "base/simd.hpp"
#include "base/table.hpp"
#include "optim/adagrad.hpp"
#include "optim/priors.hpp"

namespace anyfm {

// Columns of a record: n_vectors vectors of `length` weights, and for each vector an accumulator, a penalty, and the
// accumulator when the penalty was last estimated.
struct StoreGroup {
  int64_t first, n_vectors, length;
  int64_t accumulator, penalty, previous;
  int64_t width() const { return n_vectors * length; }
};

class SparseStore {
 public:
  SparseStore(float* records, int64_t n_records, int64_t stride, std::vector<StoreGroup> groups, int64_t count_column,
              int n_threads)
      : table_(records, n_records, stride),
        groups_(std::move(groups)),
        count_column_(count_column),
        pool_(n_threads),
        index_of_(static_cast<size_t>(n_records), -1) {}

  int64_t n_features() const { return table_.n_records(); }
  const std::vector<StoreGroup>& groups() const { return groups_; }
  int64_t n_vectors() const { return static_cast<int64_t>(vectors().size()); }

  // One prior for each vector of each group, in order.
  void set_priors(std::vector<Prior>& priors, const PriorUpdate& update) {
    const DenormalMode mode(DenormalMode::kFlush);
    Pool& pool = pool_.get();
    if (update.estimate) estimate_priors(table_, vectors(), count_column_, priors, update, pool);
    set_penalties(table_, vectors(), count_column_, priors, update, pool);
  }

  // out (n, width) becomes the group's weights of every id; zeros for a negative one.
  void gather(int group, const int32_t* ids, int64_t n, float* out) {
    const StoreGroup& g = groups_[group];
    const int64_t width = g.width();
    run(n, [&](int t, int n_threads) {
      const int64_t end = n * (t + 1) / n_threads;
      for (int64_t e = n * t / n_threads; e < end; ++e) {
        if (e + kAhead < end && ids[e + kAhead] >= 0) prefetch(ids[e + kAhead], g);
        float* to = out + e * width;
        if (ids[e] < 0)
          std::fill(to, to + width, 0.0f);
        else
          copy(table_[ids[e]] + g.first, to, width);
      }
    });
  }

  // One step of every feature among `ids` (negative: none), along the sum of its entries' gradients (n, width), one
  // array a group, null for a group that is not trained. weight: of each row, whose entries are `n_slots` in a row.
  void update(const int32_t* ids, int64_t n, int64_t n_slots, const std::vector<const float*>& gradients,
              const float* weight, const Adagrad& adagrad) {
    const DenormalMode mode(DenormalMode::kFlush);
    sort_by_feature(ids, n);
    const int64_t n_features = static_cast<int64_t>(features_.size());
    run(n, [&](int t, int n_threads) {
      std::vector<float> total(static_cast<size_t>(longest()));
      // Threads share the features by their entries; each feature is one thread's, whatever their number.
      const int64_t low = n_entries_ * t / n_threads, high = n_entries_ * (t + 1) / n_threads;
      const auto cut = [&](int64_t at) {
        return std::lower_bound(begin_.begin(), begin_.end() - 1, at) - begin_.begin();
      };
      const int64_t last = std::min<int64_t>(cut(high), n_features);
      for (int64_t u = cut(low); u < last; ++u) {
        if (u + kAhead < last) prefetch_record(features_[u + kAhead]);
        step(u, n_slots, gradients, weight, adagrad, total.data());
      }
    });
  }

 private:
  std::vector<VectorColumns> vectors() const {
    std::vector<VectorColumns> all;
    for (const StoreGroup& g : groups_)
      for (int64_t v = 0; v < g.n_vectors; ++v)
        all.push_back({g.first + v * g.length, g.length, g.accumulator + v, g.penalty + v, g.previous + v});
    return all;
  }

  static constexpr int kAhead = 8;
  static constexpr int64_t kThreaded = 16384;  // entries from which waking the other threads pays

  // f(t, number of threads) on every thread, or on this one alone where there is little to do.
  template <class F>
  void run(int64_t n, F&& f) {
    if (n < kThreaded) return f(0, 1);
    Pool& pool = pool_.get();
    pool.run([&](int t) { f(t, pool.size()); });
  }

  static ANYFM_INLINE void copy(const float* from, float* to, int64_t width) {
    if (width == 16)
      Vec<16>::load(from).store(to);
    else if (width == 1)
      *to = *from;
    else
      std::memcpy(to, from, static_cast<size_t>(width) * sizeof(float));
  }
  void prefetch(int32_t id, const StoreGroup& g) const {
    const float* at = table_[id] + g.first;
    for (int64_t c = 0; c < g.width(); c += 16) ANYFM_PREFETCH(at + c);
  }
  void prefetch_record(int32_t id) const {
    for (int64_t c = 0; c < table_.stride(); c += 16) ANYFM_PREFETCH(table_[id] + c);
  }
  int64_t longest() const {
    int64_t most = 0;
    for (const StoreGroup& g : groups_) most = std::max(most, g.length);
    return most;
  }

  // The distinct features in the order in which they first stand in the batch, and each one's entries in their order.
  void sort_by_feature(const int32_t* ids, int64_t n) {
    features_.clear();
    begin_.assign(1, 0);
    for (int64_t e = 0; e < n; ++e) {
      if (ids[e] < 0) continue;
      int32_t& at = index_of_[ids[e]];
      if (at < 0) {
        at = static_cast<int32_t>(features_.size());
        features_.push_back(ids[e]);
        begin_.push_back(0);
      }
      ++begin_[at + 1];
    }
    for (size_t u = 1; u < begin_.size(); ++u) begin_[u] += begin_[u - 1];
    n_entries_ = begin_.back();
    entries_.resize(static_cast<size_t>(n_entries_));
    next_.assign(begin_.begin(), begin_.end());
    for (int64_t e = 0; e < n; ++e)
      if (ids[e] >= 0) entries_[next_[index_of_[ids[e]]]++] = static_cast<int32_t>(e);
    for (int32_t id : features_) index_of_[id] = -1;
  }

  void step(int64_t u, int64_t n_slots, const std::vector<const float*>& gradients, const float* weight,
            const Adagrad& adagrad, float* total) {
    float* record = table_[features_[u]];
    const int32_t *first = entries_.data() + begin_[u], *last = entries_.data() + begin_[u + 1];
    const float crowd = adagrad.crowd(record[count_column_]);
    float occurrences = static_cast<float>(last - first);
    if (weight) {
      occurrences = 0;
      for (const int32_t* e = first; e != last; ++e) occurrences += weight[*e / n_slots];
    }
    for (size_t k = 0; k < groups_.size(); ++k) {
      if (!gradients[k]) continue;
      const StoreGroup& g = groups_[k];
      for (int64_t v = 0; v < g.n_vectors; ++v) {
        const float squares = add_up(gradients[k] + v * g.length, g.width(), g.length, first, last, total);
        float& a = record[g.accumulator + v];
        a += squares * crowd;
        const Step s = adagrad.step(a, occurrences * record[g.penalty + v]);
        float* w = record + g.first + v * g.length;
        for (int64_t i = 0; i < g.length; ++i) w[i] = adagrad.apply(s, w[i], total[i]);
      }
    }
  }

  // total (length) becomes the sum of the entries' gradients; returns the sum of their mean squares.
  static float add_up(const float* gradients, int64_t width, int64_t length, const int32_t* first, const int32_t* last,
                      float* total) {
    if (length % 8 == 0) return add_up_chunks(gradients, width, length, first, last, total);
    std::fill(total, total + length, 0.0f);
    float squares = 0;
    for (const int32_t* e = first; e != last; ++e) {
      const float* g = gradients + *e * width;
      for (int64_t i = 0; i < length; ++i) {
        total[i] += g[i];
        squares += g[i] * g[i];
      }
    }
    return squares / static_cast<float>(length);
  }
  static float add_up_chunks(const float* gradients, int64_t width, int64_t length, const int32_t* first,
                             const int32_t* last, float* total) {
    using V = Vec<8>;
    V squares = V::splat(0);
    for (int64_t c = 0; c < length; c += 8) {
      V sums = V::splat(0);
      for (const int32_t* e = first; e != last; ++e) {
        const V g = V::load(gradients + *e * width + c);
        sums = sums + g;
        squares = squares + g * g;
      }
      sums.store(total + c);
    }
    return sum(squares) / static_cast<float>(length);
  }

  Table table_;
  std::vector<StoreGroup> groups_;
  int64_t count_column_;
  LazyPool pool_;
  // Of the batch: each feature's place in `features_`, −1 between batches; where its entries begin in `entries_`.
  std::vector<int32_t> index_of_, features_, entries_;
  std::vector<int64_t> begin_, next_;
  int64_t n_entries_ = 0;
};

}  // namespace anyfm

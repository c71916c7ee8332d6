// AFM's attention over the pairs of one row. The formula stands in src/anyfm/models/afm.py.
//
// One lane is one pair. The products u_i ⊙ u_j of a row lie transposed, one line of pairs for each of the K factors, so
// that the attention network is a product of two matrices whose second is read line by line, and no sum ever runs
// across lanes. Pairs are taken in chunks; scores are absorbed into a running softmax (Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018), and the backward half computes a chunk anew where there is more than one.
// So a row of any length takes the memory of one chunk, which the second cache holds.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "aligned.hpp"
#include "simd.hpp"

namespace anyfm {

namespace attention {

using V = Vec<kLanes>;
// The block of the matrix product that stays in registers: kOut lines of kTiles registers.
constexpr int kOut = kLanes == 16 ? 8 : 4;
constexpr int kTiles = kLanes == 16 ? 3 : 2;
constexpr int64_t kWide = kLanes * kTiles;
// Pairs of a chunk: multiples of kWide and no powers of two, whose lines would share cache sets. Training takes large
// ones, since a row of more than one is computed twice; scoring such whose products the first cache holds.
constexpr int64_t kTrainingChunk = 960, kScoringChunk = 288;

inline int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// out(r, p) = finish(start[r] + Σ_c m[c · n_out + r] · in(c, p)) for n_out lines, a multiple of kOut, of n pairs, a
// multiple of kWide. finish(r, p, v) takes lanes p … p + kLanes − 1 of line r.
template <class Start, class Finish>
ANYFM_INLINE void multiply(const float* m, int n_out, int n_in, const float* in, int64_t stride, int64_t n,
                           Start&& start, Finish&& finish) {
  for (int64_t p = 0; p < n; p += kWide)
    for (int r = 0; r < n_out; r += kOut) {
      V total[kOut][kTiles];
      ANYFM_UNROLL for (int a = 0; a < kOut; ++a) ANYFM_UNROLL for (int b = 0; b < kTiles; ++b) total[a][b] =
          start(r + a, p + b * kLanes);
      const float* weights = m + r;
      const float* line = in + p;
      for (int c = 0; c < n_in; ++c, weights += n_out, line += stride) {
        V x[kTiles];
        ANYFM_UNROLL for (int b = 0; b < kTiles; ++b) x[b] = V::load(line + b * kLanes);
        ANYFM_UNROLL for (int a = 0; a < kOut; ++a) {
          const V w = V::splat(weights[a]);
          ANYFM_UNROLL for (int b = 0; b < kTiles; ++b) total[a][b] = total[a][b] + w * x[b];
        }
      }
      ANYFM_UNROLL for (int a = 0; a < kOut; ++a) ANYFM_UNROLL for (int b = 0; b < kTiles; ++b)
          finish(r + a, p + b * kLanes, total[a][b]);
    }
}

// The network's numbers as the kernels read them, lines padded with zeros to a multiple of kOut.
struct Network {
  int n_factors, n_hidden;          // K, T
  int factors, hidden;              // the same, padded
  std::vector<float> weights;       // W, (K, hidden)
  std::vector<float> transposed;    // W, (T, factors)
  std::vector<float> bias, output;  // b and h, (hidden)
  std::vector<float> projection;    // p, (factors)

  Network(int k, int t)
      : n_factors(k),
        n_hidden(t),
        factors(static_cast<int>(up_to(k, kOut))),
        hidden(static_cast<int>(up_to(t, kOut))),
        weights(static_cast<size_t>(k) * hidden, 0.0f),
        transposed(static_cast<size_t>(t) * factors, 0.0f),
        bias(hidden, 0.0f),
        output(hidden, 0.0f),
        projection(factors, 0.0f) {}

  // From W (K, T), b (T), h (T) and p (K), one after the other.
  void take(const float* from) {
    for (int c = 0; c < n_factors; ++c)
      for (int t = 0; t < n_hidden; ++t) weights[c * hidden + t] = transposed[t * factors + c] = from[c * n_hidden + t];
    from += n_factors * n_hidden;
    std::copy(from, from + n_hidden, bias.begin());
    std::copy(from + n_hidden, from + 2 * n_hidden, output.begin());
    std::copy(from + 2 * n_hidden, from + 2 * n_hidden + n_factors, projection.begin());
  }
  int64_t size() const { return static_cast<int64_t>(n_factors) * n_hidden + 2 * n_hidden + n_factors; }
};

// Pairs i with j, j + 1, … that stand side by side from place p of the chunk on.
struct Run {
  int64_t i, j, n, p;
};

}  // namespace attention

// A row's scaled vectors and one chunk of its pairs. One thread's own.
class AttentionRow {
 public:
  using V = attention::V;

  AttentionRow(const attention::Network& network, int64_t longest_row, int64_t chunk = attention::kScoringChunk)
      : factors_(network.factors),
        n_factors_(network.n_factors),
        slots_(attention::up_to(longest_row, kLanes) + kLanes),
        stride_(std::min(chunk, attention::up_to(std::max<int64_t>(1, longest_row * (longest_row - 1) / 2),
                                                 attention::kWide)) +
                kLanes),
        vectors_(factors_ * slots_),
        products_(factors_ * stride_),
        hidden_(network.hidden * stride_),
        by_pair_(4 * stride_),
        projection_(network.projection),
        places_(static_cast<size_t>(longest_row)) {
    std::fill(vectors_.get(), vectors_.get() + factors_ * slots_, 0.0f);
  }

  // Begins a row: its vectors follow by `add`, then `end`.
  void begin() { n_slots_ = 0; }
  ANYFM_INLINE void add(int64_t place, const float* vector, float x) {
    places_[n_slots_] = place;
    float* to = vectors_.get() + n_slots_++;
    for (int c = 0; c < n_factors_; ++c) to[c * slots_] = vector[c] * x;
  }
  void end() {
    for (int c = 0; c < n_factors_; ++c) {
      float* line = vectors_.get() + c * slots_;
      std::fill(line + n_slots_, line + attention::up_to(n_slots_, kLanes) + kLanes, 0.0f);
    }
  }
  // The projection of this row: p, with dropped numbers 0 and the others scaled.
  float* projection() { return projection_.data(); }

  // p·Σ a (u_i ⊙ u_j), with what the backward half needs where `kKeep`.
  template <bool kKeep>
  float forward(const attention::Network& network) {
    top_ = -1e30f;
    total_ = weighted_ = 0;
    n_chunks_ = 0;
    for (attention::Run next{0, 1, 0, 0}; n_slots_ >= 2 && next.i + 1 < n_slots_; ++n_chunks_) {
      lay_out(next);
      fill();
      score<kKeep>(network);
      absorb();
    }
    pooled_ = n_chunks_ > 0 ? weighted_ / total_ : 0.0f;
    return pooled_;
  }

 protected:
  float* scores() { return by_pair_.get(); }
  float* terms() { return by_pair_.get() + stride_; }        // p·(u_i ⊙ u_j)
  float* weights() { return by_pair_.get() + 2 * stride_; }  // a
  float* dscores() { return by_pair_.get() + 3 * stride_; }
  int64_t padded() const { return attention::up_to(n_pairs_, attention::kWide); }

  // Which pairs the next chunk holds; leaves in `next` where the one after begins.
  void lay_out(attention::Run& next) {
    runs_.clear();
    n_pairs_ = 0;
    const int64_t room = stride_ - kLanes;
    while (n_pairs_ < room && next.i + 1 < n_slots_) {
      const int64_t n = std::min(n_slots_ - next.j, room - n_pairs_);
      runs_.push_back({next.i, next.j, n, n_pairs_});
      n_pairs_ += n;
      next.j += n;
      if (next.j == n_slots_) next.j = ++next.i + 1;
    }
  }

  // The products of the chunk's pairs. A run writes whole registers: what it writes too much the next run overwrites,
  // or the zeros at the end.
  void fill() {
    constexpr int kLines = 4;  // factors at a time: a run is short, and its end is guessed once for all of them
    for (const attention::Run run : runs_)
      for (int64_t c = 0; c < factors_; c += kLines) {
        const float* vectors = vectors_.get() + c * slots_ + run.j;
        float* line = products_.get() + c * stride_ + run.p;
        V u[kLines];
        ANYFM_UNROLL for (int a = 0; a < kLines; ++a) u[a] = V::splat(vectors[a * slots_ + run.i - run.j]);
        for (int64_t d = 0; d < run.n; d += kLanes)
          ANYFM_UNROLL for (int a = 0; a < kLines; ++a)(u[a] * V::load(vectors + a * slots_ + d))
              .store(line + a * stride_ + d);
      }
    for (int64_t c = 0; c < factors_; ++c) {
      float* line = products_.get() + c * stride_;
      std::fill(line + n_pairs_, line + padded() + kLanes, 0.0f);
    }
  }

  template <bool kKeep>
  void score(const attention::Network& network) {
    float *s = scores(), *q = terms();
    std::fill(s, s + padded(), 0.0f);
    float* hidden = hidden_.get();
    attention::multiply(
        network.weights.data(), network.hidden, n_factors_, products_.get(), stride_, padded(),
        [&](int r, int64_t) { return V::splat(network.bias[r]); },
        [&](int r, int64_t p, V v) {
          const V active = maximum(v, V::splat(0));
          if (kKeep) active.store(hidden + r * stride_ + p);
          (V::load(s + p) + V::splat(network.output[r]) * active).store(s + p);
        });
    for (int64_t p = 0; p < padded(); p += attention::kWide) {
      V term[attention::kTiles];
      ANYFM_UNROLL for (V& t : term) t = V::splat(0);
      const float* line = products_.get() + p;
      for (int c = 0; c < n_factors_; ++c, line += stride_) {
        const V w = V::splat(projection_[c]);
        ANYFM_UNROLL for (int b = 0; b < attention::kTiles; ++b) term[b] = term[b] + w * V::load(line + b * kLanes);
      }
      ANYFM_UNROLL for (int b = 0; b < attention::kTiles; ++b) term[b].store(q + p + b * kLanes);
    }
  }

  void absorb() {
    float *s = scores(), *q = terms();
    std::fill(s + n_pairs_, s + padded(), -1e30f);
    V top = V::splat(top_);
    for (int64_t p = 0; p < padded(); p += kLanes) top = maximum(V::load(s + p), top);
    float highest = top_;
    for (int lane = 0; lane < kLanes; ++lane) highest = std::max(highest, top.at(lane));
    const float shrink = n_chunks_ > 0 ? std::exp(top_ - highest) : 0.0f;
    top_ = highest;
    V total = V::splat(0), weighted = V::splat(0);
    for (int64_t p = 0; p < padded(); p += kLanes) {
      const V e = exp_of_negative(V::load(s + p) - V::splat(highest));
      e.store(weights() + p);
      total = total + e;
      weighted = weighted + e * V::load(q + p);
    }
    total_ = total_ * shrink + sum(total);
    weighted_ = weighted_ * shrink + sum(weighted);
  }

  int64_t factors_, n_factors_;
  int64_t slots_, stride_;  // floats from one factor's line to the next: of vectors, of pairs
  AlignedFloats vectors_, products_, hidden_, by_pair_;
  std::vector<float> projection_;
  std::vector<int64_t> places_;  // of the kept slots in the row
  std::vector<attention::Run> runs_;
  int64_t n_slots_ = 0, n_pairs_ = 0;
  int n_chunks_ = 0;
  float top_ = 0, total_ = 0, weighted_ = 0, pooled_ = 0;
};

}  // namespace anyfm

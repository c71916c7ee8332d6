// AFM's attention over the pairs of one row. The formula stands in src/anyfm/models/afm.py.
//
// One lane is one pair. The products u_i ⊙ u_j of a row lie transposed, one line of pairs for each of the K factors, so
// that the attention network is a product of two matrices whose second is read line by line, and no sum ever runs
// across lanes. Which pairs stand in one register is chosen so that both of their halves are one load each
// (PairRegister). Pairs are taken in chunks; scores are absorbed into a running softmax (Milakov and Gimelshein,
// "Online normalizer calculation for softmax", 2018), and the backward half computes a chunk anew where there is more
// than one. So a row of any length takes the memory of one chunk, which the second cache holds.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "base/aligned.hpp"
#include "base/simd.hpp"

namespace anyfm {

namespace attention {

using V = Vec<kLanes>;
// The block of the matrix product that stays in registers: kOut lines of kTiles registers.
constexpr int kOut = kLanes == 16 ? 8 : 4;
constexpr int kTiles = kLanes == 16 ? 3 : 2;
// Registers of pairs in a chunk: with 16 lanes, the pairs of rows of up to 45 entries.
constexpr int64_t kChunk = 1024 / kLanes;

inline int64_t up_to(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Calls f with the first of every kTiles registers of n and the number of them as a constant, then with every register
// that is left, one by one.
template <class F>
ANYFM_INLINE void by_tiles(int64_t n, F&& f) {
  int64_t m = 0;
  for (; m + kTiles <= n; m += kTiles) f(m, std::integral_constant<int, kTiles>());
  for (; m < n; ++m) f(m, std::integral_constant<int, 1>());
}

// total[a][b] += Σ_c m[c · n_out + a] · in(c, b) for kOut lines of kWidth registers; extra(c, x) sees the registers
// in(c, …) too.
template <int kWidth, class Extra>
ANYFM_INLINE void multiply(const float* m, int n_out, int n_in, const float* in, int64_t stride,
                           V (&total)[kOut][kWidth], Extra&& extra) {
  for (int c = 0; c < n_in; ++c, m += n_out, in += stride) {
    V x[kWidth];
    ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) x[b] = V::load(in + b * kLanes);
    ANYFM_UNROLL for (int a = 0; a < kOut; ++a) {
      const V w = V::splat(m[a]);
      ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) total[a][b] = total[a][b] + w * x[b];
    }
    extra(c, x);
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

// Up to kLanes pairs, those of numbers first + l and second + l of a factor's line for l < n.
//
// The slots of a row are cut into blocks of kLanes, the last of which may be shorter. In a factor's line each block
// takes 2 kLanes numbers, its own repeated over and over. So the pairs of two blocks are one against the other shifted
// by 0, 1, …, and the pairs within a block of n are the block against itself shifted by 1, …, n / 2, of which the last
// has every pair twice where n is even and counts only half.
struct PairRegister {
  int64_t first, second, n;
};

// Which register comes next: block `a` against block `b` shifted by `shift`.
struct Cursor {
  int64_t a = 0, b = 0, shift = 1;
};

// 0 for the first n lanes, and for the others so little that their exponential is 0: from kAbsent + kLanes − n on.
struct Absent {
  float line[2 * kLanes];
  constexpr Absent() : line() {
    for (int l = kLanes; l < 2 * kLanes; ++l) line[l] = -1e30f;
  }
};
constexpr Absent kAbsent;

}  // namespace attention

// A row's scaled vectors and one chunk of its pairs. One thread's own.
class AttentionRow {
 public:
  using V = attention::V;

  // `keep`: the products and hidden neurons of a whole chunk, for the backward half.
  AttentionRow(const attention::Network& network, int64_t longest_row, bool keep = false)
      : factors_(network.factors),
        n_factors_(network.n_factors),
        line_(2 * attention::up_to(longest_row, kLanes) + kLanes),
        stride_(((keep ? attention::kChunk : attention::kTiles) + 1) * kLanes),  // no power of two: lines share no sets
        vectors_(factors_ * line_),
        products_(factors_ * stride_),
        hidden_(keep ? network.hidden * stride_ : 0),
        by_pair_(4 * attention::kChunk * kLanes),
        projection_(network.projection),
        places_(static_cast<size_t>(longest_row)) {
    registers_.reserve(attention::kChunk);
    std::fill(vectors_.get(), vectors_.get() + factors_ * line_, 0.0f);
  }

  // Begins a row: its vectors follow by `add`, then `end`.
  void begin() { n_slots_ = 0; }
  ANYFM_INLINE void add(int64_t place, const float* vector, float x) {
    places_[n_slots_] = place;
    float* to = vectors_.get() + place_in_line(n_slots_++);
    for (int c = 0; c < n_factors_; ++c) to[c * line_] = vector[c] * x;
  }
  // Repeats the numbers of every block. A store takes a whole register: the next one writes over what is too much.
  void end() {
    for (int64_t block = 0; block < n_blocks(); ++block) {
      const int64_t size = block_size(block);
      for (int c = 0; c < n_factors_; ++c) {
        float* line = vectors_.get() + c * line_ + 2 * kLanes * block;
        const V numbers = V::load(line);
        for (int64_t at = size; at < 2 * kLanes; at += size) numbers.store(line + at);
      }
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
    for (attention::Cursor next; lay_out(next); ++n_chunks_) {
      score<kKeep>(network);
      absorb();
    }
    pooled_ = n_chunks_ > 0 ? weighted_ / total_ : 0.0f;
    return pooled_;
  }

 protected:
  float* by_pair(int line) { return by_pair_.get() + line * attention::kChunk * kLanes; }
  float* scores() { return by_pair(0); }
  float* terms() { return by_pair(1); }    // p·(u_i ⊙ u_j)
  float* weights() { return by_pair(2); }  // a
  float* dscores() { return by_pair(3); }
  int64_t n_registers() const { return static_cast<int64_t>(registers_.size()); }
  int64_t n_lanes() const { return n_registers() * kLanes; }
  int64_t n_blocks() const { return (n_slots_ + kLanes - 1) / kLanes; }
  int64_t block_size(int64_t block) const { return std::min<int64_t>(kLanes, n_slots_ - block * kLanes); }
  static int64_t place_in_line(int64_t slot) { return slot + slot / kLanes * kLanes; }

  // Which pairs the next chunk holds, if any; leaves in `next` where the one after begins.
  bool lay_out(attention::Cursor& next) {
    const bool from_start = next.b == 0 && next.a == 0 && next.shift == 1;
    if (from_start && n_slots_ == laid_out_) {  // as in the row before
      next.b = n_blocks();
      return n_registers() > 0;
    }
    laid_out_ = -1;
    registers_.clear();
    for (; next.b < n_blocks(); next.shift = next.a < next.b ? 0 : 1) {
      const int64_t size = block_size(next.b);
      const bool within = next.a == next.b;
      for (; next.shift <= (within ? size / 2 : size - 1); ++next.shift) {
        if (n_registers() == attention::kChunk) return true;
        const int64_t n = !within ? kLanes : 2 * next.shift == size ? size / 2 : size;
        registers_.push_back({2 * kLanes * next.a, 2 * kLanes * next.b + next.shift, n});
      }
      if (next.a++ == next.b) {
        next.a = 0;
        ++next.b;
      }
    }
    if (from_start) laid_out_ = n_slots_;
    return n_registers() > 0;
  }

  // Products, hidden neurons, scores and terms of the chunk's pairs. Without `kKeep` the products of a few registers
  // take the place of those before.
  template <bool kKeep>
  void score(const attention::Network& network) {
    attention::by_tiles(n_registers(), [&](int64_t m, auto width) {
      constexpr int kWidth = decltype(width)::value;
      const int64_t p = m * kLanes;
      float* products = products_.get() + (kKeep ? p : 0);
      fill<kWidth>(m, products);
      V term[kWidth], s[kWidth];
      ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) {
        term[b] = V::splat(0);
        s[b] = V::load(attention::kAbsent.line + kLanes - registers_[m + b].n);
      }
      for (int r = 0; r < network.hidden; r += attention::kOut) {
        V total[attention::kOut][kWidth];
        ANYFM_UNROLL for (int a = 0; a < attention::kOut; ++a) ANYFM_UNROLL for (int b = 0; b < kWidth; ++b)
            total[a][b] = V::splat(network.bias[r + a]);
        const float* w = network.weights.data() + r;
        if (r == 0)
          attention::multiply(w, network.hidden, n_factors_, products, stride_, total, [&](int c, const V* x) {
            ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) term[b] = term[b] + V::splat(projection_[c]) * x[b];
          });
        else
          attention::multiply(w, network.hidden, n_factors_, products, stride_, total, [](int, const V*) {});
        ANYFM_UNROLL for (int a = 0; a < attention::kOut; ++a) ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) {
          const V active = maximum(total[a][b], V::splat(0));
          if (kKeep) active.store(hidden_.get() + (r + a) * stride_ + p + b * kLanes);
          s[b] = s[b] + V::splat(network.output[r + a]) * active;
        }
      }
      ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) {
        s[b].store(scores() + p + b * kLanes);
        term[b].store(terms() + p + b * kLanes);
      }
    });
  }

  // The products of kWidth registers from m on.
  template <int kWidth>
  ANYFM_INLINE void fill(int64_t m, float* products) {
    const float *first[kWidth], *second[kWidth];
    ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) {
      first[b] = vectors_.get() + registers_[m + b].first;
      second[b] = vectors_.get() + registers_[m + b].second;
    }
    for (int64_t c = 0; c < n_factors_; ++c)
      ANYFM_UNROLL for (int b = 0; b < kWidth; ++b)(V::load(first[b] + c * line_) * V::load(second[b] + c * line_))
          .store(products + c * stride_ + b * kLanes);
  }

  void absorb() {
    const float *s = scores(), *q = terms();
    V top = V::splat(top_);
    for (int64_t p = 0; p < n_lanes(); p += kLanes) top = maximum(V::load(s + p), top);
    float highest = top_;
    for (int lane = 0; lane < kLanes; ++lane) highest = std::max(highest, top.at(lane));
    const float shrink = n_chunks_ > 0 ? std::exp(top_ - highest) : 0.0f;
    top_ = highest;
    V total = V::splat(0), weighted = V::splat(0);
    for (int64_t p = 0; p < n_lanes(); p += kLanes) {
      const V e = exp_of_negative(V::load(s + p) - V::splat(highest));
      e.store(weights() + p);
      total = total + e;
      weighted = weighted + e * V::load(q + p);
    }
    total_ = total_ * shrink + sum(total);
    weighted_ = weighted_ * shrink + sum(weighted);
  }

  int64_t factors_, n_factors_;
  int64_t line_, stride_;  // floats from one factor's line to the next: of vectors, of pairs
  AlignedFloats vectors_, products_, hidden_, by_pair_;
  std::vector<float> projection_;
  std::vector<int64_t> places_;  // of the kept slots in the row
  std::vector<attention::PairRegister> registers_;
  int64_t n_slots_ = 0;
  int64_t laid_out_ = -1;  // slots of the row whose pairs are all in registers_
  int n_chunks_ = 0;
  float top_ = 0, total_ = 0, weighted_ = 0, pooled_ = 0;
};

}  // namespace anyfm

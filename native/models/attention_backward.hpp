// The backward pass of AFM's attention (attention.hpp): of p·Σ a (u_i ⊙ u_j) by the vectors u and by the network.
//
// With g the derivative of the loss by the logit, q = p·(u_i ⊙ u_j) a pair's term and o = Σ a q:
//   ∂/∂s = g a (q − o)   ∂/∂h = Σ ∂s · ReLU(…)   ∂/∂b = Σ δ   ∂/∂W = Σ (u_i ⊙ u_j) δᵀ   with δ = ∂s h where ReLU is on
//   ∂/∂(u_i ⊙ u_j) = g a p + W δ   ∂/∂p = g Σ a (u_i ⊙ u_j)
#pragma once

#include "models/attention.hpp"

namespace anyfm {

// Sums of the network's gradients over rows, each number spread over the lanes of a register.
class NetworkGradients {
 public:
  using V = attention::V;

  explicit NetworkGradients(const attention::Network& network)
      : n_factors_(network.n_factors),
        n_hidden_(network.n_hidden),
        hidden_(static_cast<int>(attention::up_to(network.hidden, kBlock))),
        factors_(static_cast<int>(attention::up_to(network.factors, kBlock))),
        lanes_((static_cast<int64_t>(factors_) * hidden_ + 2 * hidden_ + factors_) * kLanes) {
    clear();
  }
  void clear() { std::fill(lanes_.get(), lanes_.get() + projection(factors_), 0.0f); }

  static constexpr int kBlock = 4;  // of W: the square whose sums stay in registers
  int64_t weight(int c, int t) const { return (static_cast<int64_t>(c) * hidden_ + t) * kLanes; }
  int64_t bias(int t) const { return weight(factors_, t); }
  int64_t output(int t) const { return bias(hidden_ + t); }
  int64_t projection(int c) const { return output(hidden_) + static_cast<int64_t>(c) * kLanes; }
  float* at(int64_t place) { return lanes_.get() + place; }

  ANYFM_INLINE void add(int64_t place, V v) { (V::load(at(place)) + v).store(at(place)); }

  // Adds the sums up over the lanes, in the order of Network::take.
  void write(float* to) const {
    const float* from = lanes_.get();
    for (int c = 0; c < n_factors_; ++c)
      for (int t = 0; t < n_hidden_; ++t) *to++ = sum(V::load(from + weight(c, t)));
    for (int t = 0; t < n_hidden_; ++t) *to++ = sum(V::load(from + bias(t)));
    for (int t = 0; t < n_hidden_; ++t) *to++ = sum(V::load(from + output(t)));
    for (int c = 0; c < n_factors_; ++c) *to++ = sum(V::load(from + projection(c)));
  }

 private:
  int n_factors_, n_hidden_, hidden_, factors_;
  AlignedFloats lanes_;
};

class AttentionTraining : public AttentionRow {
 public:
  AttentionTraining(const attention::Network& network, int64_t longest_row)
      : AttentionRow(network, longest_row, true), dvectors_(factors_ * line_), drop_scales_(network.factors, 1.0f) {}

  // What the projection of this row was multiplied by: 0, or 1 / (1 − dropout).
  float* drop_scales() { return drop_scales_.data(); }

  // After forward<true>: adds to `sums`, and writes the derivative by u of slot s of the row to `to` + s · step.
  void backward(const attention::Network& network, float dlogit, NetworkGradients& sums, float* to, int64_t step) {
    const int64_t held = 2 * kLanes * n_blocks();
    for (int c = 0; c < n_factors_; ++c) std::fill_n(dvectors_.get() + c * line_, held, 0.0f);
    const bool anew = n_chunks_ > 1;
    const float inverse = n_chunks_ > 0 ? 1.0f / total_ : 0.0f;
    for (attention::Cursor next; lay_out(next);) {
      if (anew) score<true>(network);
      by_scores(inverse, dlogit, anew);
      by_hidden(network, sums);
      by_weights(network.hidden, sums);
      by_products(network, dlogit);
      by_vectors();
    }
    for (int64_t s = 0; s < n_slots_; ++s) {
      const float* d = dvectors_.get() + place_in_line(s);
      const int64_t lane = s % kLanes, size = block_size(s / kLanes);
      for (int c = 0; c < n_factors_; ++c) {
        float total = 0;  // over the repetitions
        for (int64_t at = 0; at < 2 * kLanes - lane; at += size) total += d[c * line_ + at];
        to[places_[s] * step + c] = total;
      }
    }
  }

 private:
  using V = attention::V;

  // a and ∂/∂s.
  void by_scores(float inverse, float dlogit, bool anew) {
    float* a = weights();
    for (int64_t p = 0; p < n_lanes(); p += kLanes) {
      V weight = V::load(a + p);
      if (anew) weight = exp_of_negative(V::load(scores() + p) - V::splat(top_));
      weight = weight * V::splat(inverse);
      weight.store(a + p);
      (V::splat(dlogit) * weight * (V::load(terms() + p) - V::splat(pooled_))).store(dscores() + p);
    }
    dlogit_ = dlogit;
  }

  // ∂/∂h, ∂/∂b and ∂/∂p; δ takes the place of the hidden neurons.
  void by_hidden(const attention::Network& network, NetworkGradients& sums) {
    for (int t = 0; t < network.n_hidden; ++t) {
      float* line = hidden_.get() + t * stride_;
      const V h = V::splat(network.output[t]);
      V output = V::splat(0), bias = V::splat(0);
      for (int64_t p = 0; p < n_lanes(); p += kLanes) {
        const V active = V::load(line + p), ds = V::load(dscores() + p);
        output = output + ds * active;
        const V delta = where_positive(active, ds * h);
        bias = bias + delta;
        delta.store(line + p);
      }
      sums.add(sums.output(t), output);
      sums.add(sums.bias(t), bias);
    }
    for (int c = 0; c < n_factors_; ++c) {
      const float* line = products_.get() + c * stride_;
      V pooled = V::splat(0);
      for (int64_t p = 0; p < n_lanes(); p += kLanes) pooled = pooled + V::load(weights() + p) * V::load(line + p);
      sums.add(sums.projection(c), pooled * V::splat(dlogit_ * drop_scales_[c]));
    }
  }

  // ∂/∂W, by squares whose sums stay in registers. Lines beyond K and T are any finite numbers and go nowhere.
  void by_weights(int hidden_lines, NetworkGradients& sums) {
    constexpr int kRows = NetworkGradients::kBlock, kColumns = kLanes == 16 ? 4 : 2;
    for (int c = 0; c < n_factors_; c += kRows)
      for (int t = 0; t < hidden_lines; t += kColumns) {
        V total[kRows][kColumns];
        const float *x[kRows], *d[kColumns];
        for (int a = 0; a < kRows; ++a) x[a] = products_.get() + std::min<int64_t>(c + a, n_factors_ - 1) * stride_;
        for (int b = 0; b < kColumns; ++b) d[b] = hidden_.get() + (t + b) * stride_;
        ANYFM_UNROLL for (int a = 0; a < kRows; ++a) ANYFM_UNROLL for (int b = 0; b < kColumns; ++b) total[a][b] =
            V::load(sums.at(sums.weight(c + a, t + b)));
        for (int64_t p = 0; p < n_lanes(); p += kLanes) {
          V delta[kColumns];
          ANYFM_UNROLL for (int b = 0; b < kColumns; ++b) delta[b] = V::load(d[b] + p);
          ANYFM_UNROLL for (int a = 0; a < kRows; ++a) {
            const V product = V::load(x[a] + p);
            ANYFM_UNROLL for (int b = 0; b < kColumns; ++b) total[a][b] = total[a][b] + product * delta[b];
          }
        }
        ANYFM_UNROLL for (int a = 0; a < kRows; ++a) ANYFM_UNROLL for (int b = 0; b < kColumns; ++b) total[a][b].store(
            sums.at(sums.weight(c + a, t + b)));
      }
  }

  // ∂/∂(u_i ⊙ u_j) takes the place of the products.
  void by_products(const attention::Network& network, float dlogit) {
    attention::by_tiles(n_registers(), [&](int64_t m, auto width) {
      constexpr int kWidth = decltype(width)::value;
      const int64_t p = m * kLanes;
      for (int r = 0; r < network.factors; r += attention::kOut) {
        V total[attention::kOut][kWidth];
        ANYFM_UNROLL for (int a = 0; a < attention::kOut; ++a) ANYFM_UNROLL for (int b = 0; b < kWidth; ++b)
            total[a][b] = V::splat(dlogit * projection_[r + a]) * V::load(weights() + p + b * kLanes);
        attention::multiply(network.transposed.data() + r, network.factors, network.n_hidden, hidden_.get() + p,
                            stride_, total, [](int, const V*) {});
        ANYFM_UNROLL for (int a = 0; a < attention::kOut; ++a) ANYFM_UNROLL for (int b = 0; b < kWidth; ++b) total[a][b]
            .store(products_.get() + (r + a) * stride_ + p + b * kLanes);
      }
    });
  }

  // Through the products to the vectors. What falls on a number's repetition is its own; lanes beyond a register's
  // pairs have no derivative.
  void by_vectors() {
    constexpr int kLines = kLanes == 16 ? 8 : 4;  // so many that no load waits for the store before it
    for (size_t begin = 0, end; begin < registers_.size(); begin = end) {
      const int64_t first = registers_[begin].first;
      for (end = begin + 1; end < registers_.size() && registers_[end].first == first; ++end) continue;
      for (int c = 0; c < factors_; c += kLines) {
        const float* products = products_.get() + c * stride_;
        const float* vectors = vectors_.get() + c * line_;
        float* d = dvectors_.get() + c * line_;
        V total[kLines];
        ANYFM_UNROLL for (V& t : total) t = V::splat(0);
        for (size_t m = begin; m < end; ++m) {
          const int64_t second = registers_[m].second;
          ANYFM_UNROLL for (int a = 0; a < kLines; ++a) {
            const V product = V::load(products + a * stride_ + m * kLanes);
            float* to = d + a * line_ + second;
            total[a] = total[a] + product * V::load(vectors + a * line_ + second);
            (V::load(to) + product * V::load(vectors + a * line_ + first)).store(to);
          }
        }
        ANYFM_UNROLL for (int a = 0; a < kLines; ++a)(V::load(d + a * line_ + first) + total[a])
            .store(d + a * line_ + first);
      }
    }
  }

  AlignedFloats dvectors_;
  std::vector<float> drop_scales_;
  float dlogit_ = 0;
};

}  // namespace anyfm

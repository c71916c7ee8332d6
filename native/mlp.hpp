// A multilayer perceptron that scores blocks of rows: u · g_L with g_l = φ(W_l g_{l−1} + b_l).
//
// A row's numbers are added up in one order, whichever rows stand beside it, so that scores depend neither on the
// threads nor on how a batch is cut.
#pragma once

#include <cstdint>
#include <vector>

namespace anyfm {

enum class Activation { kRelu, kTanh, kSigmoid };

class Mlp {
 public:
  static constexpr int kRows = 96;  // rows of a block: the weights then come from memory seldom enough

  explicit Mlp(Activation activation) : activation_(activation) {}

  // weights (n_in, n_out), bias (n_out). The first layer's n_in is the number of inputs; each other's must be the n_out
  // of the layer before.
  void add_layer(const float* weights, const float* bias, int64_t n_in, int64_t n_out);
  // weights (n_out of the last layer).
  void set_output(const float* weights);

  bool empty() const { return layers_.empty(); }
  int64_t n_outputs() const { return layers_.empty() ? 0 : layers_.back().n_out; }
  int64_t scratch_floats(int n_rows) const { return 2 * n_rows * widest_; }

  // Adds the perceptron's logit to each of at most kRows rows; inputs (n_rows, n_in).
  void add_logits(const float* inputs, int n_rows, float* scratch, float* logits) const;

 private:
  struct Layer {
    int64_t n_in, n_out, padded;  // outputs are padded to whole panels
    std::vector<float> weights;   // (panels, n_in, panel width)
    std::vector<float> bias;      // (padded)
  };

  Activation activation_;
  int64_t widest_ = 0;
  std::vector<Layer> layers_;
  std::vector<float> output_;  // padded with zeros
};

}  // namespace anyfm

// A multilayer perceptron: u · g_L with g_l = φ(W_l g_{l−1} + b_l).
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.hpp"

namespace anyfm {

enum class Activation { kRelu, kTanh, kSigmoid };

// The number of inputs, then of the neurons of each hidden layer, and the activation of these.
struct MlpShape {
  std::vector<int64_t> sizes;
  Activation activation;

  size_t n_layers() const { return sizes.size() - 1; }
  int64_t n_in(size_t layer) const { return sizes[layer]; }
  int64_t n_out(size_t layer) const { return sizes[layer + 1]; }
  // How many parameters there are: W_0, b_0, W_1, b_1, …, u, with W_l as (inputs, outputs); 0 without layers.
  int64_t n_parameters() const;
};

// One number for each parameter of a perceptron: its values, or a moment of Adam, or the gradient.
//
// Numbers of a layer lie in panels of columns, (panels, n_in + 1, panel width), the bias being the weights of an input
// that is always 1; those of u are padded with zeros to whole panels.
struct MlpNumbers {
  std::vector<AlignedFloats> layers;
  AlignedFloats output;

  explicit MlpNumbers(const MlpShape& shape);
  // In the order of MlpShape::n_parameters.
  void read(const MlpShape& shape, float* to) const;
  void write(const MlpShape& shape, const float* from);
};

// The perceptron in scoring.
//
// The numbers of a row are added up in one order, whichever rows stand beside it, so that scores depend neither on the
// threads nor on how a batch is cut.
class Mlp {
 public:
  static constexpr int kRows = 96;  // rows of a block: the weights then come from memory seldom enough

  // values: in the order of MlpShape::n_parameters.
  Mlp(const MlpShape& shape, const float* values);

  int64_t scratch_floats(int n_rows) const { return 2 * n_rows * widest_; }
  // Adds the perceptron's logit to each of at most kRows rows; inputs (n_rows, n_in).
  void add_logits(const float* inputs, int n_rows, float* scratch, float* logits) const;

 private:
  MlpShape shape_;
  int64_t widest_ = 0;
  MlpNumbers numbers_;
};

}  // namespace anyfm

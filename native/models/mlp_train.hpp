// The perceptron in training: the logits of a block of rows, the backward pass, and Adam's step.
//
// Threads share the rows of a block forward and backward, each row being one thread's: its numbers are added up in one
// order, whoever does it. The gradient of a weight is a sum over all rows of the block, one thread's again: weights
// come in slices, runs of a panel (mlp.hpp), which go to whichever thread is free. So the result is the same bit for
// bit on any number of threads, and no gradient is ever stored twice.
#pragma once

#include <cstdint>
#include <vector>

#include "base/aligned.hpp"
#include "models/mlp.hpp"
#include "optim/adam.hpp"
#include "optim/dense.hpp"
#include "optim/dropout.hpp"

namespace anyfm {

// Its optimizer knows one unit, of the weights of the first layer, all others being 1; no penalty; and one decay, of
// the weights of hidden layers.
class MlpTrainer final : public Dense {
 public:
  static constexpr int kRows = 6;  // of a tile: a multiple of it is best for a chunk of rows

  // At most `most_rows` rows to a block.
  MlpTrainer(const MlpShape& shape, int64_t most_rows);

  int64_t size() const override { return shape_.n_parameters(); }
  void read(Line line, float* to) const override { lines_[line].read(shape_, to); }
  void write(Line line, const float* from) override;
  void set_optimizer(const float* units, const float* l2, const float* decay) override;
  Dropout& dropout() { return dropout_; }

  // What the first layer's weights are multiplied by; inputs are to be multiplied by it instead.
  float unit() const { return unit_; }

  // The inputs of row i of the block, to be written before `forward`, and their derivatives after `backward`.
  float* inputs(int64_t i) { return inputs_.get() + i * input_stride_; }
  const float* dinputs(int64_t i) const { return dinputs_.get() + i * input_stride_; }

  // Adds the perceptron's logit to those of rows begin … end − 1, of which row i is row order[i] of the data.
  void forward(int64_t begin, int64_t end, const int64_t* order, float* logits);
  // From the derivatives of the loss by the logits to those by all neurons of the rows.
  void backward(int64_t begin, int64_t end, const float* dlogit);

  int64_t n_slices() const { return static_cast<int64_t>(slices_.size()); }
  // The gradient of one slice over n_rows rows, added to what is there unless this is the first block of a batch. All
  // rows must have gone forward and backward.
  void gradient(int64_t slice, int64_t n_rows, const float* dlogit, bool is_first);
  // The next step of Adam along the mean gradient over rows of summed weight `weight`, cut to Euclidean norm 1. All
  // slices must have their gradient.
  struct Step {
    AdamStep adam;
    float gradient_scale, shrink;  // shrink: of a hidden weight
  };
  Step next_step(double weight, float learning_rate) const;
  // That step for one slice.
  void step(int64_t slice, const Step& step);
  // To be called by one thread when all slices have stepped.
  void end_step() { ++steps_; }

 private:
  struct Layer {
    int64_t n_in, n_out, panels;
    AlignedFloats transposed;  // W without the bias: (panels of inputs, n_out, panel width)
    AlignedFloats out, dout;   // (rows, stride): neurons, then a 1; derivatives by what they were before φ
    AlignedFloats mask;        // of dropout: 0 or 1 / (1 − rate), (rows, stride)
    int64_t stride;
  };
  struct Slice {
    int layer;  // −1: the output's weights
    int64_t panel, begin, end;
  };

  const float* below(size_t layer) const { return layer == 0 ? inputs_.get() : layers_[layer - 1].out.get(); }
  int64_t stride_below(size_t layer) const { return layer == 0 ? input_stride_ : layers_[layer - 1].stride; }
  void transpose(size_t layer, int64_t panel, int64_t begin, int64_t end);

  const MlpShape shape_;
  MlpNumbers lines_[kLines], gradient_;
  std::vector<Layer> layers_;
  AlignedFloats inputs_, dinputs_, zeros_;
  int64_t input_stride_;
  std::vector<Slice> slices_;
  std::vector<double> squares_;  // of the gradient of each slice
  Dropout dropout_;
  float unit_ = 1, decay_ = 0;
};

}  // namespace anyfm

// The perceptron in training: the logits of a block of rows, the way back through it, and Adam's step.
//
// Threads share the rows of a block for both ways, each row being one thread's: its numbers are added up in one order,
// whoever does it. The gradient of a weight is a sum over all rows of the block, one thread's again: weights come in
// units, runs of a panel (mlp_tile.hpp), which go to whichever thread is free. So the result is the same bit for bit on
// any number of threads, and no gradient is ever kept twice.
#pragma once

#include <cstdint>
#include <vector>

#include "adam.hpp"
#include "aligned.hpp"
#include "dropout.hpp"
#include "mlp.hpp"

namespace anyfm {

class MlpTrainer {
 public:
  static constexpr int kRows = 6;  // of a tile: what goes both ways at a time is best a multiple of it

  // sizes: the number of inputs, then of each hidden layer's neurons; at most `most_rows` rows to a block.
  MlpTrainer(const std::vector<int64_t>& sizes, Activation activation, int64_t most_rows);

  enum Line { kValues, kFirst, kSecond, kLines };  // the numbers, and Adam's two moments

  // How many numbers the perceptron has, in the order W_0, b_0, W_1, b_1, …, u; W_l as (inputs, outputs).
  int64_t size() const;
  // All of them, in that order.
  void read(Line line, float* to) const;
  void write(Line line, const float* from);
  int64_t steps() const { return steps_; }
  void set_steps(int64_t steps) { steps_ = steps; }
  Dropout& dropout() { return dropout_; }

  // The scoring form; inputs there are `unit` times these.
  Mlp scorer(float unit) const;

  // The inputs of row i of the block, to be written before `forward`, and their derivatives after `backward`.
  float* inputs(int64_t i) { return inputs_.get() + i * input_stride_; }
  const float* dinputs(int64_t i) const { return dinputs_.get() + i * input_stride_; }

  // Adds the perceptron's logit to those of rows begin … end − 1, of which row i is row order[i] of the data.
  void forward(int64_t begin, int64_t end, const int64_t* order, float* logits);
  // From the derivatives of the loss by the logits to those by all that the rows' neurons hold.
  void backward(int64_t begin, int64_t end, const float* dlogit);

  int64_t n_units() const { return static_cast<int64_t>(units_.size()); }
  // The gradient of one unit over n_rows rows, added to what is there unless this is the first block of a batch. All
  // rows must have gone both ways.
  void gradient(int64_t unit, int64_t n_rows, const float* dlogit, bool is_first);
  // The next step of Adam along the mean gradient over rows of summed weight `weight`, cut to Euclidean norm 1; hidden
  // weights shrink by learning_rate · decay. All units must have their gradient.
  struct Step {
    AdamStep adam;
    float share, keep;  // of the gradient, of a hidden weight
  };
  Step next_step(double weight, float learning_rate, float decay) const;
  // That step for one unit.
  void step(int64_t unit, const Step& step);
  // To be called by one thread when all units have stepped.
  void end_step() { ++steps_; }

 private:
  // Weights lie in panels of columns, (panels, n_in + 1, panel width), the bias being the weights of an input that is
  // always 1.
  struct Layer {
    int64_t n_in, n_out, panels;
    AlignedFloats lines[kLines], gradient;
    AlignedFloats transposed;  // without the bias: (panels of inputs, n_out, panel width)
    AlignedFloats out, dout;   // (rows, stride): neurons, then a 1; derivatives by what they were before φ
    AlignedFloats kept;        // dropout: 0 or 1 / (1 − rate), (rows, stride)
    int64_t stride;
    int64_t numbers() const;
  };
  struct Unit {
    int layer;  // −1: the output's weights
    int64_t panel, begin, end;
  };

  const float* below(const Layer& layer) const {
    return &layer == layers_.data() ? inputs_.get() : (&layer - 1)->out.get();
  }
  int64_t stride_below(const Layer& layer) const {
    return &layer == layers_.data() ? input_stride_ : (&layer - 1)->stride;
  }
  void transpose(Layer& layer, int64_t panel, int64_t begin, int64_t end);
  // Calls f(x) for every number of a line, in the order of `read`.
  template <class Self, class F>
  static void each(Self& self, Line line, F&& f);

  const Activation activation_;
  std::vector<Layer> layers_;
  AlignedFloats inputs_, dinputs_, zeros_;
  int64_t input_stride_;
  AlignedFloats output_[kLines], output_gradient_;  // of u, padded with zeros
  std::vector<Unit> units_;
  std::vector<double> squares_;  // of each unit's gradient
  Dropout dropout_;
  int64_t steps_ = 0;
};

}  // namespace anyfm

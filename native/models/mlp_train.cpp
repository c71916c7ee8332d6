// Compiled with multiply-adds contracted (CMakeLists.txt); hence a file apart.
#include "models/mlp_train.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "models/mlp_tile.hpp"

namespace anyfm {

using mlp::kPanel, mlp::padded_to_panels, mlp::V;

namespace {

static_assert(MlpTrainer::kRows == mlp::kTall);
constexpr int64_t kSliceRows = 16 * mlp::kTall;

// Floats from one row to the next where a row holds n numbers and a 1: whole lines, an odd number of them, so that a
// column's numbers do not all meet in a few sets of the cache.
int64_t stride_for(int64_t n) {
  constexpr int64_t kLine = 16;
  const int64_t lines = (std::max(padded_to_panels(n), n + 1) + kLine - 1) / kLine;
  return (lines + 1 - lines % 2) * kLine;
}

AlignedFloats block_of(int64_t n_rows, int64_t n) {
  const int64_t stride = stride_for(n);
  AlignedFloats block = aligned_zeros(n_rows * stride);
  for (int64_t i = 0; i < n_rows; ++i) block.get()[i * stride + n] = 1;
  return block;
}

// dx *= φ'(x before φ), from g = φ(x before φ) times the mask of dropout (absent: all ones).
void times_derivative(Activation activation, const float* g, const float* mask, float* dx, int64_t n) {
  if (mask)
    for (int64_t i = 0; i < n; ++i) dx[i] *= mask[i];
  if (activation == Activation::kRelu) {
    for (int64_t i = 0; i < n; i += kLanes) where_positive(V::load(g + i), V::load(dx + i)).store(dx + i);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float y = mask && mask[i] > 0 ? g[i] / mask[i] : g[i];
    dx[i] *= activation == Activation::kTanh ? 1 - y * y : y * (1 - y);
  }
}

}  // namespace

MlpTrainer::MlpTrainer(const MlpShape& shape, int64_t most_rows)
    : shape_(shape),
      lines_{MlpNumbers(shape), MlpNumbers(shape), MlpNumbers(shape)},
      gradient_(shape),
      inputs_(block_of(most_rows, shape.n_in(0))),
      dinputs_(aligned_zeros(most_rows * stride_for(shape.n_in(0)))),
      zeros_(aligned_zeros(kPanel)),
      input_stride_(stride_for(shape.n_in(0))) {
  for (size_t l = 0; l < shape.n_layers(); ++l) {
    Layer layer{};
    layer.n_in = shape.n_in(l);
    layer.n_out = shape.n_out(l);
    layer.panels = padded_to_panels(layer.n_out) / kPanel;
    layer.stride = stride_for(layer.n_out);
    layer.transposed = aligned_zeros(padded_to_panels(layer.n_in) * layer.n_out);
    layer.out = block_of(most_rows, layer.n_out);
    layer.dout = aligned_zeros(most_rows * layer.stride);
    layer.mask = aligned_zeros(most_rows * layer.stride);
    // Panel by panel within a run of inputs, whose numbers then stay in the second cache.
    for (int64_t begin = 0; begin <= layer.n_in; begin += kSliceRows)
      for (int64_t panel = 0; panel < layer.panels; ++panel)
        slices_.push_back({static_cast<int>(l), panel, begin, std::min(begin + kSliceRows, layer.n_in + 1)});
    layers_.push_back(std::move(layer));
  }
  slices_.push_back({-1, 0, 0, 0});
  squares_.resize(slices_.size());
}

void MlpTrainer::write(Line line, const float* from) {
  lines_[line].write(shape_, from);
  if (line != kValues) return;
  for (size_t l = 0; l < layers_.size(); ++l)
    for (int64_t panel = 0; panel < layers_[l].panels; ++panel) transpose(l, panel, 0, layers_[l].n_in);
}

void MlpTrainer::set_optimizer(const float* units, const float* l2, const float* decay) {
  const float unit = units[0], hidden_decay = decay[0];
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
  };
  const auto check_run = [&](int64_t n, float expected_unit, float expected_decay) {
    for (int64_t i = 0; i < n; ++i) {
      check(*units++ == expected_unit,
            "the perceptron has one unit for the weights of its first layer, 1 for the rest");
      check(*l2++ == 0, "the perceptron has no L2 penalty");
      check(*decay++ == expected_decay, "the perceptron has one decay for all hidden weights, 0 for the rest");
    }
  };
  for (size_t l = 0; l < layers_.size(); ++l) {
    check_run(layers_[l].n_in * layers_[l].n_out, l == 0 ? unit : 1.0f, hidden_decay);
    check_run(layers_[l].n_out, 1.0f, 0.0f);
  }
  check_run(shape_.sizes.back(), 1.0f, 0.0f);
  unit_ = unit;
  decay_ = hidden_decay;
}

void MlpTrainer::transpose(size_t l, int64_t panel, int64_t begin, int64_t end) {
  Layer& layer = layers_[l];
  const float* from = lines_[kValues].layers[l].get() + panel * (layer.n_in + 1) * kPanel;
  const int64_t n = std::min(kPanel, layer.n_out - panel * kPanel);
  for (int64_t i = begin; i < end; ++i) {
    float* to = layer.transposed.get() + (i / kPanel * layer.n_out + panel * kPanel) * kPanel + i % kPanel;
    for (int64_t j = 0; j < n; ++j) to[j * kPanel] = from[i * kPanel + j];
  }
}

void MlpTrainer::forward(int64_t begin, int64_t end, const int64_t* order, float* logits) {
  for (size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    const float* in = below(l);
    const int64_t in_stride = stride_below(l), stride = layer.stride;
    float* out = layer.out.get();
    for (int64_t panel = 0; panel < layer.panels; ++panel) {
      const float* weights = lines_[kValues].layers[l].get() + panel * (layer.n_in + 1) * kPanel;
      mlp::by_tiles(begin, end, [&](int64_t i, auto rows) {
        mlp::tile<rows.value>(in + i * in_stride, in_stride, 1, weights, kPanel, layer.n_in + 1, zeros_.get(), 0,
                              out + i * stride + panel * kPanel, stride);
      });
    }
    for (int64_t i = begin; i < end; ++i) {
      float* row = out + i * stride;
      mlp::activate(shape_.activation, row, layer.n_out);
      if (dropout_.rate > 0) {
        float* mask = layer.mask.get() + i * stride;
        fill_dropout_mask(mask, layer.n_out, dropout_.rate,
                          dropout_.random.bits(static_cast<uint64_t>(order[i]) * layers_.size() + l));
        for (int64_t j = 0; j < layer.n_out; ++j) row[j] *= mask[j];
      }
      row[layer.n_out] = 1;
    }
  }
  const Layer& last = layers_.back();
  for (int64_t i = begin; i < end; ++i) {
    const float* row = last.out.get() + i * last.stride;
    float total = 0;
    for (int64_t j = 0; j < last.n_out; ++j) total += row[j] * lines_[kValues].output.get()[j];
    logits[i] += total;
  }
}

void MlpTrainer::backward(int64_t begin, int64_t end, const float* dlogit) {
  Layer& last = layers_.back();
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < last.n_out; ++j)
      last.dout.get()[i * last.stride + j] = dlogit[i] * lines_[kValues].output.get()[j];
  for (size_t l = layers_.size(); l-- > 0;) {
    Layer& layer = layers_[l];
    const int64_t stride = layer.stride, below_stride = stride_below(l);
    float* dout = layer.dout.get();
    for (int64_t i = begin; i < end; ++i)
      times_derivative(shape_.activation, layer.out.get() + i * stride,
                       dropout_.rate > 0 ? layer.mask.get() + i * stride : nullptr, dout + i * stride, layer.n_out);
    float* dbelow = l == 0 ? dinputs_.get() : layers_[l - 1].dout.get();
    for (int64_t panel = 0; panel * kPanel < layer.n_in; ++panel) {
      const float* weights = layer.transposed.get() + panel * layer.n_out * kPanel;
      mlp::by_tiles(begin, end, [&](int64_t i, auto rows) {
        mlp::tile<rows.value>(dout + i * stride, stride, 1, weights, kPanel, layer.n_out, zeros_.get(), 0,
                              dbelow + i * below_stride + panel * kPanel, below_stride);
      });
    }
  }
}

void MlpTrainer::gradient(int64_t index, int64_t n_rows, const float* dlogit, bool is_first) {
  const Slice& slice = slices_[index];
  double squares = 0;
  const auto add_squares = [&](const float* g, int64_t n) {
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < n; i += kLanes)
      for (int c = 0; c < kLanes; ++c) lanes[c] += g[i + c] * g[i + c];
    for (const float lane : lanes) squares += static_cast<double>(lane);
  };
  if (slice.layer < 0) {
    const Layer& last = layers_.back();
    float* to = gradient_.output.get();
    if (is_first) std::fill(to, to + last.n_out, 0.0f);
    for (int64_t i = 0; i < n_rows; ++i)
      for (int64_t j = 0; j < last.n_out; ++j) to[j] += dlogit[i] * last.out.get()[i * last.stride + j];
    add_squares(to, padded_to_panels(last.n_out));
  } else {
    const size_t l = static_cast<size_t>(slice.layer);
    const Layer& layer = layers_[l];
    const float *in = below(l), *dout = layer.dout.get() + slice.panel * kPanel;
    const int64_t in_stride = stride_below(l);
    float* to = gradient_.layers[l].get() + slice.panel * (layer.n_in + 1) * kPanel;
    mlp::by_tiles(slice.begin, slice.end, [&](int64_t i, auto rows) {
      float* out = to + i * kPanel;
      mlp::tile<rows.value>(in + i, 1, in_stride, dout, layer.stride, n_rows, is_first ? zeros_.get() : out,
                            is_first ? 0 : kPanel, out, kPanel);
    });
    add_squares(to + slice.begin * kPanel, (slice.end - slice.begin) * kPanel);
  }
  squares_[index] = squares;
}

MlpTrainer::Step MlpTrainer::next_step(double weight, float learning_rate) const {
  double squares = 0;
  for (const double of_slice : squares_) squares += of_slice;
  const double norm = std::sqrt(squares) / weight;
  return {AdamStep(learning_rate, steps_ + 1), static_cast<float>(1 / (weight * std::max(norm, 1.0))),
          1 - learning_rate * decay_};
}

void MlpTrainer::step(int64_t index, const Step& step) {
  const Slice& slice = slices_[index];
  const auto adam = [&](float* value, float* first, float* second, const float* g, int64_t n) {
    for (int64_t i = 0; i < n; ++i)
      value[i] = step.adam.apply(value[i], first[i], second[i], g[i] * step.gradient_scale);
  };
  if (slice.layer < 0)
    return adam(lines_[kValues].output.get(), lines_[kFirst].output.get(), lines_[kSecond].output.get(),
                gradient_.output.get(), layers_.back().n_out);
  const size_t l = static_cast<size_t>(slice.layer);
  const Layer& layer = layers_[l];
  const int64_t begin = (slice.panel * (layer.n_in + 1) + slice.begin) * kPanel;
  const int64_t last = std::min(slice.end, layer.n_in);  // without the bias
  float* weights = lines_[kValues].layers[l].get() + begin;
  for (int64_t i = 0; i < (last - slice.begin) * kPanel; ++i) weights[i] *= step.shrink;
  adam(weights, lines_[kFirst].layers[l].get() + begin, lines_[kSecond].layers[l].get() + begin,
       gradient_.layers[l].get() + begin, (slice.end - slice.begin) * kPanel);
  transpose(l, slice.panel, slice.begin, last);
}

}  // namespace anyfm

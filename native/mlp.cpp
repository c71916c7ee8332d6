// Compiled with multiply-adds contracted (CMakeLists.txt); hence a file of its own.
#include "mlp.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "simd.hpp"

namespace anyfm {
namespace {

// A tile of kTall rows and one panel of outputs lives in the registers: kTall × kChunks sums, kChunks weights, one
// input.
constexpr int kChunks = kLanes == 16 ? 4 : 2;
constexpr int kTall = 6;
constexpr int64_t kPanel = kLanes * kChunks;
using V = Vec<kLanes>;

int64_t padded_to_panels(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

// out = bias + x W for kRows rows and one panel; x has rows of `x_stride` floats, out of `out_stride`.
template <int kRows>
ANYFM_INLINE void tile(const float* x, int64_t x_stride, const float* weights, int64_t n_in, const float* bias,
                       float* out, int64_t out_stride) {
  V sums[kRows][kChunks];
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kChunks; ++c) sums[r][c] = V::load(bias + c * kLanes);
  for (int64_t k = 0; k < n_in; ++k) {
    V w[kChunks];
    for (int c = 0; c < kChunks; ++c) w[c] = V::load(weights + k * kPanel + c * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const V input = V::splat(x[r * x_stride + k]);
      for (int c = 0; c < kChunks; ++c) sums[r][c] = sums[r][c] + input * w[c];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kChunks; ++c) sums[r][c].store(out + r * out_stride + c * kLanes);
}

void activate(Activation activation, float* x, int64_t n) {
  if (activation == Activation::kRelu) {
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] < 0 ? 0.0f : x[i];  // not a number stays what it is
  } else if (activation == Activation::kTanh) {
    for (int64_t i = 0; i < n; ++i) x[i] = std::tanh(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) x[i] = 0.5f * (1.0f + std::tanh(0.5f * x[i]));
  }
}

}  // namespace

void Mlp::add_layer(const float* weights, const float* bias, int64_t n_in, int64_t n_out) {
  Layer layer{n_in, n_out, padded_to_panels(n_out), {}, {}};
  layer.weights.assign(static_cast<size_t>(layer.padded * n_in), 0.0f);
  layer.bias.assign(static_cast<size_t>(layer.padded), 0.0f);
  for (int64_t k = 0; k < n_in; ++k)
    for (int64_t j = 0; j < n_out; ++j)
      layer.weights[(j / kPanel * n_in + k) * kPanel + j % kPanel] = weights[k * n_out + j];
  std::copy(bias, bias + n_out, layer.bias.begin());
  widest_ = std::max(widest_, layer.padded);
  layers_.push_back(std::move(layer));
}

void Mlp::set_output(const float* weights) {
  output_.assign(static_cast<size_t>(layers_.back().padded), 0.0f);
  std::copy(weights, weights + layers_.back().n_out, output_.begin());
}

void Mlp::add_logits(const float* inputs, int n_rows, float* scratch, float* logits) const {
  float *out = scratch, *other = scratch + n_rows * widest_;
  const float* x = inputs;
  int64_t x_stride = layers_.front().n_in;
  for (const Layer& layer : layers_) {
    for (int64_t first = 0; first < layer.padded; first += kPanel) {
      const float *weights = layer.weights.data() + first * layer.n_in, *bias = layer.bias.data() + first;
      int i = 0;
      for (; i + kTall <= n_rows; i += kTall)
        tile<kTall>(x + i * x_stride, x_stride, weights, layer.n_in, bias, out + i * layer.padded + first,
                    layer.padded);
      for (; i < n_rows; ++i)
        tile<1>(x + i * x_stride, x_stride, weights, layer.n_in, bias, out + i * layer.padded + first, layer.padded);
    }
    activate(activation_, out, n_rows * layer.padded);
    x = out;
    x_stride = layer.padded;
    std::swap(out, other);
  }
  for (int i = 0; i < n_rows; ++i) {
    V total = V::splat(0);
    for (size_t j = 0; j < output_.size(); j += kLanes)
      total = total + V::load(x + i * x_stride + j) * V::load(output_.data() + j);
    logits[i] += sum(total);
  }
}

}  // namespace anyfm

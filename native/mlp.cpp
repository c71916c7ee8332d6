// Compiled with multiply-adds contracted (CMakeLists.txt); hence a file of its own.
#include "mlp.hpp"

#include <algorithm>
#include <utility>

#include "mlp_tile.hpp"

namespace anyfm {

using mlp::kPanel, mlp::padded_to_panels, mlp::V;

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
      mlp::by_tiles(0, n_rows, [&](int64_t i, auto rows) {
        mlp::tile<rows.value>(x + i * x_stride, x_stride, 1, weights, kPanel, layer.n_in, bias, 0,
                              out + i * layer.padded + first, layer.padded);
      });
    }
    mlp::activate(activation_, out, n_rows * layer.padded);
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

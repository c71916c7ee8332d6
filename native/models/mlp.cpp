// Compiled with multiply-adds contracted (CMakeLists.txt); hence a file apart.
#include "models/mlp.hpp"

#include <algorithm>
#include <utility>

#include "models/mlp_tile.hpp"

namespace anyfm {

using mlp::kPanel, mlp::padded_to_panels, mlp::V;

namespace {

// Calls f(x) for each of the numbers, in the order of MlpShape::n_parameters.
template <class Numbers, class F>
void for_each_number(const MlpShape& shape, Numbers& numbers, F&& f) {
  for (size_t l = 0; l < shape.n_layers(); ++l)
    for (int64_t i = 0; i <= shape.n_in(l); ++i)
      for (int64_t j = 0; j < shape.n_out(l); ++j)
        f(numbers.layers[l].get()[(j / kPanel * (shape.n_in(l) + 1) + i) * kPanel + j % kPanel]);
  for (int64_t j = 0; j < shape.sizes.back(); ++j) f(numbers.output.get()[j]);
}

}  // namespace

int64_t MlpShape::n_parameters() const {
  if (n_layers() == 0) return 0;
  int64_t n = sizes.back();
  for (size_t l = 0; l < n_layers(); ++l) n += (n_in(l) + 1) * n_out(l);
  return n;
}

MlpNumbers::MlpNumbers(const MlpShape& shape) : output(aligned_zeros(padded_to_panels(shape.sizes.back()))) {
  for (size_t l = 0; l < shape.n_layers(); ++l)
    layers.push_back(aligned_zeros(padded_to_panels(shape.n_out(l)) * (shape.n_in(l) + 1)));
}

void MlpNumbers::read(const MlpShape& shape, float* to) const {
  for_each_number(shape, *this, [&](float x) { *to++ = x; });
}

void MlpNumbers::write(const MlpShape& shape, const float* from) {
  for_each_number(shape, *this, [&](float& x) { x = *from++; });
}

Mlp::Mlp(const MlpShape& shape, const float* values) : shape_(shape), numbers_(shape) {
  numbers_.write(shape, values);
  for (size_t l = 0; l < shape.n_layers(); ++l) widest_ = std::max(widest_, padded_to_panels(shape.n_out(l)));
}

void Mlp::add_logits(const float* inputs, int n_rows, float* scratch, float* logits) const {
  float *out = scratch, *other = scratch + n_rows * widest_;
  const float* x = inputs;
  int64_t x_stride = shape_.n_in(0);
  for (size_t l = 0; l < shape_.n_layers(); ++l) {
    const int64_t n_in = shape_.n_in(l), padded = padded_to_panels(shape_.n_out(l));
    for (int64_t first = 0; first < padded; first += kPanel) {
      const float *weights = numbers_.layers[l].get() + first * (n_in + 1), *bias = weights + n_in * kPanel;
      mlp::by_tiles(0, n_rows, [&](int64_t i, auto rows) {
        mlp::tile<rows.value>(x + i * x_stride, x_stride, 1, weights, kPanel, n_in, bias, 0, out + i * padded + first,
                              padded);
      });
    }
    mlp::activate(shape_.activation, out, n_rows * padded);
    x = out;
    x_stride = padded;
    std::swap(out, other);
  }
  const float* output = numbers_.output.get();
  for (int i = 0; i < n_rows; ++i) {
    V total = V::splat(0);
    for (int64_t j = 0; j < padded_to_panels(shape_.sizes.back()); j += kLanes)
      total = total + V::load(x + i * x_stride + j) * V::load(output + j);
    logits[i] += sum(total);
  }
}

}  // namespace anyfm

// Compiled with multiply-adds contracted (CMakeLists.txt); hence a file of its own.
#include "mlp_train.hpp"

#include <algorithm>
#include <cmath>

#include "mlp_tile.hpp"

namespace anyfm {

using mlp::kPanel, mlp::padded_to_panels, mlp::V;

namespace {

static_assert(MlpTrainer::kRows == mlp::kTall);
constexpr int64_t kUnitRows = 16 * mlp::kTall;

AlignedFloats zeros(int64_t n) {
  AlignedFloats made(n);
  std::fill(made.get(), made.get() + n, 0.0f);
  return made;
}

// Floats from one row to the next where a row holds n numbers and a 1: whole lines, an odd number of them, so that a
// column's numbers do not all meet in a few sets of the cache.
int64_t stride_for(int64_t n) {
  constexpr int64_t kLine = 16;
  const int64_t lines = (std::max(padded_to_panels(n), n + 1) + kLine - 1) / kLine;
  return (lines + 1 - lines % 2) * kLine;
}

AlignedFloats block_of(int64_t n_rows, int64_t n) {
  const int64_t stride = stride_for(n);
  AlignedFloats made = zeros(n_rows * stride);
  for (int64_t i = 0; i < n_rows; ++i) made.get()[i * stride + n] = 1;
  return made;
}

// dx *= φ'(x before φ), from g = φ(x before φ) times what dropout left of it, `kept` (absent: all of it).
void times_slope(Activation activation, const float* g, const float* kept, float* dx, int64_t n) {
  if (kept)
    for (int64_t i = 0; i < n; ++i) dx[i] *= kept[i];
  if (activation == Activation::kRelu) {
    for (int64_t i = 0; i < n; i += kLanes) where_positive(V::load(g + i), V::load(dx + i)).store(dx + i);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    const float y = kept && kept[i] > 0 ? g[i] / kept[i] : g[i];
    dx[i] *= activation == Activation::kTanh ? 1 - y * y : y * (1 - y);
  }
}

}  // namespace

int64_t MlpTrainer::Layer::numbers() const { return panels * (n_in + 1) * kPanel; }

MlpTrainer::MlpTrainer(const std::vector<int64_t>& sizes, Activation activation, int64_t most_rows)
    : activation_(activation),
      inputs_(block_of(most_rows, sizes[0])),
      dinputs_(zeros(most_rows * stride_for(sizes[0]))),
      zeros_(zeros(kPanel)),
      input_stride_(stride_for(sizes[0])) {
  for (size_t l = 0; l + 1 < sizes.size(); ++l) {
    Layer layer{};
    layer.n_in = sizes[l];
    layer.n_out = sizes[l + 1];
    layer.panels = padded_to_panels(layer.n_out) / kPanel;
    layer.stride = stride_for(layer.n_out);
    for (AlignedFloats& line : layer.lines) line = zeros(layer.numbers());
    layer.gradient = zeros(layer.numbers());
    layer.transposed = zeros(padded_to_panels(layer.n_in) * layer.n_out);
    layer.out = block_of(most_rows, layer.n_out);
    layer.dout = zeros(most_rows * layer.stride);
    layer.kept = zeros(most_rows * layer.stride);
    // Panel by panel within a run of inputs, whose numbers then stay in the second cache.
    for (int64_t begin = 0; begin <= layer.n_in; begin += kUnitRows)
      for (int64_t panel = 0; panel < layer.panels; ++panel)
        units_.push_back({static_cast<int>(l), panel, begin, std::min(begin + kUnitRows, layer.n_in + 1)});
    layers_.push_back(std::move(layer));
  }
  units_.push_back({-1, 0, 0, 0});
  squares_.resize(units_.size());
  for (AlignedFloats& line : output_) line = zeros(padded_to_panels(sizes.back()));
  output_gradient_ = zeros(padded_to_panels(sizes.back()));
}

int64_t MlpTrainer::size() const {
  int64_t n = layers_.back().n_out;
  for (const Layer& layer : layers_) n += (layer.n_in + 1) * layer.n_out;
  return n;
}

template <class Self, class F>
void MlpTrainer::each(Self& self, Line line, F&& f) {
  for (auto& layer : self.layers_)
    for (int64_t i = 0; i <= layer.n_in; ++i)
      for (int64_t j = 0; j < layer.n_out; ++j)
        f(layer.lines[line].get()[(j / kPanel * (layer.n_in + 1) + i) * kPanel + j % kPanel]);
  for (int64_t j = 0; j < self.layers_.back().n_out; ++j) f(self.output_[line].get()[j]);
}

void MlpTrainer::read(Line line, float* to) const {
  each(*this, line, [&](float x) { *to++ = x; });
}

void MlpTrainer::write(Line line, const float* from) {
  each(*this, line, [&](float& x) { x = *from++; });
  if (line != kValues) return;
  for (Layer& layer : layers_)
    for (int64_t panel = 0; panel < layer.panels; ++panel) transpose(layer, panel, 0, layer.n_in);
}

void MlpTrainer::transpose(Layer& layer, int64_t panel, int64_t begin, int64_t end) {
  const float* from = layer.lines[kValues].get() + panel * (layer.n_in + 1) * kPanel;
  const int64_t n = std::min(kPanel, layer.n_out - panel * kPanel);
  for (int64_t i = begin; i < end; ++i) {
    float* to = layer.transposed.get() + (i / kPanel * layer.n_out + panel * kPanel) * kPanel + i % kPanel;
    for (int64_t j = 0; j < n; ++j) to[j * kPanel] = from[i * kPanel + j];
  }
}

Mlp MlpTrainer::scorer(float unit) const {
  Mlp made(activation_);
  std::vector<float> numbers(static_cast<size_t>(size()));
  read(kValues, numbers.data());
  float* from = numbers.data();
  for (const Layer& layer : layers_) {
    const int64_t n_weights = layer.n_in * layer.n_out;
    if (&layer == layers_.data())
      for (int64_t i = 0; i < n_weights; ++i) from[i] *= unit;
    made.add_layer(from, from + n_weights, layer.n_in, layer.n_out);
    from += n_weights + layer.n_out;
  }
  made.set_output(from);
  return made;
}

void MlpTrainer::forward(int64_t begin, int64_t end, const int64_t* order, float* logits) {
  for (size_t l = 0; l < layers_.size(); ++l) {
    Layer& layer = layers_[l];
    const float* in = below(layer);
    const int64_t in_stride = stride_below(layer), stride = layer.stride;
    float* out = layer.out.get();
    for (int64_t panel = 0; panel < layer.panels; ++panel) {
      const float* weights = layer.lines[kValues].get() + panel * (layer.n_in + 1) * kPanel;
      mlp::by_tiles(begin, end, [&](int64_t i, auto rows) {
        mlp::tile<rows.value>(in + i * in_stride, in_stride, 1, weights, kPanel, layer.n_in + 1, zeros_.get(), 0,
                              out + i * stride + panel * kPanel, stride);
      });
    }
    for (int64_t i = begin; i < end; ++i) {
      float* row = out + i * stride;
      mlp::activate(activation_, row, layer.n_out);
      if (dropout_.rate > 0) {
        float* kept = layer.kept.get() + i * stride;
        fill_dropout_mask(kept, layer.n_out, dropout_.rate,
                          dropout_.random.bits(static_cast<uint64_t>(order[i]) * layers_.size() + l));
        for (int64_t j = 0; j < layer.n_out; ++j) row[j] *= kept[j];
      }
      row[layer.n_out] = 1;
    }
  }
  const Layer& last = layers_.back();
  for (int64_t i = begin; i < end; ++i) {
    const float* row = last.out.get() + i * last.stride;
    float total = 0;
    for (int64_t j = 0; j < last.n_out; ++j) total += row[j] * output_[kValues].get()[j];
    logits[i] += total;
  }
}

void MlpTrainer::backward(int64_t begin, int64_t end, const float* dlogit) {
  Layer& last = layers_.back();
  for (int64_t i = begin; i < end; ++i)
    for (int64_t j = 0; j < last.n_out; ++j)
      last.dout.get()[i * last.stride + j] = dlogit[i] * output_[kValues].get()[j];
  for (size_t l = layers_.size(); l-- > 0;) {
    Layer& layer = layers_[l];
    const int64_t stride = layer.stride, below_stride = stride_below(layer);
    float* dout = layer.dout.get();
    for (int64_t i = begin; i < end; ++i)
      times_slope(activation_, layer.out.get() + i * stride,
                  dropout_.rate > 0 ? layer.kept.get() + i * stride : nullptr, dout + i * stride, layer.n_out);
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

void MlpTrainer::gradient(int64_t u, int64_t n_rows, const float* dlogit, bool is_first) {
  const Unit& unit = units_[u];
  double squares = 0;
  const auto add_squares = [&](const float* g, int64_t n) {
    float lanes[kLanes] = {};
    for (int64_t i = 0; i < n; i += kLanes)
      for (int c = 0; c < kLanes; ++c) lanes[c] += g[i + c] * g[i + c];
    for (const float lane : lanes) squares += static_cast<double>(lane);
  };
  if (unit.layer < 0) {
    const Layer& last = layers_.back();
    float* to = output_gradient_.get();
    if (is_first) std::fill(to, to + last.n_out, 0.0f);
    for (int64_t i = 0; i < n_rows; ++i)
      for (int64_t j = 0; j < last.n_out; ++j) to[j] += dlogit[i] * last.out.get()[i * last.stride + j];
    add_squares(to, padded_to_panels(last.n_out));
  } else {
    Layer& layer = layers_[unit.layer];
    const float *in = below(layer), *dout = layer.dout.get() + unit.panel * kPanel;
    const int64_t in_stride = stride_below(layer);
    float* to = layer.gradient.get() + unit.panel * (layer.n_in + 1) * kPanel;
    mlp::by_tiles(unit.begin, unit.end, [&](int64_t i, auto rows) {
      float* out = to + i * kPanel;
      mlp::tile<rows.value>(in + i, 1, in_stride, dout, layer.stride, n_rows, is_first ? zeros_.get() : out,
                            is_first ? 0 : kPanel, out, kPanel);
    });
    add_squares(to + unit.begin * kPanel, (unit.end - unit.begin) * kPanel);
  }
  squares_[u] = squares;
}

MlpTrainer::Step MlpTrainer::next_step(double weight, float learning_rate, float decay) const {
  double squares = 0;
  for (const double of_unit : squares_) squares += of_unit;
  const double norm = std::sqrt(squares) / weight;
  return {AdamStep(learning_rate, steps_ + 1), static_cast<float>(1 / (weight * std::max(norm, 1.0))),
          1 - learning_rate * decay};
}

void MlpTrainer::step(int64_t u, const Step& step) {
  const Unit& unit = units_[u];
  const auto adam = [&](AlignedFloats* lines, const AlignedFloats& gradient, int64_t begin, int64_t n) {
    float *value = lines[kValues].get() + begin, *first = lines[kFirst].get() + begin;
    float* second = lines[kSecond].get() + begin;
    const float* g = gradient.get() + begin;
    for (int64_t i = 0; i < n; ++i) value[i] = step.adam.apply(value[i], first[i], second[i], g[i] * step.share);
  };
  if (unit.layer < 0) return adam(output_, output_gradient_, 0, layers_.back().n_out);
  Layer& layer = layers_[unit.layer];
  const int64_t begin = (unit.panel * (layer.n_in + 1) + unit.begin) * kPanel;
  const int64_t last = std::min(unit.end, layer.n_in);  // without the bias
  float* weights = layer.lines[kValues].get() + begin;
  for (int64_t i = 0; i < (last - unit.begin) * kPanel; ++i) weights[i] *= step.keep;
  adam(layer.lines, layer.gradient, begin, (unit.end - unit.begin) * kPanel);
  transpose(layer, unit.panel, unit.begin, last);
}

}  // namespace anyfm

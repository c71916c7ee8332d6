#include "base/random.hpp"

#include <algorithm>
#include <stdexcept>
#include <thread>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "optim/dropout.hpp"

namespace anyfm {
namespace {

void uniform(Out<> out, uint64_t seed, float low, float width, uint64_t offset) {
  constexpr int64_t kPerThread = int64_t{1} << 18;
  float* to = out.data();
  const int64_t n = size_of(out);
  const nb::gil_scoped_release release;
  const Random random(seed);
  const auto draw = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) to[i] = low + width * random.uniform(offset + static_cast<uint64_t>(i));
  };
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  const int64_t n_threads = std::max<int64_t>(1, std::min(cores, n / kPerThread));
  std::vector<std::thread> others;
  for (int64_t t = 1; t < n_threads; ++t) others.emplace_back(draw, n * t / n_threads, n * (t + 1) / n_threads);
  draw(0, n / n_threads);
  for (std::thread& other : others) other.join();
}

void normals(Out<2> out, const In<int64_t>& ids, uint64_t seed, uint64_t stream) {
  const int64_t n = size_of(ids), width = static_cast<int64_t>(out.shape(1));
  if (static_cast<int64_t>(out.shape(0)) != n) throw std::invalid_argument("one row of numbers for each id");
  float* to = out.data();
  const int64_t* id = ids.data();
  const nb::gil_scoped_release release;
  const Random random(seed, stream);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t k = 0; k < width; ++k)
      to[i * width + k] = random.normal(static_cast<uint64_t>(id[i]) * static_cast<uint64_t>(width) + k);
}

void dropout_mask(Out<> out, float rate, uint64_t seed) {
  if (!(rate >= 0 && rate < 1)) throw std::invalid_argument("a dropout rate must lie in [0, 1)");
  float* to = out.data();
  const int64_t n = size_of(out);
  const nb::gil_scoped_release release;
  fill_dropout_mask(to, n, rate, seed);
}

}  // namespace

void bind_random(nb::module_& m) {
  using nb::arg;
  // Numbers offset, offset + 1, … of the stream of `seed`, even in [low, low + width).
  m.def("uniform", &uniform, arg("out").noconvert(), arg("seed"), arg("low"), arg("width"), arg("offset"));
  // N(0, 1): row i holds numbers ids[i] · width, ids[i] · width + 1, … of the stream.
  m.def("normals", &normals, arg("out").noconvert(), arg("ids"), arg("seed"), arg("stream"));
  m.def("dropout_mask", &dropout_mask, arg("out").noconvert(), arg("rate"), arg("seed"));
}

}  // namespace anyfm

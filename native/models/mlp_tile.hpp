// The matrix product of the perceptron: one tile of outputs held in registers. Included only by files compiled with
// multiply-adds contracted (CMakeLists.txt).
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "base/simd.hpp"
#include "models/mlp.hpp"

namespace anyfm::mlp {

// A tile of kTall rows and one panel of columns lives in the registers: kTall × kChunks sums, kChunks numbers of the
// right factor, one of the left.
constexpr int kChunks = kLanes == 16 ? 4 : 2;
constexpr int kTall = 6;
constexpr int64_t kPanel = kLanes * kChunks;
using V = Vec<kLanes>;

inline int64_t padded_to_panels(int64_t n) { return (n + kPanel - 1) / kPanel * kPanel; }

// out(r, c) = start(r, c) + Σ_k a(r, k) b(k, c) for kRows rows and one panel of columns, the terms added up one by one.
// Numbers of a are `a_row` apart from row to row and `a_k` from term to term; lines of b, start and out are so many
// floats apart.
template <int kRows>
ANYFM_INLINE void tile(const float* a, int64_t a_row, int64_t a_k, const float* b, int64_t b_stride, int64_t n,
                       const float* start, int64_t start_stride, float* out, int64_t out_stride) {
  V sums[kRows][kChunks];
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kChunks; ++c) sums[r][c] = V::load(start + r * start_stride + c * kLanes);
  for (int64_t k = 0; k < n; ++k) {
    V right[kChunks];
    for (int c = 0; c < kChunks; ++c) right[c] = V::load(b + k * b_stride + c * kLanes);
    for (int r = 0; r < kRows; ++r) {
      const V left = V::splat(a[r * a_row + k * a_k]);
      for (int c = 0; c < kChunks; ++c) sums[r][c] = sums[r][c] + left * right[c];
    }
  }
  for (int r = 0; r < kRows; ++r)
    for (int c = 0; c < kChunks; ++c) sums[r][c].store(out + r * out_stride + c * kLanes);
}

// Calls f(first, number of rows as a constant) for tiles that cover rows first … last − 1.
template <class F>
ANYFM_INLINE void by_tiles(int64_t first, int64_t last, F&& f) {
  for (; first + kTall <= last; first += kTall) f(first, std::integral_constant<int, kTall>());
  if (first + 3 <= last) f(first, std::integral_constant<int, 3>()), first += 3;
  for (; first < last; ++first) f(first, std::integral_constant<int, 1>());
}

inline void activate(Activation activation, float* x, int64_t n) {
  if (activation == Activation::kRelu) {
    for (int64_t i = 0; i < n; ++i) x[i] = x[i] < 0 ? 0.0f : x[i];  // not a number stays what it is
  } else if (activation == Activation::kTanh) {
    for (int64_t i = 0; i < n; ++i) x[i] = std::tanh(x[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) x[i] = 0.5f * (1.0f + std::tanh(0.5f * x[i]));
  }
}

}  // namespace anyfm::mlp

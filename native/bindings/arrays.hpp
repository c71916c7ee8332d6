// The kinds of arrays that the bindings take: dtype, number of dimensions and contiguity are checked by the signatures.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <cstdint>
#include <optional>

namespace anyfm {

namespace nb = nanobind;

template <class T, int N = 1>
using In = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <class T, int N = 1>
using MaybeIn = std::optional<In<T, N>>;
template <int N = 1>
using Out = nb::ndarray<float, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

template <class Array>
int64_t size_of(const Array& array) {
  return static_cast<int64_t>(array.size());
}
template <class Array>
bool has_size(const std::optional<Array>& array, int64_t n) {
  return !array || size_of(*array) == n;
}

}  // namespace anyfm

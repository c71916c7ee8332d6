#include <nanobind/stl/pair.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "ranking/shortlist.hpp"

namespace anyfm {
namespace {

template <class T>
using Result = nb::ndarray<nb::numpy, T, nb::ndim<1>>;

template <class T>
Result<T> as_array(std::vector<T> values) {
  auto owned = std::make_unique<std::vector<T>>(std::move(values));
  const nb::capsule owner(owned.get(), [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  std::vector<T>* kept = owned.release();
  return Result<T>(kept->data(), {kept->size()}, owner);
}

std::pair<Result<int64_t>, Result<int32_t>> shortlist(const In<float, 3>& blocks, int64_t n_items,
                                                      const In<float, 2>& queries, const In<float>& margins, int64_t k,
                                                      const In<int64_t>& skip_offsets, const In<int32_t>& skip,
                                                      int n_threads) {
  const int64_t n_queries = static_cast<int64_t>(queries.shape(0)), n_skip = size_of(skip);
  const int64_t* first = skip_offsets.data();
  if (blocks.shape(2) != kItems || n_items < 0 || (n_items + kItems - 1) / kItems != int64_t(blocks.shape(0)) ||
      n_items > std::numeric_limits<int32_t>::max() || queries.shape(1) != blocks.shape(1))
    throw std::invalid_argument("blocks must be (n_items / 16, n_dimensions, 16), queries (n_queries, n_dimensions)");
  if (k < 1 || size_of(margins) != n_queries || size_of(skip_offsets) != n_queries + 1)
    throw std::invalid_argument("k must be positive, and margins and skip_offsets must fit the queries");
  if (first[0] != 0 || first[n_queries] != n_skip || !std::is_sorted(first, first + n_queries + 1))
    throw std::invalid_argument("skip_offsets must ascend from 0 to the length of skip");
  std::vector<std::vector<int32_t>> found;
  std::vector<int64_t> offsets{0};
  std::vector<int32_t> positions;
  {
    const nb::gil_scoped_release release;
    const ItemBlocks items{blocks.data(), n_items, static_cast<int64_t>(blocks.shape(1))};
    found = shortlists(items, queries.data(), n_queries, margins.data(), std::min(k, std::max<int64_t>(n_items, 1)),
                       first, skip.data(), n_threads);
    for (const std::vector<int32_t>& one : found) {
      positions.insert(positions.end(), one.begin(), one.end());
      offsets.push_back(static_cast<int64_t>(positions.size()));
    }
  }
  return {as_array(std::move(offsets)), as_array(std::move(positions))};
}

}  // namespace

void bind_ranking(nb::module_& m) {
  using nb::arg;
  m.attr("items_per_block") = kItems;
  m.def("shortlist", &shortlist, arg("blocks"), arg("n_items"), arg("queries"), arg("margins"), arg("k"),
        arg("skip_offsets"), arg("skip"), arg("n_threads"));
}

}  // namespace anyfm

#include "bindings/rows.hpp"

#include <algorithm>
#include <stdexcept>

#include "base/row_fields.hpp"
#include "bindings/bindings.hpp"

namespace anyfm {

Rows view_rows(const In<int32_t>& ids, int64_t n_rows, const MaybeIn<int64_t>& offsets, const MaybeIn<float>& values,
               const MaybeIn<int32_t>& fields, const MaybeIn<float>& y, const MaybeIn<float>& weight) {
  Rows rows;
  rows.ids = ids.data();
  rows.n_rows = n_rows;
  rows.n_entries = size_of(ids);
  rows.n_slots = offsets || n_rows == 0 ? 0 : rows.n_entries / n_rows;
  rows.offsets = offsets ? offsets->data() : nullptr;
  rows.values = values ? values->data() : nullptr;
  rows.fields = fields ? fields->data() : nullptr;
  rows.y = y ? y->data() : nullptr;
  rows.weight = weight ? weight->data() : nullptr;
  if (n_rows < 0 || !has_size(offsets, n_rows + 1) || !has_size(values, rows.n_entries) ||
      !has_size(fields, offsets ? rows.n_entries : rows.n_slots) || !has_size(y, n_rows) || !has_size(weight, n_rows) ||
      (!offsets && rows.n_slots * n_rows != rows.n_entries))
    throw std::invalid_argument("the arrays of the rows do not fit together");
  return rows;
}

namespace {

BoundRows* bind(const In<int32_t>& ids, int64_t n_rows, const MaybeIn<int64_t>& offsets, const MaybeIn<float>& values,
                const MaybeIn<int32_t>& fields, const MaybeIn<float>& y, const MaybeIn<float>& weight,
                int64_t n_features, int n_owners, int n_fields) {
  Rows rows = view_rows(ids, n_rows, offsets, values, fields, y, weight);
  if (n_owners < 1) throw std::invalid_argument("n_owners must be at least 1");
  const nb::gil_scoped_release release;
  if (rows.offsets) {
    if (rows.offsets[0] != 0 || rows.offsets[n_rows] != rows.n_entries)
      throw std::invalid_argument("offsets must run from 0 to the number of entries");
    for (int64_t i = 0; i < n_rows; ++i)
      if (rows.offsets[i] > rows.offsets[i + 1]) throw std::invalid_argument("offsets must ascend");
  }
  int32_t low = 0, high = -1;
  for (int64_t e = 0; e < rows.n_entries; ++e) {
    low = std::min(low, rows.ids[e]);
    high = std::max(high, rows.ids[e]);
  }
  if (low < 0 || high >= n_features) throw std::out_of_range("feature id out of bounds");
  if (n_fields > 0) {
    check_fields(rows, n_fields);
    rows.one_field_each = n_owners == 1 || one_field_each(rows, n_features);
  }
  return new BoundRows{rows, n_features, n_fields, n_owners, Ownership(rows, n_owners)};
}

}  // namespace

void bind_rows(nb::module_& m) {
  using nb::arg;
  nb::class_<BoundRows>(m, "BoundRows")
      .def_static("make", &bind, nb::rv_policy::take_ownership, arg("ids"), arg("n_rows"), arg("offsets").none(),
                  arg("values").none(), arg("fields").none(), arg("y").none(), arg("weight").none(), arg("n_features"),
                  arg("n_owners"), arg("n_fields") = 0, nb::keep_alive<0, 1>(), nb::keep_alive<0, 3>(),
                  nb::keep_alive<0, 4>(), nb::keep_alive<0, 5>(), nb::keep_alive<0, 6>(), nb::keep_alive<0, 7>());
}

}  // namespace anyfm

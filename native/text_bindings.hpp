// Python's view of text.hpp and text_writer.hpp.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <cstdlib>
#include <stdexcept>

#include "text.hpp"
#include "text_writer.hpp"

namespace anyfm {

namespace nb = nanobind;

namespace text_bindings {

template <class T>
using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using MaybeIn = std::optional<In<T>>;

// An array that Python owns from now on.
template <class T>
nb::object handed_over(Grown<T>& array) {
  const size_t shape[1] = {static_cast<size_t>(array.size())};
  T* const data = array.release();
  nb::capsule owner(data, [](void* p) noexcept { std::free(p); });
  return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(data, 1, shape, owner));
}

// None, or (part, line, column, what came).
inline nb::object described(const std::optional<TextFault>& fault) {
  if (!fault) return nb::none();
  static const char* const parts[] = {"label", "field", "id", "value"};
  return nb::make_tuple(parts[static_cast<int>(fault->part)], fault->line, fault->column,
                        nb::bytes(fault->came.data(), fault->came.size()));
}

inline TextParser* make(bool fields, bool binary, bool drop_unseen, int64_t max_id, int64_t max_field, int n_threads,
                        int64_t piece_bytes) {
  if (max_id < -1 || max_id > kLargestId || max_field < -1 || max_field > kLargestId || n_threads < 1 ||
      n_threads > 1024 || piece_bytes < 1)
    throw std::invalid_argument("the limits of the parser are out of range");
  return new TextParser({fields, binary, drop_unseen, max_id, max_field, piece_bytes}, n_threads);
}

inline nb::object feed(TextParser& parser, In<uint8_t> block) {
  std::optional<TextFault> fault;
  {
    nb::gil_scoped_release release;
    fault = parser.feed(reinterpret_cast<const char*>(block.data()), static_cast<int64_t>(block.size()));
  }
  return described(fault);
}

// What was read, as a dict; the parser is empty afterwards.
inline nb::dict finish(TextParser& parser) {
  nb::dict result;
  result["n_shared_ids"] = [&] {
    nb::gil_scoped_release release;
    return parser.count_shared_ids();
  }();
  result["n_blank_lines"] = parser.n_blank();
  result["n_dropped"] = parser.n_dropped();
  result["max_id"] = parser.max_id();
  result["max_field"] = parser.max_field();
  result["n_slots"] = parser.uniform() ? nb::cast(parser.pattern().size()) : nb::none();
  result["pattern"] = nb::none();
  if (parser.uniform()) {
    nb::list pattern;
    for (const int32_t field : parser.pattern()) pattern.append(field);
    result["pattern"] = pattern;
  }
  nb::list labels;
  for (int kind = 0; kind < kLabelKinds; ++kind) {
    const LabelSeen& seen = parser.label_seen(kind);
    labels.append(seen.line == 0 ? nb::object(nb::none()) : nb::make_tuple(seen.file, seen.line, seen.value));
  }
  result["labels"] = labels;
  result["fields"] = parser.with_fields() && !parser.uniform() ? handed_over(parser.fields) : nb::none();
  result["values"] = parser.all_ones() ? nb::object(nb::none()) : handed_over(parser.values);
  result["offsets"] = handed_over(parser.offsets);
  result["ids"] = handed_over(parser.ids);
  result["y"] = handed_over(parser.y);
  return result;
}

inline nb::bytes write(In<int32_t> ids, int64_t n_rows, MaybeIn<int64_t> offsets, MaybeIn<float> values,
                       MaybeIn<int32_t> fields, MaybeIn<float> y, int64_t first, int64_t last, bool with_fields) {
  Rows rows;
  rows.ids = ids.data();
  rows.n_rows = n_rows;
  rows.n_entries = static_cast<int64_t>(ids.size());
  rows.n_slots = offsets || n_rows == 0 ? 0 : rows.n_entries / n_rows;
  rows.offsets = offsets ? offsets->data() : nullptr;
  rows.values = values ? values->data() : nullptr;
  rows.fields = fields ? fields->data() : nullptr;
  rows.y = y ? y->data() : nullptr;
  const auto size_is = [](const auto& array, int64_t n) { return !array || static_cast<int64_t>(array->size()) == n; };
  if (first < 0 || last < first || n_rows < last || !size_is(offsets, n_rows + 1) || !size_is(values, rows.n_entries) ||
      !size_is(fields, offsets ? rows.n_entries : rows.n_slots) || !size_is(y, n_rows) ||
      (!offsets && rows.n_slots * n_rows != rows.n_entries))
    throw std::invalid_argument("the arrays of the rows do not fit together");
  if (rows.offsets)
    for (int64_t i = first; i < last; ++i)
      if (rows.offsets[i] < 0 || rows.offsets[i] > rows.offsets[i + 1] || rows.offsets[i + 1] > rows.n_entries)
        throw std::invalid_argument("offsets must ascend");
  std::string text;
  {
    nb::gil_scoped_release release;
    text = write_text(rows, first, last, with_fields);
  }
  return nb::bytes(text.data(), text.size());
}

}  // namespace text_bindings

inline void bind_text(nb::module_& m) {
  using nb::arg;
  nb::class_<TextParser>(m, "TextParser")
      .def_static("make", &text_bindings::make, nb::rv_policy::take_ownership, arg("fields"), arg("binary"),
                  arg("drop_unseen"), arg("max_id"), arg("max_field"), arg("n_threads"),
                  arg("piece_bytes") = int64_t{1} << 18)
      .def("feed", &text_bindings::feed, arg("block"))
      .def("end_file",
           [](TextParser& parser) {
             std::optional<TextFault> fault;
             {
               nb::gil_scoped_release release;
               fault = parser.end_file();
             }
             return text_bindings::described(fault);
           })
      .def("finish", &text_bindings::finish);
  m.def("write_text", &text_bindings::write, arg("ids"), arg("n_rows"), arg("offsets").none(), arg("values").none(),
        arg("fields").none(), arg("y").none(), arg("first"), arg("last"), arg("with_fields"));
}

}  // namespace anyfm

// Parser and writer of libsvm and libffm text.
#include <nanobind/ndarray.h>

#include <cstdlib>
#include <stdexcept>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/rows.hpp"
#include "text/parser.hpp"
#include "text/writer.hpp"

namespace anyfm {
namespace {

// An array that Python owns from now on.
template <class T>
nb::object handed_over(Grown<T>& array) {
  const size_t shape[1] = {static_cast<size_t>(array.size())};
  T* const data = array.release();
  nb::capsule owner(data, [](void* p) noexcept { std::free(p); });
  return nb::cast(nb::ndarray<nb::numpy, T, nb::ndim<1>>(data, 1, shape, owner));
}

// None, or (part, line, column, what came).
nb::object described(const std::optional<TextFault>& fault) {
  if (!fault) return nb::none();
  static const char* const parts[] = {"label", "field", "id", "value"};
  return nb::make_tuple(parts[static_cast<int>(fault->part)], fault->line, fault->column,
                        nb::bytes(fault->came.data(), fault->came.size()));
}

TextParser* make(bool fields, bool binary, bool drop_unseen, int64_t max_id, int64_t max_field, int n_threads,
                 int64_t piece_bytes) {
  if (max_id < -1 || max_id > kLargestId || max_field < -1 || max_field > kLargestId || n_threads < 1 ||
      n_threads > 1024 || piece_bytes < 1)
    throw std::invalid_argument("the limits of the parser are out of range");
  return new TextParser({fields, binary, drop_unseen, max_id, max_field, piece_bytes}, n_threads);
}

nb::object feed(TextParser& parser, In<uint8_t> block) {
  std::optional<TextFault> fault;
  {
    nb::gil_scoped_release release;
    fault = parser.feed(reinterpret_cast<const char*>(block.data()), static_cast<int64_t>(block.size()));
  }
  return described(fault);
}

// What was read, as a dict; the parser is empty afterwards.
nb::dict finish(TextParser& parser) {
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

nb::bytes write(const In<int32_t>& ids, int64_t n_rows, const MaybeIn<int64_t>& offsets, const MaybeIn<float>& values,
                const MaybeIn<int32_t>& fields, const MaybeIn<float>& y, int64_t first, int64_t last,
                bool with_fields) {
  const Rows rows = view_rows(ids, n_rows, offsets, values, fields, y, std::nullopt);
  if (first < 0 || last < first || n_rows < last)
    throw std::invalid_argument("the lines to write must lie in the rows");
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

}  // namespace

void bind_text(nb::module_& m) {
  using nb::arg;
  nb::class_<TextParser>(m, "TextParser")
      .def_static("make", &make, nb::rv_policy::take_ownership, arg("fields"), arg("binary"), arg("drop_unseen"),
                  arg("max_id"), arg("max_field"), arg("n_threads"), arg("piece_bytes") = int64_t{1} << 18)
      .def("feed", &feed, arg("block"))
      .def("end_file",
           [](TextParser& parser) {
             std::optional<TextFault> fault;
             {
               nb::gil_scoped_release release;
               fault = parser.end_file();
             }
             return described(fault);
           })
      .def("finish", &finish);
  m.def("write_text", &write, arg("ids"), arg("n_rows"), arg("offsets").none(), arg("values").none(),
        arg("fields").none(), arg("y").none(), arg("first"), arg("last"), arg("with_fields"));
}

}  // namespace anyfm

// Python bindings. Everything that comes in is checked here, once: dtype, shape and contiguity by the signatures,
// lengths and bounds below. The GIL is released around every computation.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>

#include "bindings_afm.hpp"
#include "bindings_deep.hpp"
#include "ffm_model.hpp"
#include "fm.hpp"
#include "linear.hpp"
#include "model.hpp"
#include "text_bindings.hpp"

namespace nb = nanobind;

namespace anyfm {
namespace {

template <class T>
using In = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <class T>
using MaybeIn = std::optional<In<T>>;

// Rows that were checked against a number of features, with the arrays they view kept alive by Python's side.
struct BoundRows {
  Rows rows;
  int64_t n_features;
  int n_fields;
  int n_owners;
  Ownership owners;

  static BoundRows* make(In<int32_t> ids, int64_t n_rows, MaybeIn<int64_t> offsets, MaybeIn<float> values,
                         MaybeIn<int32_t> fields, MaybeIn<float> y, MaybeIn<float> weight, int64_t n_features,
                         int n_owners, int n_fields) {
    Rows rows;
    rows.ids = ids.data();
    rows.n_rows = n_rows;
    rows.n_entries = static_cast<int64_t>(ids.size());
    rows.n_slots = offsets || n_rows == 0 ? 0 : rows.n_entries / n_rows;
    rows.offsets = offsets ? offsets->data() : nullptr;
    rows.values = values ? values->data() : nullptr;
    rows.fields = fields ? fields->data() : nullptr;
    rows.y = y ? y->data() : nullptr;
    rows.weight = weight ? weight->data() : nullptr;
    const auto size_is = [](const auto& array, int64_t n) {
      return !array || static_cast<int64_t>(array->size()) == n;
    };
    if (n_rows < 0 || n_owners < 1 || !size_is(offsets, n_rows + 1) || !size_is(values, rows.n_entries) ||
        !size_is(fields, offsets ? rows.n_entries : rows.n_slots) || !size_is(y, n_rows) || !size_is(weight, n_rows) ||
        (!offsets && rows.n_slots * n_rows != rows.n_entries))
      throw std::invalid_argument("the arrays of the rows do not fit together");
    nb::gil_scoped_release release;
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
};

void check_fit(AnyModel& model, const BoundRows& bound) {
  if (bound.n_features > model.table().n_records())
    throw std::invalid_argument("the rows were checked for more features than the model has");
  if (model.n_fields() > 0 && (bound.n_fields == 0 || bound.n_fields > model.n_fields()))
    throw std::invalid_argument("the rows were not checked for the fields of the model");
}

double step(AnyModel& model, const BoundRows& bound, In<int64_t> order, std::optional<std::pair<float, float>> range,
            float learning_rate, float crowding) {
  check_fit(model, bound);
  if (!bound.rows.y) throw std::invalid_argument("training needs rows with a target");
  if (bound.n_owners != model.n_threads()) throw std::invalid_argument("the rows were bound for other threads");
  const int64_t* first = order.data();
  const int64_t n = static_cast<int64_t>(order.size());
  nb::gil_scoped_release release;
  for (int64_t i = 0; i < n; ++i)
    if (first[i] < 0 || first[i] >= bound.rows.n_rows) throw std::out_of_range("row index out of bounds");
  const Loss loss = range ? Loss{true, range->first, range->second} : Loss{};
  return model.step(bound.rows, bound.owners, first, n, loss, Adagrad{learning_rate, crowding});
}

void logits(AnyModel& model, const BoundRows& bound, Out out, bool threaded) {
  check_fit(model, bound);
  if (static_cast<int64_t>(out.size()) != bound.rows.n_rows) throw std::invalid_argument("one logit per row");
  float* to = out.data();
  nb::gil_scoped_release release;
  model.logits(bound.rows, to, threaded);
}

// One row straight from its arrays: the short way of single-row scoring.
float logit(AnyModel& model, In<int32_t> ids, MaybeIn<float> values, MaybeIn<int32_t> fields) {
  const int64_t n = static_cast<int64_t>(ids.size());
  for (int64_t s = 0; s < n; ++s)
    if (ids.data()[s] < 0 || ids.data()[s] >= model.table().n_records())
      throw std::out_of_range("feature id out of bounds");
  if ((values && static_cast<int64_t>(values->size()) != n) || (fields && static_cast<int64_t>(fields->size()) != n))
    throw std::invalid_argument("values and fields must have the length of ids");
  Rows row;
  row.ids = ids.data();
  row.n_slots = n;
  row.values = values ? values->data() : nullptr;
  row.fields = fields ? fields->data() : nullptr;
  row.n_rows = 1;
  row.n_entries = n;
  if (model.n_fields() > 0) check_fields(row, model.n_fields());
  float z;
  model.logits(row, &z, false);
  return z;
}

// Sets the penalties of all features from the priors (group 0: linear weights, 1: factors), which are estimated anew
// first if asked for, and returns the λ of every field in every group.
std::vector<std::vector<double>> penalties(AnyModel& model, In<int32_t> field_of,
                                           std::vector<std::vector<double>> precisions, std::vector<double> guesses,
                                           std::vector<double> strengths, std::vector<std::pair<double, double>> bounds,
                                           std::vector<double> shares, double noise, float crowding, bool estimate) {
  const std::vector<PenaltyGroup> groups = model.penalty_groups();
  if (precisions.size() != groups.size() || guesses.size() != groups.size() || strengths.size() != groups.size() ||
      bounds.size() != groups.size() || shares.size() != groups.size())
    throw std::invalid_argument("one prior per penalty group");
  const size_t n_precisions = precisions[0].size();
  std::vector<Prior> priors;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (precisions[g].size() != n_precisions) throw std::invalid_argument("one precision per field");
    priors.push_back(
        {std::move(precisions[g]), guesses[g], strengths[g], bounds[g].first, bounds[g].second, shares[g]});
  }
  if (static_cast<int64_t>(field_of.size()) != model.table().n_records())
    throw std::invalid_argument("one field per feature");
  const int32_t* fields = field_of.data();
  const int64_t n_fields = static_cast<int64_t>(n_precisions);
  {
    nb::gil_scoped_release release;
    for (size_t j = 0; j < field_of.size(); ++j)
      if (fields[j] < 0 || fields[j] >= n_fields) throw std::out_of_range("no such field");
    Table& table = model.table();
    if (estimate)
      estimate_priors(table, groups, model.count_column(), fields, priors, noise, Adagrad{0, crowding}, model.pool());
    set_penalties(table, groups, model.count_column(), fields, priors, noise, model.pool());
  }
  for (size_t g = 0; g < groups.size(); ++g) precisions[g] = std::move(priors[g].precision);
  return precisions;
}

std::unique_ptr<AnyModel> make_linear(int64_t n_features, bool normalize, bool training, int n_threads) {
  return std::make_unique<ModelOf<Linear>>(n_threads, n_features, Adagrad{}, normalize, training);
}

template <int N, int C>
std::unique_ptr<AnyModel> make_fm_of(int64_t n_features, int n_factors, bool normalize, bool training, int n_threads) {
  return std::make_unique<ModelOf<Fm<N, C>>>(n_threads, n_features, n_factors, Adagrad{}, normalize, training);
}

std::unique_ptr<AnyModel> make_fm(int64_t n_features, int n_factors, bool normalize, bool training, int n_threads) {
  if (n_factors < 1 || n_factors > 256) throw std::invalid_argument("n_factors must be from 1 to 256");
  const auto make = n_factors <= 4    ? make_fm_of<4, 1>
                    : n_factors <= 8  ? make_fm_of<8, 1>
                    : n_factors <= 16 ? make_fm_of<16, 1>
                    : n_factors <= 32 ? make_fm_of<16, 2>
                                      : make_fm_of<16, 0>;
  return make(n_features, n_factors, normalize, training, n_threads);
}

// A table as an array of its records, which lives as long as the model.
nb::ndarray<nb::numpy, float, nb::ndim<2>> records(Table& table, nb::handle owner) {
  const size_t shape[2] = {static_cast<size_t>(table.n_records()), static_cast<size_t>(table.stride())};
  return {table.data(), 2, shape, owner};
}

std::unique_ptr<AnyFfm> make_ffm(int64_t n_features, int n_fields, int n_factors, bool normalize, bool linear,
                                 bool coordinates, bool training, int n_threads) {
  if (n_factors < 1 || n_factors > 256) throw std::invalid_argument("n_factors must be from 1 to 256");
  if (n_fields < 1) throw std::invalid_argument("n_fields must be at least 1");
  const FfmOptions options{n_fields, n_factors, normalize, linear, coordinates};
  if (n_factors <= 4) return std::make_unique<FfmOf<1>>(n_threads, n_features, options, training);
  if (n_factors <= 8) return std::make_unique<FfmOf<2>>(n_threads, n_features, options, training);
  return std::make_unique<FfmOf<0>>(n_threads, n_features, options, training);
}

using Cube = nb::ndarray<float, nb::ndim<3>, nb::c_contig, nb::device::cpu>;

void check_cube(AnyFfm& model, const Cube& cube, int64_t first) {
  if (first < 0 || first + static_cast<int64_t>(cube.shape(0)) > model.table().n_records() ||
      static_cast<int>(cube.shape(1)) != model.n_fields() || static_cast<int>(cube.shape(2)) != model.n_factors())
    throw std::invalid_argument("factors must have the shape (n_features, n_fields, n_factors)");
}

// The factors of features first, first + 1, …
void read_factors(AnyFfm& model, Cube to, int64_t first) {
  check_cube(model, to, first);
  nb::gil_scoped_release release;
  model.read_factors(to.data(), first, static_cast<int64_t>(to.shape(0)));
}

void write_factors(AnyFfm& model, Cube from, int64_t first) {
  check_cube(model, from, first);
  nb::gil_scoped_release release;
  model.write_factors(from.data(), first, static_cast<int64_t>(from.shape(0)));
}

// Draws the vectors' start and sets their accumulators; see FfmStart.
void start_ffm(AnyFfm& model, uint64_t seed, float low, float width, float accumulator, In<bool> drawn,
               In<int32_t> field_of, bool without_own) {
  const size_t n_features = static_cast<size_t>(model.table().n_records());
  if (drawn.size() != n_features || field_of.size() != n_features)
    throw std::invalid_argument("the start needs one entry per feature");
  const nb::gil_scoped_release released;
  model.start({Random(seed), low, width, accumulator, drawn.data(), field_of.data(), without_own});
}

// λ of each pair of fields, as `penalties`; accumulators have grown from `start` for `epochs` epochs.
std::vector<double> field_penalties(AnyFfm& model, In<int32_t> field_of, std::vector<double> precision, bool estimate,
                                    double guess, double strength, std::pair<double, double> bounds, double noise,
                                    double start, int epochs) {
  const size_t n_fields = static_cast<size_t>(model.n_fields());
  if (precision.size() != n_fields * n_fields) throw std::invalid_argument("one precision for each pair of fields");
  if (static_cast<int64_t>(field_of.size()) != model.table().n_records())
    throw std::invalid_argument("one field per feature");
  const int32_t* fields = field_of.data();
  nb::gil_scoped_release release;
  for (size_t j = 0; j < field_of.size(); ++j)
    if (fields[j] < 0 || fields[j] >= model.n_fields()) throw std::out_of_range("no such field");
  Prior prior{std::move(precision), guess, strength, bounds.first, bounds.second};
  model.field_penalties(fields, prior, noise, estimate, start, epochs);
  return prior.precision;
}

}  // namespace
}  // namespace anyfm

NB_MODULE(ANYFM_MODULE, m) {
  using namespace anyfm;
  using nb::arg;
  bind_text(m);
  nb::class_<BoundRows>(m, "BoundRows")
      .def_static("make", &BoundRows::make, nb::rv_policy::take_ownership, arg("ids"), arg("n_rows"),
                  arg("offsets").none(), arg("values").none(), arg("fields").none(), arg("y").none(),
                  arg("weight").none(), arg("n_features"), arg("n_owners"), arg("n_fields") = 0, nb::keep_alive<0, 1>(),
                  nb::keep_alive<0, 3>(), nb::keep_alive<0, 4>(), nb::keep_alive<0, 5>(), nb::keep_alive<0, 6>(),
                  nb::keep_alive<0, 7>());
  nb::class_<AnyModel>(m, "Model")
      .def_prop_ro("n_threads", &AnyModel::n_threads)
      .def_prop_ro("n_fields", &AnyModel::n_fields)
      .def_prop_ro("columns", &AnyModel::columns)
      .def_prop_ro("table", [](AnyModel& model) { return records(model.table(), nb::find(model)); })
      .def_prop_ro("bias",
                   [](AnyModel& model) {
                     const size_t shape[1] = {2};
                     return nb::ndarray<nb::numpy, float, nb::ndim<1>>(&model.bias().value, 1, shape, nb::find(model));
                   })
      .def("step", &step, arg("rows"), arg("order"), arg("range").none(), arg("learning_rate"), arg("crowding"))
      .def("penalties", &penalties, arg("field_of"), arg("precisions"), arg("guesses"), arg("strengths"), arg("bounds"),
           arg("shares"), arg("noise"), arg("crowding"), arg("estimate"))
      .def("logits", &logits, arg("rows"), arg("out"), arg("threaded"))
      .def("logit", &logit, arg("ids"), arg("values").none() = nb::none(), arg("fields").none() = nb::none());
  m.def("block_rows", &block_rows_for, arg("n_rows"));
  nb::class_<AnyFfm, AnyModel>(m, "FieldAwareModel")
      .def_prop_ro("sections", [](AnyFfm& model) { return records(model.sections(), nb::find(model)); })
      .def("start", &start_ffm, arg("seed"), arg("low"), arg("width"), arg("accumulator"), arg("drawn"),
           arg("field_of"), arg("without_own"))
      .def("read_factors", &read_factors, arg("to"), arg("first") = 0)
      .def("write_factors", &write_factors, arg("start").noconvert(), arg("first") = 0)
      .def("field_penalties", &field_penalties, arg("field_of"), arg("precision"), arg("estimate"), arg("guess"),
           arg("strength"), arg("bounds"), arg("noise"), arg("start"), arg("epochs"));
  m.def("ffm", &make_ffm, arg("n_features"), arg("n_fields"), arg("n_factors"), arg("normalize"), arg("linear"),
        arg("coordinates"), arg("training"), arg("n_threads"));
  m.def(
      "ffm_floats",
      [](int n_fields, int n_factors, bool coordinates, bool training) {
        return ffm_floats({n_fields, n_factors, false, true, coordinates}, training);
      },
      arg("n_fields"), arg("n_factors"), arg("coordinates"), arg("training"));
  bind_afm(m);
  bind_deep(m);
  m.def("linear", &make_linear, arg("n_features"), arg("normalize"), arg("training"), arg("n_threads"));
  m.def("fm", &make_fm, arg("n_features"), arg("n_factors"), arg("normalize"), arg("training"), arg("n_threads"));
}

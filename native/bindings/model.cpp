#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "base/row_fields.hpp"
#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/prior.hpp"
#include "bindings/rows.hpp"
#include "models/registry.hpp"

namespace anyfm {
namespace {

Options options_from(const nb::dict& dict) {
  std::map<std::string, Options::Value> values;
  for (const auto& [key, value] : dict) {
    const std::string name = nb::cast<std::string>(key);
    int64_t integer;
    std::vector<int64_t> integers;
    if (nb::isinstance<nb::bool_>(value))
      values.emplace(name, nb::cast<bool>(value));
    else if (nb::isinstance<nb::str>(value))
      values.emplace(name, nb::cast<std::string>(value));
    else if (nb::isinstance<nb::float_>(value))
      values.emplace(name, nb::cast<double>(value));
    else if (nb::try_cast(value, integer))
      values.emplace(name, integer);
    else if (nb::try_cast(value, integers))
      values.emplace(name, std::move(integers));
    else
      throw std::invalid_argument("the option " + name + " is of a type that no option has");
  }
  return Options(std::move(values));
}

std::unique_ptr<Model> make(const std::string& name, int64_t n_features, int n_fields, const nb::dict& options,
                            bool training, int n_threads) {
  return make_model(name, {n_features, n_fields, training, n_threads}, options_from(options));
}

// Those of a model without features.
int64_t record_floats(const std::string& name, int n_fields, const nb::dict& options, bool training) {
  return make(name, 0, n_fields, options, training, 1)->record_floats();
}

// ---- rows

void check_trained(const Model& model) {
  if (!model.training()) throw std::invalid_argument("the model was made for scoring only");
}

void check_fit(const Model& model, const BoundRows& bound) {
  if (bound.n_features > model.n_features())
    throw std::invalid_argument("the rows were checked for more features than the model has");
  if (model.n_fields() > 0 && (bound.n_fields == 0 || bound.n_fields > model.n_fields()))
    throw std::invalid_argument("the rows were not checked for the fields of the model");
}

double step(Model& model, const BoundRows& bound, const In<int64_t>& order, const std::string& loss_name,
            const std::optional<std::pair<float, float>>& range, float learning_rate, float crowding,
            float dense_learning_rate) {
  Loss loss = loss_named(loss_name);
  if (range) {
    loss.low = range->first;
    loss.high = range->second;
  }
  check_trained(model);
  check_fit(model, bound);
  if (!bound.rows.y) throw std::invalid_argument("training needs rows with a target");
  if (bound.n_owners != model.n_threads()) throw std::invalid_argument("the rows were bound for other threads");
  const int64_t* first = order.data();
  const int64_t n = size_of(order);
  const nb::gil_scoped_release release;
  for (int64_t i = 0; i < n; ++i)
    if (first[i] < 0 || first[i] >= bound.rows.n_rows) throw std::out_of_range("row index out of bounds");
  return model.step({bound.rows, bound.owners, first, n, loss, Adagrad{learning_rate, crowding}, dense_learning_rate});
}

void logits(Model& model, const BoundRows& bound, Out<> out, bool threaded) {
  check_fit(model, bound);
  if (size_of(out) != bound.rows.n_rows) throw std::invalid_argument("one logit per row");
  float* to = out.data();
  const nb::gil_scoped_release release;
  model.logits(bound.rows, to, threaded);
}

// One row straight from its arrays: the quickest path of single-row scoring.
float logit(Model& model, const In<int32_t>& ids, const MaybeIn<float>& values, const MaybeIn<int32_t>& fields) {
  const int64_t n = size_of(ids);
  for (int64_t s = 0; s < n; ++s)
    if (ids.data()[s] < 0 || ids.data()[s] >= model.n_features()) throw std::out_of_range("feature id out of bounds");
  if (!has_size(values, n) || !has_size(fields, n))
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

// ---- the parameters of the features

std::vector<std::tuple<std::string, int64_t, int64_t>> parameters(const Model& model) {
  std::vector<std::tuple<std::string, int64_t, int64_t>> all;
  for (const Parameter& parameter : model.parameters())
    all.emplace_back(parameter.name, parameter.width, parameter.n_vectors);
  return all;
}

// The place of a parameter, of which features first … first + n − 1 are to be read or written as (n, width).
size_t checked_parameter(const Model& model, const std::string& name, int64_t first, size_t n, size_t width) {
  const std::vector<Parameter> all = model.parameters();
  for (size_t p = 0; p < all.size(); ++p) {
    if (all[p].name != name) continue;
    if (static_cast<int64_t>(width) != all[p].width || first < 0 ||
        first + static_cast<int64_t>(n) > model.n_features())
      throw std::invalid_argument(name + " must have the shape (n_features, " + std::to_string(all[p].width) + ")");
    return p;
  }
  throw std::invalid_argument("the model has no parameter " + name + " of its features");
}

void read(Model& model, const std::string& name, Out<2> out, int64_t first) {
  const size_t parameter = checked_parameter(model, name, first, out.shape(0), out.shape(1));
  const nb::gil_scoped_release release;
  model.read(parameter, out.data(), first, static_cast<int64_t>(out.shape(0)));
}

void write(Model& model, const std::string& name, const In<float, 2>& array, int64_t first) {
  const size_t parameter = checked_parameter(model, name, first, array.shape(0), array.shape(1));
  const nb::gil_scoped_release release;
  model.write(parameter, array.data(), first, static_cast<int64_t>(array.shape(0)));
}

void read_accumulators(Model& model, const std::string& name, Out<2> out) {
  check_trained(model);
  const std::vector<Parameter> all = model.parameters();
  for (size_t p = 0; p < all.size(); ++p) {
    if (all[p].name != name) continue;
    if (static_cast<int64_t>(out.shape(0)) != model.n_features() ||
        static_cast<int64_t>(out.shape(1)) != all[p].n_vectors)
      throw std::invalid_argument("the accumulators of " + name + " have the shape (n_features, " +
                                  std::to_string(all[p].n_vectors) + ")");
    const nb::gil_scoped_release release;
    return model.read_accumulators(p, out.data());
  }
  throw std::invalid_argument("the model has no parameter " + name + " of its features");
}

void reset(Model& model, const In<float>& counts, const std::vector<double>& accumulators) {
  check_trained(model);
  if (size_of(counts) != model.n_features()) throw std::invalid_argument("one count per feature");
  if (accumulators.size() != model.parameters().size())
    throw std::invalid_argument("one start of the accumulators for each parameter");
  const nb::gil_scoped_release release;
  model.reset(counts.data(), accumulators);
}

void set_model_priors(Model& model, const In<int32_t>& field_of, const std::vector<Prior*>& priors, double dispersion,
                      float crowding, bool estimate, int n_epochs) {
  check_trained(model);
  int64_t n_vectors = 0;
  for (const Parameter& parameter : model.parameters()) n_vectors += parameter.n_vectors;
  set_priors(model, n_vectors, field_of, priors, dispersion, crowding, estimate, n_epochs);
}

// Views, which live as long as the model.
nb::ndarray<nb::numpy, float, nb::ndim<1>> bias(Model& model) {
  const size_t shape[1] = {2};
  return {&model.bias().value, 1, shape, nb::find(model)};
}

std::vector<nb::ndarray<nb::numpy, float, nb::ndim<2>>> tables(Model& model) {
  std::vector<nb::ndarray<nb::numpy, float, nb::ndim<2>>> views;
  for (Table* table : model.tables()) {
    const size_t shape[2] = {static_cast<size_t>(table->n_records()), static_cast<size_t>(table->stride())};
    views.emplace_back(table->data(), 2, shape, nb::find(model));
  }
  return views;
}

// ---- the dense parameters

int64_t n_dense(Model& model) { return model.dense() ? model.dense()->size() : 0; }

Dense::Line checked_line(Model& model, int line, int64_t n) {
  if (!model.dense()) throw std::invalid_argument("the model has no dense parameters");
  if (line != Dense::kValues) check_trained(model);
  if (line < 0 || line >= Dense::kLines) throw std::invalid_argument("line must be 0, 1 or 2");
  if (n != n_dense(model)) throw std::invalid_argument("one number for each dense parameter");
  return static_cast<Dense::Line>(line);
}

void read_dense(Model& model, int line, Out<> out) {
  const Dense::Line checked = checked_line(model, line, size_of(out));
  model.dense()->read(checked, out.data());
}

void write_dense(Model& model, int line, const In<float>& array) {
  model.write_dense(checked_line(model, line, size_of(array)), array.data());
}

int64_t dense_steps(Model& model) { return model.dense() ? model.dense()->steps() : 0; }

void set_dense_steps(Model& model, int64_t steps) {
  if (!model.dense()) throw std::invalid_argument("the model has no dense parameters");
  model.dense()->set_steps(steps);
}

void set_dense_optimizer(Model& model, const In<float>& units, const In<float>& l2, const In<float>& decay) {
  check_trained(model);
  for (const In<float>* array : {&units, &l2, &decay}) checked_line(model, Dense::kValues, size_of(*array));
  for (int64_t i = 0; i < n_dense(model); ++i)
    if (!(units.data()[i] > 0) || !(l2.data()[i] >= 0) || !(decay.data()[i] >= 0))
      throw std::invalid_argument("units must be positive, penalties and decays must not be negative");
  model.set_dense_optimizer(units.data(), l2.data(), decay.data());
}

void set_dropout(Model& model, float rate, uint64_t seed, uint64_t stream) {
  if (!(rate >= 0 && rate < 1)) throw std::invalid_argument("the dropout rate must lie in [0, 1)");
  model.set_dropout(rate, seed, stream);
}

}  // namespace

void bind_model(nb::module_& m) {
  using nb::arg;
  nb::class_<Model>(m, "Model")
      .def_prop_ro("n_threads", &Model::n_threads)
      .def_prop_ro("n_fields", &Model::n_fields)
      .def("step", &step, arg("rows"), arg("order"), arg("loss"), arg("range").none(), arg("learning_rate"),
           arg("crowding"), arg("dense_learning_rate"))
      .def("block_rows", &Model::block_rows, arg("n_rows"))
      .def("logits", &logits, arg("rows"), arg("out").noconvert(), arg("threaded"))
      .def("logit", &logit, arg("ids").noconvert(), arg("values").noconvert().none() = nb::none(),
           arg("fields").noconvert().none() = nb::none())
      .def_prop_ro("parameters", &parameters)
      .def_prop_ro("tables", &tables)
      .def_prop_ro("bias", &bias)
      .def("reset", &reset, arg("counts"), arg("accumulators"))
      .def("read", &read, arg("name"), arg("out").noconvert(), arg("first") = 0)
      .def("write", &write, arg("name"), arg("array"), arg("first") = 0)
      .def("read_accumulators", &read_accumulators, arg("name"), arg("out").noconvert())
      .def("set_priors", &set_model_priors, arg("field_of"), arg("priors"), arg("dispersion"), arg("crowding"),
           arg("estimate"), arg("n_epochs") = 0)
      .def_prop_ro("n_dense", &n_dense)
      .def("read_dense", &read_dense, arg("line"), arg("out").noconvert())
      .def("write_dense", &write_dense, arg("line"), arg("array"))
      .def_prop_rw("dense_steps", &dense_steps, &set_dense_steps)
      .def("set_dense_optimizer", &set_dense_optimizer, arg("units"), arg("l2"), arg("decay"))
      .def("set_dropout", &set_dropout, arg("rate"), arg("seed"), arg("stream"));
  m.def("make_model", &make, arg("name"), arg("n_features"), arg("n_fields"), arg("options"), arg("training"),
        arg("n_threads"));
  m.def("record_floats", &record_floats, arg("name"), arg("n_fields"), arg("options"), arg("training"));
  m.def("model_names", &model_names);
}

}  // namespace anyfm

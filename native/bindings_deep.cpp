#include "bindings_deep.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <limits>
#include <memory>
#include <optional>
#include <stdexcept>

#include "deepfm.hpp"
#include "dropout.hpp"
#include "sparse_store.hpp"

namespace nb = nanobind;

namespace anyfm {
namespace {

template <class T, int N>
using InOf = nb::ndarray<const T, nb::ndim<N>, nb::c_contig, nb::device::cpu>;
template <int N>
using OutOf = nb::ndarray<float, nb::ndim<N>, nb::c_contig, nb::device::cpu>;

// ---- DeepFM

std::unique_ptr<DeepFm> make_deepfm(int64_t n_features, int n_fields, int n_factors, const std::string& activation,
                                    std::vector<int64_t> hidden, bool training, int n_threads) {
  if (n_factors < 1 || n_factors > 256) throw std::invalid_argument("n_factors must be from 1 to 256");
  if (n_fields < 1) throw std::invalid_argument("n_fields must be at least 1");
  for (const int64_t size : hidden)
    if (size < 1) throw std::invalid_argument("a hidden layer must have a neuron");
  const Activation known = activation == "relu"      ? Activation::kRelu
                           : activation == "tanh"    ? Activation::kTanh
                           : activation == "sigmoid" ? Activation::kSigmoid
                                                     : throw std::invalid_argument("no such activation");
  return std::make_unique<DeepFm>(n_features, DeepOptions{n_fields, n_factors, known, std::move(hidden)}, training,
                                  n_threads);
}

void add_layer(DeepFm& model, InOf<float, 2> weights, InOf<float, 1> bias) {
  const int64_t n_in = static_cast<int64_t>(weights.shape(0)), n_out = static_cast<int64_t>(weights.shape(1));
  const int64_t expected = model.scorer().empty() ? model.n_inputs() : model.scorer().n_outputs();
  if (n_in != expected || static_cast<int64_t>(bias.shape(0)) != n_out || n_out < 1)
    throw std::invalid_argument("the layer does not fit the one before it");
  model.scorer().add_layer(weights.data(), bias.data(), n_in, n_out);
}

void set_output(DeepFm& model, InOf<float, 1> weights) {
  if (model.scorer().empty() || static_cast<int64_t>(weights.shape(0)) != model.scorer().n_outputs())
    throw std::invalid_argument("one output weight for each neuron of the last layer");
  model.scorer().set_output(weights.data());
}

MlpTrainer& trained(DeepFm& model) {
  if (!model.trainer()) throw std::invalid_argument("the model has no perceptron to train");
  return *model.trainer();
}

MlpTrainer::Line line_of(const std::string& name) {
  if (name == "values") return MlpTrainer::kValues;
  if (name == "first") return MlpTrainer::kFirst;
  if (name == "second") return MlpTrainer::kSecond;
  throw std::invalid_argument("no such line");
}

void read_perceptron(DeepFm& model, const std::string& line, OutOf<1> to) {
  const MlpTrainer& trainer = trained(model);
  if (static_cast<int64_t>(to.size()) != trainer.size()) throw std::invalid_argument("one number for each parameter");
  trainer.read(line_of(line), to.data());
}

void write_perceptron(DeepFm& model, const std::string& line, InOf<float, 1> from) {
  MlpTrainer& trainer = trained(model);
  if (static_cast<int64_t>(from.size()) != trainer.size()) throw std::invalid_argument("one number for each parameter");
  trainer.write(line_of(line), from.data());
}

void set_blocks(DeepFm& model, int block_rows, int64_t batch_rows) {
  if (block_rows < 1 || block_rows > kMostBlockRows || batch_rows < 1)
    throw std::invalid_argument("blocks must have from 1 to 256 rows, batches at least 1");
  model.settings().block_rows = block_rows;
  model.settings().batch_rows = batch_rows;
}

void set_deep_dropout(DeepFm& model, float rate, uint64_t seed, uint64_t stream) {
  if (!(rate >= 0 && rate < 1)) throw std::invalid_argument("the dropout rate must lie in [0, 1)");
  trained(model).dropout() = {rate, Random(seed, stream)};
}

void set_deep_step(DeepFm& model, float learning_rate, float decay) {
  model.settings().learning_rate = learning_rate;
  model.settings().decay = decay;
}

// ---- the table of the torch engine

struct BoundStore {
  OutOf<2> records;  // keeps the array alive
  SparseStore store;

  static BoundStore* make(OutOf<2> records, const std::vector<std::array<int64_t, 6>>& groups, int64_t count_column,
                          int n_threads) {
    const int64_t n = static_cast<int64_t>(records.shape(0)), stride = static_cast<int64_t>(records.shape(1));
    const auto inside = [&](int64_t first, int64_t count) {
      return first >= 0 && count >= 1 && first + count <= stride;
    };
    std::vector<StoreGroup> made;
    for (const std::array<int64_t, 6>& g : groups) {
      made.push_back({g[0], g[1], g[2], g[3], g[4], g[5]});
      if (g[1] < 1 || g[2] < 1 || !inside(g[0], g[1] * g[2]) || !inside(g[3], g[1]) || !inside(g[4], g[1]) ||
          !inside(g[5], g[1]))
        throw std::invalid_argument("the columns of a group must lie in the records");
    }
    if (!inside(count_column, 1) || n_threads < 1) throw std::invalid_argument("no such column");
    float* data = records.data();
    return new BoundStore{records, {data, n, stride, std::move(made), count_column, n_threads}};
  }
};

void check_ids(BoundStore& bound, const InOf<int32_t, 2>& ids) {
  const int64_t n = static_cast<int64_t>(ids.size()), n_features = bound.store.table().n_records();
  for (int64_t e = 0; e < n; ++e)
    if (ids.data()[e] >= n_features) throw std::out_of_range("feature id out of bounds");
}

void gather(BoundStore& bound, int group, InOf<int32_t, 2> ids, OutOf<3> out) {
  if (group < 0 || group >= static_cast<int>(bound.store.groups().size())) throw std::invalid_argument("no such group");
  if (out.shape(0) != ids.shape(0) || out.shape(1) != ids.shape(1) ||
      static_cast<int64_t>(out.shape(2)) != bound.store.groups()[group].width())
    throw std::invalid_argument("out must have the shape (n_rows, n_slots, width of the group)");
  const int32_t* from = ids.data();
  float* to = out.data();
  const int64_t n = static_cast<int64_t>(ids.size());
  nb::gil_scoped_release release;
  check_ids(bound, ids);
  bound.store.gather(group, from, n, to);
}

void update(BoundStore& bound, InOf<int32_t, 2> ids, const std::vector<std::optional<InOf<float, 3>>>& gradients,
            std::optional<InOf<float, 1>> weight, float learning_rate, float crowding) {
  const std::vector<StoreGroup>& groups = bound.store.groups();
  if (gradients.size() != groups.size()) throw std::invalid_argument("one array of gradients for each group");
  std::vector<const float*> from;
  for (size_t g = 0; g < groups.size(); ++g) {
    if (gradients[g] && (gradients[g]->shape(0) != ids.shape(0) || gradients[g]->shape(1) != ids.shape(1) ||
                         static_cast<int64_t>(gradients[g]->shape(2)) != groups[g].width()))
      throw std::invalid_argument("gradients must have the shape (n_rows, n_slots, width of the group)");
    from.push_back(gradients[g] ? gradients[g]->data() : nullptr);
  }
  if (weight && weight->shape(0) != ids.shape(0)) throw std::invalid_argument("one weight per row");
  if (ids.size() >= static_cast<size_t>(std::numeric_limits<int32_t>::max()))
    throw std::invalid_argument("a batch must have fewer than 2^31 entries");
  const int64_t n = static_cast<int64_t>(ids.size()), n_slots = static_cast<int64_t>(ids.shape(1));
  nb::gil_scoped_release release;
  check_ids(bound, ids);
  bound.store.update(ids.data(), n, n_slots, from, weight ? weight->data() : nullptr, Adagrad{learning_rate, crowding});
}

void dropout_mask(OutOf<1> out, float rate, uint64_t seed) {
  if (!(rate >= 0 && rate < 1)) throw std::invalid_argument("a dropout rate must lie in [0, 1)");
  float* to = out.data();
  const int64_t n = static_cast<int64_t>(out.size());
  nb::gil_scoped_release release;
  fill_dropout_mask(to, n, rate, seed);
}

// As `Model.penalties`, with a group for every vector.
std::vector<std::vector<double>> store_penalties(BoundStore& bound, InOf<int32_t, 1> field_of,
                                                 std::vector<std::vector<double>> precisions,
                                                 std::vector<double> guesses, std::vector<double> strengths,
                                                 std::vector<std::pair<double, double>> bounds,
                                                 std::vector<double> shares, double noise, float crowding,
                                                 bool estimate) {
  SparseStore& store = bound.store;
  const std::vector<PenaltyGroup> groups = store.penalty_groups();
  const size_t n = groups.size();
  if (precisions.size() != n || guesses.size() != n || strengths.size() != n || bounds.size() != n ||
      shares.size() != n)
    throw std::invalid_argument("one prior for each vector");
  const size_t n_fields = precisions[0].size();
  std::vector<Prior> priors;
  for (size_t g = 0; g < n; ++g) {
    if (precisions[g].size() != n_fields) throw std::invalid_argument("one precision per field");
    priors.push_back(
        {std::move(precisions[g]), guesses[g], strengths[g], bounds[g].first, bounds[g].second, shares[g]});
  }
  const int32_t* fields = field_of.data();
  if (static_cast<int64_t>(field_of.size()) != store.table().n_records())
    throw std::invalid_argument("one field per feature");
  {
    nb::gil_scoped_release release;
    for (size_t j = 0; j < field_of.size(); ++j)
      if (fields[j] < 0 || fields[j] >= static_cast<int64_t>(n_fields)) throw std::out_of_range("no such field");
    if (estimate)
      estimate_priors(store.table(), groups, store.count_column(), fields, priors, noise, Adagrad{0, crowding},
                      store.pool());
    set_penalties(store.table(), groups, store.count_column(), fields, priors, noise, store.pool());
  }
  for (size_t g = 0; g < n; ++g) precisions[g] = std::move(priors[g].precision);
  return precisions;
}

}  // namespace

void bind_deep(nb::module_& m) {
  using nb::arg;
  nb::class_<DeepFm, AnyModel>(m, "DeepModel")
      .def("add_layer", &add_layer, arg("weights"), arg("bias"))
      .def("set_output", &set_output, arg("weights"))
      // In training. The perceptron's numbers, W_0, b_0, W_1, … and u one after the other, of three lines: "values",
      // and Adam's moments "first" and "second".
      .def_prop_ro("perceptron_size", [](DeepFm& model) { return trained(model).size(); })
      .def("read_perceptron", &read_perceptron, arg("line"), arg("to").noconvert())
      .def("write_perceptron", &write_perceptron, arg("line"), arg("numbers").noconvert())
      .def_prop_rw(
          "perceptron_steps", [](DeepFm& model) { return trained(model).steps(); },
          [](DeepFm& model, int64_t steps) { trained(model).set_steps(steps); })
      .def("set_blocks", &set_blocks, arg("block_rows"), arg("batch_rows"))
      .def("set_dropout", &set_deep_dropout, arg("rate"), arg("seed"), arg("stream"))
      .def("set_step", &set_deep_step, arg("learning_rate"), arg("decay"))
      .def_prop_rw(
          "unit", [](DeepFm& model) { return model.settings().unit; },
          [](DeepFm& model, float unit) { model.settings().unit = unit; })
      .def_prop_rw(
          "trust", [](DeepFm& model) { return model.settings().trust; },
          [](DeepFm& model, float trust) { model.settings().trust = trust; });
  m.def("deepfm", &make_deepfm, arg("n_features"), arg("n_fields"), arg("n_factors"), arg("activation"), arg("hidden"),
        arg("training"), arg("n_threads"));
  m.def("dropout_mask", &dropout_mask, arg("out").noconvert(), arg("rate"), arg("seed"));
  nb::class_<BoundStore>(m, "SparseStore")
      .def_static("make", &BoundStore::make, nb::rv_policy::take_ownership, arg("records").noconvert(), arg("groups"),
                  arg("count_column"), arg("n_threads"))
      .def("gather", &gather, arg("group"), arg("ids").noconvert(), arg("out").noconvert())
      .def("update", &update, arg("ids").noconvert(), arg("gradients"), arg("weight").none(), arg("learning_rate"),
           arg("crowding"))
      .def("penalties", &store_penalties, arg("field_of"), arg("precisions"), arg("guesses"), arg("strengths"),
           arg("bounds"), arg("shares"), arg("noise"), arg("crowding"), arg("estimate"));
}

}  // namespace anyfm

// AFM for Python: what it has beyond every model.
#include "bindings_afm.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/unique_ptr.h>

#include "afm.hpp"
#include "model.hpp"

namespace nb = nanobind;

namespace anyfm {
namespace {

class AnyAfm final : public AnyModel {
 public:
  AnyAfm(int n_threads, int64_t n_features, AfmOptions options, bool training)
      : AnyModel(n_threads), model_(n_features, options, training) {}

  double step(const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
              Adagrad adagrad) override {
    return train(model_, adagrad, dense_rate_, rows, owners, order, n, loss, pool_.get());
  }
  void logits(const Rows& rows, float* out, bool threaded) override {
    const attention::Network network = model_.network();
    if (!threaded) return score(model_, network, rows, 0, rows.n_rows, out);
    Pool& pool = pool_.get();
    const int n = pool.size();
    pool.run([&](int t) { score(model_, network, rows, rows.n_rows * t / n, rows.n_rows * (t + 1) / n, out); });
  }
  Table& table() override { return model_.features().table(); }
  Bias& bias() override { return model_.bias(); }
  Columns columns() const override { return model_.features().columns(); }
  int64_t count_column() const override { return model_.features().count_column(); }
  std::vector<PenaltyGroup> penalty_groups() const override { return model_.features().penalty_groups(); }

  Afm& model() { return model_; }
  float dense_rate() const { return dense_rate_; }
  void set_dense_rate(float rate) { dense_rate_ = rate; }

 private:
  Afm model_;
  float dense_rate_ = 0;
};

std::unique_ptr<AnyAfm> make_afm(int64_t n_features, int n_factors, int attention_factors, bool normalize,
                                 bool training, int n_threads) {
  if (n_factors < 1 || n_factors > 256) throw std::invalid_argument("n_factors must be from 1 to 256");
  if (attention_factors < 1 || attention_factors > 256)
    throw std::invalid_argument("attention_factors must be from 1 to 256");
  return std::make_unique<AnyAfm>(n_threads, n_features, AfmOptions{n_factors, attention_factors, normalize}, training);
}

}  // namespace

void bind_afm(nb::module_& m) {
  using nb::arg;
  nb::class_<AnyAfm, AnyModel>(m, "AttentionalModel")
      // The network and its optimiser, (5, n): values, two moments, relative learning rates, penalties.
      .def_prop_ro("dense",
                   [](AnyAfm& model) {
                     Dense& dense = model.model().dense();
                     const size_t shape[2] = {Dense::kLines, static_cast<size_t>(dense.size())};
                     return nb::ndarray<nb::numpy, float, nb::ndim<2>>(dense.data(), 2, shape, nb::find(model));
                   })
      .def_prop_rw(
          "dense_steps", [](AnyAfm& model) { return model.model().dense().steps(); },
          [](AnyAfm& model, int64_t steps) { model.model().dense().set_steps(steps); })
      .def_prop_rw("dense_rate", &AnyAfm::dense_rate, &AnyAfm::set_dense_rate)
      .def(
          "set_dropout",
          [](AnyAfm& model, float rate, uint64_t seed, uint64_t stream) {
            if (!(rate >= 0 && rate < 1)) throw std::invalid_argument("the dropout rate must lie in [0, 1)");
            model.model().dropout() = {rate, Random(seed, stream)};
          },
          arg("rate"), arg("seed"), arg("stream"));
  m.def("afm", &make_afm, arg("n_features"), arg("n_factors"), arg("attention_factors"), arg("normalize"),
        arg("training"), arg("n_threads"));
}

}  // namespace anyfm

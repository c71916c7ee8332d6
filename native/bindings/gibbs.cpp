#include "training/gibbs.hpp"

#include <nanobind/nanobind.h>

#include <stdexcept>

#include "base/denormals.hpp"
#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/rows.hpp"

namespace anyfm {
namespace {

GibbsSampler* make(const BoundRows& bound, const In<int32_t>& field_of, int n_fields, int n_factors, bool normalize,
                   int n_threads) {
  if (!bound.rows.y) throw std::invalid_argument("training needs rows with a target");
  if (size_of(field_of) != bound.n_features || n_fields < 1 || n_factors < 0 || n_threads < 1)
    throw std::invalid_argument("the fields do not fit the features");
  const nb::gil_scoped_release release;
  return new GibbsSampler(bound.rows, field_of.data(), bound.n_features, n_fields, n_factors, normalize, n_threads);
}

double sweep(GibbsSampler& sampler, uint64_t seed, uint64_t number) {
  const nb::gil_scoped_release release;
  const DenormalMode flush(DenormalMode::kFlush);
  return sampler.sweep(seed, number);
}

void read(GibbsSampler& sampler, Out<> linear, Out<2> factors) {
  if (size_of(linear) != sampler.n_features() || size_of(factors) != sampler.n_features() * sampler.n_factors())
    throw std::invalid_argument("the arrays do not fit the parameters");
  std::copy(sampler.linear().begin(), sampler.linear().end(), linear.data());
  std::copy(sampler.factors().begin(), sampler.factors().end(), factors.data());
}

void write(GibbsSampler& sampler, const In<float>& linear, const In<float, 2>& factors) {
  if (size_of(linear) != sampler.n_features() || size_of(factors) != sampler.n_features() * sampler.n_factors())
    throw std::invalid_argument("the arrays do not fit the parameters");
  std::copy(linear.data(), linear.data() + size_of(linear), sampler.linear().begin());
  std::copy(factors.data(), factors.data() + size_of(factors), sampler.factors().begin());
}

}  // namespace

void bind_gibbs(nb::module_& m) {
  using nb::arg;
  nb::class_<GibbsSampler>(m, "GibbsSampler")
      .def_static("make", &make, nb::rv_policy::take_ownership, arg("bound"), arg("field_of").noconvert(),
                  arg("n_fields"), arg("n_factors"), arg("normalize"), arg("n_threads"), nb::keep_alive<0, 1>())
      .def("start", &GibbsSampler::start, arg("seed"), arg("deviation"))
      .def("sweep", &sweep, arg("seed"), arg("number"))
      .def_prop_rw("bias", &GibbsSampler::bias, &GibbsSampler::set_bias)
      .def("read", &read, arg("linear").noconvert(),
           arg("factors").noconvert())  // (n_features), (n_factors, n_features)
      .def("write", &write, arg("linear"), arg("factors"));
}

}  // namespace anyfm

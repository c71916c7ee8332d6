#include "bindings/prior.hpp"

#include "bindings/bindings.hpp"

namespace anyfm {

void bind_prior(nb::module_& m) {
  using nb::arg;
  nb::class_<Prior>(m, "Prior")
      .def(nb::init<std::vector<double>, double, double, double, double, double>(), arg("precision"), arg("expected"),
           arg("strength"), arg("lower"), arg("upper"), arg("fraction") = 1.0)
      .def_rw("precision", &Prior::precision)
      .def_rw("expected", &Prior::expected)
      .def_rw("strength", &Prior::strength)
      .def_rw("lower", &Prior::lower)
      .def_rw("upper", &Prior::upper)
      .def_rw("fraction", &Prior::fraction);
}

}  // namespace anyfm

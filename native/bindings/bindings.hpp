// What module.cpp binds. Everything that comes in is checked by the bindings, once: dtype, shape and contiguity by the
// signatures, lengths and bounds in the functions. The GIL is released around every computation.
#pragma once

#include <nanobind/nanobind.h>

namespace anyfm {

void bind_gibbs(nanobind::module_& m);
void bind_rows(nanobind::module_& m);
void bind_prior(nanobind::module_& m);
void bind_model(nanobind::module_& m);
void bind_sparse_store(nanobind::module_& m);
void bind_random(nanobind::module_& m);
void bind_ranking(nanobind::module_& m);
void bind_text(nanobind::module_& m);

}  // namespace anyfm

// What bindings.cpp needs of bindings_afm.cpp.
#pragma once

#include <nanobind/nanobind.h>

namespace anyfm {
void bind_afm(nanobind::module_& m);
}

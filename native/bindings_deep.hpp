// The bindings of DeepFM's scorer and of the torch engine's table.
#pragma once

#include <nanobind/nanobind.h>

namespace anyfm {

void bind_deep(nanobind::module_& m);

}  // namespace anyfm

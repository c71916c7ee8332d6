// Setting the priors of whatever has them: a model, or the sparse store of the torch engine.
#pragma once

#include <nanobind/stl/vector.h>

#include <stdexcept>
#include <utility>
#include <vector>

#include "bindings/arrays.hpp"
#include "optim/priors.hpp"

namespace anyfm {

// priors: one for each vector, whose precisions are updated in place. `target` offers n_features() and
// set_priors(priors, update).
template <class Target>
void set_priors(Target& target, int64_t n_vectors, const In<int32_t>& field_of, const std::vector<Prior*>& priors,
                double dispersion, float crowding, bool estimate, int n_epochs) {
  if (static_cast<int64_t>(priors.size()) != n_vectors) throw std::invalid_argument("one prior for each vector");
  if (size_of(field_of) != target.n_features()) throw std::invalid_argument("one field per feature");
  std::vector<Prior> copies;  // Python may change its own meanwhile
  for (const Prior* prior : priors) {
    if (!prior) throw std::invalid_argument("one prior for each vector");
    copies.push_back(*prior);
  }
  const int64_t n_fields = static_cast<int64_t>(copies[0].precision.size());
  for (const Prior& prior : copies)
    if (static_cast<int64_t>(prior.precision.size()) != n_fields)
      throw std::invalid_argument("one precision per field");
  const int32_t* fields = field_of.data();
  {
    const nb::gil_scoped_release release;
    for (int64_t j = 0; j < target.n_features(); ++j)
      if (fields[j] < 0 || fields[j] >= n_fields) throw std::out_of_range("no such field");
    target.set_priors(copies, {fields, dispersion, crowding, estimate, n_epochs});
  }
  for (size_t v = 0; v < priors.size(); ++v) priors[v]->precision = std::move(copies[v].precision);
}

}  // namespace anyfm

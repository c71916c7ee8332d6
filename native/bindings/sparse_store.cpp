// The per-feature parameters of the torch engine.
#include "models/sparse_store.hpp"

#include <nanobind/stl/array.h>
#include <nanobind/stl/vector.h>

#include <array>
#include <limits>
#include <stdexcept>
#include <vector>

#include "bindings/arrays.hpp"
#include "bindings/bindings.hpp"
#include "bindings/prior.hpp"

namespace anyfm {
namespace {

struct BoundStore {
  Out<2> records;  // keeps the array alive
  SparseStore store;

  static BoundStore* make(Out<2> records, const std::vector<std::array<int64_t, 6>>& groups, int64_t count_column,
                          int n_threads) {
    const int64_t n = static_cast<int64_t>(records.shape(0)), stride = static_cast<int64_t>(records.shape(1));
    const auto inside = [&](int64_t first, int64_t count) {
      return first >= 0 && count >= 1 && first + count <= stride;
    };
    std::vector<StoreGroup> checked;
    for (const std::array<int64_t, 6>& g : groups) {
      checked.push_back({g[0], g[1], g[2], g[3], g[4], g[5]});
      if (g[1] < 1 || g[2] < 1 || !inside(g[0], g[1] * g[2]) || !inside(g[3], g[1]) || !inside(g[4], g[1]) ||
          !inside(g[5], g[1]))
        throw std::invalid_argument("the columns of a group must lie in the records");
    }
    if (!inside(count_column, 1) || n_threads < 1) throw std::invalid_argument("no such column");
    float* data = records.data();
    return new BoundStore{records, {data, n, stride, std::move(checked), count_column, n_threads}};
  }
};

void check_ids(BoundStore& bound, const In<int32_t, 2>& ids) {
  const int64_t n = static_cast<int64_t>(ids.size()), n_features = bound.store.n_features();
  for (int64_t e = 0; e < n; ++e)
    if (ids.data()[e] >= n_features) throw std::out_of_range("feature id out of bounds");
}

void gather(BoundStore& bound, int group, In<int32_t, 2> ids, Out<3> out) {
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

void update(BoundStore& bound, In<int32_t, 2> ids, const std::vector<MaybeIn<float, 3>>& gradients,
            MaybeIn<float> weight, float learning_rate, float crowding) {
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

void set_store_priors(BoundStore& bound, const In<int32_t>& field_of, const std::vector<Prior*>& priors,
                      double dispersion, float crowding, bool estimate, int n_epochs) {
  set_priors(bound.store, bound.store.n_vectors(), field_of, priors, dispersion, crowding, estimate, n_epochs);
}

}  // namespace

void bind_sparse_store(nb::module_& m) {
  using nb::arg;
  nb::class_<BoundStore>(m, "SparseStore")
      .def_static("make", &BoundStore::make, nb::rv_policy::take_ownership, arg("records").noconvert(), arg("groups"),
                  arg("count_column"), arg("n_threads"))
      .def("gather", &gather, arg("group"), arg("ids").noconvert(), arg("out").noconvert())
      .def("update", &update, arg("ids").noconvert(), arg("gradients"), arg("weight").none(), arg("learning_rate"),
           arg("crowding"))
      // As Model.set_priors, with a prior for each vector of each group.
      .def("set_priors", &set_store_priors, arg("field_of"), arg("priors"), arg("dispersion"), arg("crowding"),
           arg("estimate"), arg("n_epochs") = 0);
}

}  // namespace anyfm

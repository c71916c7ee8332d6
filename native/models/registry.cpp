#include "models/registry.hpp"

#include <stdexcept>

#include "models/afm.hpp"
#include "models/deepfm.hpp"
#include "models/ffm.hpp"
#include "models/fm.hpp"
#include "models/fwfm.hpp"
#include "models/linear.hpp"

namespace anyfm {

namespace {

struct Entry {
  const char* name;
  std::unique_ptr<Model> (*make)(const ModelSizes& sizes, Options& options);
};
// A model is a header that ends with such a function, and a line here.
constexpr Entry kModels[] = {
    {"linear", make_linear}, {"fm", make_fm},         {"ffm", make_ffm},
    {"afm", make_afm},       {"deepfm", make_deepfm}, {"fwfm", make_fwfm},
};

}  // namespace

std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const Entry& entry : kModels) names.push_back(entry.name);
  return names;
}

std::unique_ptr<Model> make_model(const std::string& name, const ModelSizes& sizes, Options options) {
  if (sizes.n_features < 0) throw std::invalid_argument("n_features must be at least 0");
  if (sizes.n_fields < 1) throw std::invalid_argument("n_fields must be at least 1");
  if (sizes.n_threads < 1 || sizes.n_threads > 1024) throw std::invalid_argument("n_threads must be from 1 to 1024");
  for (const Entry& entry : kModels) {
    if (name != entry.name) continue;
    std::unique_ptr<Model> model = entry.make(sizes, options);
    options.check_all_taken(name);
    return model;
  }
  throw std::invalid_argument("there is no model " + name);
}

}  // namespace anyfm

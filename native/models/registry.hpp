// All models by name.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/model.hpp"

namespace anyfm {

std::vector<std::string> model_names();

// Throws std::invalid_argument, which names what is wrong, for an unknown model, for sizes that no model can have, and
// for options that are missing, unknown or out of range.
std::unique_ptr<Model> make_model(const std::string& name, const ModelSizes& sizes, Options options);

}  // namespace anyfm

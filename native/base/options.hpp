// Options by name, as Python hands them over.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace anyfm {

// Each is to be taken once by its name. Throws std::invalid_argument, which names the option, where it is missing, of
// another type or out of range.
class Options {
 public:
  using Value = std::variant<bool, int64_t, double, std::string, std::vector<int64_t>>;

  explicit Options(std::map<std::string, Value> values) : values_(std::move(values)) {}

  bool flag(const std::string& name) { return take<bool>(name, "true or false"); }
  int integer(const std::string& name, int64_t low, int64_t high) {
    const std::string range = "from " + std::to_string(low) + " to " + std::to_string(high);
    const int64_t n = take<int64_t>(name, "an integer " + range);
    if (n < low || n > high) fail(name + " must be " + range + ", got " + std::to_string(n));
    return static_cast<int>(n);
  }
  // A number of at least 0.
  double positive(const std::string& name) {
    const auto at = values_.find(name);
    if (at != values_.end() && std::holds_alternative<int64_t>(at->second))
      at->second = static_cast<double>(std::get<int64_t>(at->second));
    const double x = take<double>(name, "a number");
    if (!(x >= 0) || std::isinf(x)) fail(name + " must be at least 0 and finite, got " + std::to_string(x));
    return x;
  }
  // The place of a text in `choices`.
  int choice(const std::string& name, const std::vector<std::string>& choices) {
    std::string listed;
    for (const std::string& one : choices) listed += (listed.empty() ? "" : ", ") + one;
    const std::string text = take<std::string>(name, "one of " + listed);
    for (size_t i = 0; i < choices.size(); ++i)
      if (choices[i] == text) return static_cast<int>(i);
    fail(name + " must be one of " + listed + ", got " + text);
  }
  // Integers of at least 1.
  std::vector<int64_t> sizes(const std::string& name) {
    std::vector<int64_t> sizes = take<std::vector<int64_t>>(name, "a list of integers");
    for (const int64_t size : sizes)
      if (size < 1) fail("each of " + name + " must be at least 1, got " + std::to_string(size));
    return sizes;
  }
  // To be called when all have been taken.
  void check_all_taken(const std::string& model) const {
    if (!values_.empty()) fail("the model " + model + " has no option " + values_.begin()->first);
  }

 private:
  [[noreturn]] static void fail(const std::string& message) { throw std::invalid_argument(message); }

  template <class T>
  T take(const std::string& name, const std::string& expected) {
    const auto at = values_.find(name);
    if (at == values_.end()) fail("the option " + name + " is missing");
    if (!std::holds_alternative<T>(at->second)) fail(name + " must be " + expected);
    T value = std::get<T>(std::move(at->second));
    values_.erase(at);
    return value;
  }

  std::map<std::string, Value> values_;
};

}  // namespace anyfm

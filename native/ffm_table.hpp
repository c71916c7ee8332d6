// The parameters of the field-aware model: where the sections of every feature lie (ffm_options.hpp), and how they
// start.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "evidence.hpp"
#include "ffm_options.hpp"
#include "field_groups.hpp"
#include "table.hpp"

namespace anyfm {

class FfmTable {
 public:
  FfmTable(int64_t n_features, FfmOptions options, bool training)
      : options_(options),
        trained_(training),
        groups_(options.n_fields),
        n_features_(n_features),
        front_(ffm_section(options, 0, training)),
        last_(ffm_section(options, last_group(), training)),
        sections_(last_group() * (n_features + 1), front_.stride),
        table_(n_features, last_.stride) {}

  // Columns of the last section.
  Columns columns() const {
    return {
        {"linear", {linear_column(), 1}}, {"accumulators", {linear_column() + 1, 1}}, {"count", {count_column(), 1}}};
  }
  int64_t count_column() const { return linear_column() + 3; }
  std::vector<PenaltyGroup> penalty_groups() const {
    const int64_t w = linear_column();
    return {{w, 1, w + 1, 1, w + 2, w + 4}};
  }
  // The sections toward all groups of fields but the last, group after group, a record of zeros behind each group's.
  Table& sections() { return sections_; }
  // The last sections, with the linear columns.
  Table& table() { return table_; }
  const Table& table() const { return table_; }
  const FfmOptions& options() const { return options_; }
  const FieldGroups& groups() const { return groups_; }

  const FfmSection& layout(int group) const { return group < last_group() ? front_ : last_; }
  const float* section(int64_t feature, int group) const {
    return group < last_group() ? sections_[group * (n_features_ + 1) + feature] : table_[feature];
  }
  float* section(int64_t feature, int group) {
    return const_cast<float*>(static_cast<const FfmTable*>(this)->section(feature, group));
  }

  // Copies the factors of features first … first + n − 1 out of the table or into it; (n, n_fields, n_factors).
  void read_factors(float* to, int64_t first, int64_t n) const {
    for_factors(first, n, [&](int64_t at, const float* w) { to[at] = *w; }, *this);
  }
  void write_factors(const float* from, int64_t first, int64_t n) {
    for_factors(first, n, [&](int64_t at, float* w) { *w = from[at]; }, *this);
  }

  // Starts the vectors of features first … last − 1 and their accumulators.
  void start(const FfmStart& start, int64_t first, int64_t last) {
    const int n_fields = options_.n_fields, n_factors = options_.n_factors;
    for (int64_t j = first; j < last; ++j)
      for (int group = 0; group <= last_group(); ++group) {
        const FfmSection& layout = this->layout(group);
        float* vectors = section(j, group);
        std::fill(vectors, vectors + layout.weights, 0.0f);
        std::fill(vectors + layout.weights, vectors + layout.weights + layout.accumulators, start.accumulator);
        if (!start.drawn[j]) continue;
        for (int g = groups_.begin(group); g < groups_.end(group); ++g) {
          if (start.without_own && start.field_of[j] == g) continue;
          float* vector = vectors + 4 * (g - groups_.begin(group));
          for (int k = 0; k < n_factors; ++k)
            vector[(k / 4) * layout.plane + k % 4] =
                start.low + start.width * start.random.uniform((j * n_fields + g) * n_factors + k);
        }
      }
  }

 protected:
  int last_group() const { return groups_.n_groups() - 1; }
  int64_t linear_column() const { return last_.weights + last_.accumulators; }
  // From a feature's first section to that toward `group`, one of the front.
  int64_t section_at(int group) const { return group * (n_features_ + 1) * front_.stride; }

  FfmOptions options_;
  bool trained_;
  FieldGroups groups_;
  int64_t n_features_;
  FfmSection front_, last_;
  Table sections_, table_;

 private:
  template <class F, class Self>
  static void for_factors(int64_t first, int64_t n, F&& f, Self& self) {
    const int n_fields = self.options_.n_fields, n_factors = self.options_.n_factors;
    for (int64_t j = 0; j < n; ++j)
      for (int g = 0; g < n_fields; ++g) {
        const int group = g / self.groups_.width();
        auto* vector = self.section(first + j, group) + 4 * (g - self.groups_.begin(group));
        for (int k = 0; k < n_factors; ++k)
          f((j * n_fields + g) * n_factors + k, vector + (k / 4) * self.layout(group).plane + k % 4);
      }
  }
};

}  // namespace anyfm

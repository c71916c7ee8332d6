// The parameters of the field-aware model: where the sections of every feature lie (ffm_layout.hpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/table.hpp"
#include "models/ffm_field_groups.hpp"
#include "models/ffm_layout.hpp"
#include "models/model.hpp"

namespace anyfm {

class FfmTable {
 public:
  FfmTable(int64_t n_features, const FfmOptions& options, bool training)
      : options_(options),
        trained_(training),
        groups_(options.n_fields),
        n_features_(n_features),
        front_(ffm_section(options, 0, training)),
        last_(ffm_section(options, last_group(), training)),
        sections_(last_group() * (n_features + 1), front_.stride),
        table_(n_features, last_.stride) {}

  // The linear columns stand in the last section.
  static RecordLayout linear_layout(const FfmOptions& options, bool training) {
    const FfmSection last = ffm_section(options, FieldGroups(options.n_fields).n_groups() - 1, training);
    const int64_t w = last.weights + last.accumulators;
    return {{{"linear", {w, 1, w + 1, w + 2, w + 4}}}, w + 3};
  }
  int64_t count_column() const { return linear_column() + 3; }
  const FieldGroups& groups() const { return groups_; }

  const FfmSection& section_layout(int group) const { return group < last_group() ? front_ : last_; }
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

  // Zeroes the vectors of features first … last − 1 and sets their accumulators.
  void clear_vectors(float accumulator, int64_t first, int64_t last) {
    for (int64_t j = first; j < last; ++j)
      for (int group = 0; group <= last_group(); ++group) {
        const FfmSection& layout = section_layout(group);
        float* vectors = section(j, group);
        std::fill(vectors, vectors + layout.weights, 0.0f);
        std::fill(vectors + layout.weights, vectors + layout.weights + layout.accumulators, accumulator);
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
  // The sections toward all groups of fields but the last, group after group, a record of zeros behind each group's;
  // and the last sections, with the linear columns.
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
          f((j * n_fields + g) * n_factors + k, vector + (k / 4) * self.section_layout(group).plane + k % 4);
      }
  }
};

}  // namespace anyfm

// A block of rows laid out for the field-aware model: where the sections of each feature lie, group by group of fields.
#pragma once

#include <cstdint>
#include <vector>

#include "base/rows.hpp"
#include "base/table.hpp"
#include "models/ffm_field_groups.hpp"

namespace anyfm {

// What a block looks features up in.
struct FfmLookup {
  const FieldGroups* groups;
  const Table* sections;        // toward all groups but the last, group after group
  const Table* last;            // toward the last group
  int64_t zeros;                // the record of zeros among the first group's sections
  const float* last_zeros;      // a last section of zeros
  const float* inverse_counts;  // one per feature; nullptr when scoring
};

class FfmBlock {
 public:
  // A feature in a mixed row.
  struct Entry {
    float *first, *last;  // its sections toward the first and the last group
    int32_t field;
    float x;
    float inverse_count;
  };
  struct Span {
    const Entry *begin, *end;
  };

  // The features of one group of fields of a plain row, by field; fields of padding have sections of zeros.
  struct Group {
    float *const *first_section, *const *last_section;
    const float *x, *inverse_count;
    int first, size, padded;
  };

  // Lays out n rows: order[0], order[1] …, or first, first + 1 … without an order. They are plain where `slot_of_field`
  // is not empty.
  void lay_out(const Rows& rows, const std::vector<int32_t>& slot_of_field, const int64_t* order, int64_t first, int n,
               bool normalize, const FfmLookup& from) {
    rows_ = &rows;
    order_ = order;
    first_ = first;
    size_ = n;
    plain_ = !slot_of_field.empty();
    groups_ = from.groups;
    scale_.assign(n, 1.0f);
    if (normalize)
      for (int i = 0; i < n; ++i) scale_[i] = inverse_norm(row(i));
    plain_ ? find_records(slot_of_field.data(), from) : sort_entries(from);
  }

  int size() const { return size_; }
  bool plain() const { return plain_; }
  bool has_values() const { return rows_->values != nullptr; }
  float scale(int i) const { return scale_[i]; }

  Group group(int i, int group) const {
    const int first = groups_->begin(group);
    const int64_t at = static_cast<int64_t>(i) * groups_->padded() + first;
    const int size = groups_->end(group) - first, padded = groups_->padded_end(group) - first;
    return {sections_.data() + at,
            last_sections_.data() + at,
            x_.data() + at,
            inverse_counts_.data() + at,
            first,
            size,
            padded};
  }
  Span span(int i, int group) const {
    const int64_t* starts = starts_.data() + static_cast<int64_t>(i) * groups_->n_groups() + group;
    return {entries_.data() + starts[0], entries_.data() + starts[1]};
  }

 private:
  Row row(int i) const { return (*rows_)[order_ ? order_[i] : first_ + i]; }
  static float* record(const Table& table, int64_t id) { return const_cast<float*>(table[id]); }

  void find_records(const int32_t* slot_of_field, const FfmLookup& from) {
    const int padded = groups_->padded();
    const size_t n = static_cast<size_t>(size_) * padded;
    sections_.assign(n, record(*from.sections, from.zeros));
    last_sections_.assign(n, const_cast<float*>(from.last_zeros));
    x_.assign(n, 0.0f);
    inverse_counts_.resize(n);
    for (int i = 0; i < size_; ++i) {
      const Row row = this->row(i);
      for (int f = 0; f < groups_->n_fields(); ++f) {
        const int32_t slot = slot_of_field[f], id = row.ids[slot];
        const size_t at = static_cast<size_t>(i) * padded + f;
        sections_[at] = record(*from.sections, id);
        last_sections_[at] = record(*from.last, id);
        x_[at] = row.values ? row.values[slot] : 1.0f;
        if (from.inverse_counts) inverse_counts_[at] = from.inverse_counts[id];
      }
    }
  }

  void sort_entries(const FfmLookup& from) {
    entries_.clear();
    starts_.clear();
    for (int i = 0; i < size_; ++i) {
      const Row row = this->row(i);
      for (int group = 0; group < groups_->n_groups(); ++group) {
        starts_.push_back(static_cast<int64_t>(entries_.size()));
        for (int64_t s = 0; s < row.size; ++s) {
          const int32_t field = row.fields ? row.fields[s] : static_cast<int32_t>(s);
          if (field / groups_->width() != group) continue;
          const int32_t id = row.ids[s];
          entries_.push_back({record(*from.sections, id), record(*from.last, id), field,
                              row.values ? row.values[s] : 1.0f, from.inverse_counts ? from.inverse_counts[id] : 0.0f});
        }
      }
    }
    starts_.push_back(static_cast<int64_t>(entries_.size()));
  }

  const Rows* rows_ = nullptr;
  const int64_t* order_ = nullptr;
  const FieldGroups* groups_ = nullptr;
  int64_t first_ = 0;
  int size_ = 0;
  bool plain_ = false;
  std::vector<float> scale_;                      // by row
  std::vector<float*> sections_, last_sections_;  // plain rows: by row and field
  std::vector<float> x_, inverse_counts_;         // beside them
  std::vector<Entry> entries_;                    // mixed rows: by row and group
  std::vector<int64_t> starts_;                   // mixed rows: where each row's groups start
};

}  // namespace anyfm

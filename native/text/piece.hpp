// One piece of libsvm or libffm text, parsed by one thread into arrays of its own. See parser.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <optional>
#include <string>

#include "text/number.hpp"

namespace anyfm {

struct TextOptions {
  bool fields = false;       // libffm
  bool binary = false;       // labels other than 0, 1 and -1 are faults
  bool drop_unseen = false;  // entries beyond the limits below are dropped and counted; else they are faults
  int64_t max_id = INT32_MAX - 1;
  int64_t max_field = INT32_MAX - 1;
  int64_t piece_bytes = 1 << 18;  // at least; a piece ends with a line
};

enum class Part { label, field, id, value };

// The first thing that is not as it should be. Lines and columns count from 1, columns in UTF-8 characters.
struct TextFault {
  Part part;
  int64_t line, column;
  std::string came;  // from where the part starts to the next blank, shortened
};

// Where a kind of label was first seen; line 0: never.
struct LabelSeen {
  int64_t file = 0, line = 0;
  float value = 0.0f;
};
enum LabelKind { kZero, kMinusOne, kOther, kLabelKinds };

constexpr int64_t kLargestId = INT32_MAX - 1;

// One piece of text that ends with a line, and what it holds.
class TextPiece {
 public:
  std::unique_ptr<int32_t[]> ids, fields;
  std::unique_ptr<float[]> values, y;
  std::unique_ptr<int64_t[]> ends;  // entries of the piece up to the end of each row
  int64_t n_rows, n_entries, n_lines, n_blank, n_dropped;
  int64_t row_size;  // of every row, if `uniform`
  bool uniform;      // every row has the fields of the first
  bool all_ones;
  int32_t max_id, max_field;
  LabelSeen labels[kLabelKinds];
  std::optional<TextFault> fault;

  void parse(const char* begin, const char* end, const TextOptions& options) {
    reserve(end - begin);
    n_rows = n_entries = n_lines = n_blank = n_dropped = row_size = 0;
    uniform = all_ones = true;
    max_id = max_field = -1;
    for (LabelSeen& seen : labels) seen = LabelSeen{};
    fault.reset();
    end_ = end;
    const auto line = options.fields ? &TextPiece::parse_line<true> : &TextPiece::parse_line<false>;
    for (const char* p = begin; p && p < end;) p = (this->*line)(p, options);
  }

 private:
  // The shortest entry, "0:0" and a blank, takes 4 bytes; the shortest row, "0" and a newline, takes 2.
  void reserve(int64_t n_bytes) {
    if (n_bytes <= reserved_) return;
    const size_t n = static_cast<size_t>(n_bytes);
    reserved_ = 0;
    ids.reset(new int32_t[n / 4 + 2]);
    fields.reset(new int32_t[n / 4 + 2]);
    values.reset(new float[n / 4 + 2]);
    y.reset(new float[n / 2 + 2]);
    ends.reset(new int64_t[n / 2 + 2]);
    reserved_ = n_bytes;
  }

  static bool is_blank(char c) { return c == ' ' || c == '\t'; }

  // Where the next line starts if this one ends at p; nullptr if it does not.
  template <bool kFields>
  const char* line_end(const char* p) const {
    if (p == end_) return p;
    if (*p == '\n') return p + 1;
    if (*p == '\r' && p + 1 == end_) return p + 1;
    if (*p == '\r' && p[1] == '\n') return p + 2;
    if (!kFields && *p == '#') {
      const void* newline = std::memchr(p, '\n', static_cast<size_t>(end_ - p));
      return newline ? static_cast<const char*>(newline) + 1 : end_;
    }
    return nullptr;
  }

  template <bool kFields>
  bool is_stop(const char* p) const {
    return (p < end_ && is_blank(*p)) || line_end<kFields>(p);
  }

  // Parses the line that starts at `p` and returns where the next one starts; nullptr after a fault.
  template <bool kFields>
  const char* parse_line(const char* p, const TextOptions& options) {
    const char* const start = p;
    ++n_lines;
    while (p < end_ && is_blank(*p)) ++p;
    if (const char* next = line_end<kFields>(p)) {
      ++n_blank;
      return next;
    }
    const char* part = p;
    float label;
    if (read_real(p, end_, label) != Real::ok || !is_stop<kFields>(p) || !count_label(label, options))
      return report(Part::label, start, part);
    const int64_t first = n_entries;
    uint64_t field = 0, id;
    for (;;) {
      while (p < end_ && is_blank(*p)) ++p;
      if (p == end_ || !is_digit(*p))
        if (const char* next = line_end<kFields>(p)) {
          finish_row<kFields>(label, first);
          return next;
        }
      if (kFields) {
        part = p;
        p = read_integer(p, end_, field);
        if (!p || p == end_ || *p != ':' || is_beyond(field, options.max_field, options))
          return report(Part::field, start, part);
        ++p;
      }
      part = p;
      p = read_integer(p, end_, id);
      if (!p || p == end_ || *p != ':' || is_beyond(id, options.max_id, options)) return report(Part::id, start, part);
      part = ++p;
      float value = 1.0f;
      if (end_ - p >= 2 && *p == '1' && is_blank(p[1]))
        ++p;
      else if (read_real(p, end_, value) != Real::ok || !is_stop<kFields>(p))
        return report(Part::value, start, part);
      if (options.drop_unseen &&
          (static_cast<int64_t>(id) > options.max_id || static_cast<int64_t>(field) > options.max_field)) {
        ++n_dropped;
        continue;
      }
      ids[n_entries] = static_cast<int32_t>(id);
      if (kFields) fields[n_entries] = static_cast<int32_t>(field);
      values[n_entries] = value;
      ++n_entries;
    }
  }

  static bool is_beyond(uint64_t number, int64_t limit, const TextOptions& options) {
    return static_cast<int64_t>(number) > (options.drop_unseen ? kLargestId : limit);
  }

  // False if the label is not one of those that the task allows.
  bool count_label(float label, const TextOptions& options) {
    if (label == 1.0f) return true;
    LabelSeen& seen = labels[label == 0.0f ? kZero : label == -1.0f ? kMinusOne : kOther];
    if (seen.line == 0) seen = {0, n_lines, label};
    return !options.binary || &seen != &labels[kOther];
  }

  template <bool kFields>
  void finish_row(float label, int64_t first) {
    const int64_t size = n_entries - first;
    int32_t top_id = max_id, top_field = max_field;
    bool ones = all_ones;
    for (int64_t e = first; e < n_entries; ++e) {
      top_id = std::max(top_id, ids[e]);
      ones &= values[e] == 1.0f;
      if (kFields) top_field = std::max(top_field, fields[e]);
    }
    max_id = top_id;
    max_field = top_field;
    all_ones = ones;
    if (n_rows == 0) row_size = size;
    uniform = uniform && size == row_size &&
              (!kFields || size == 0 ||
               std::memcmp(fields.get(), fields.get() + first, static_cast<size_t>(size) * sizeof(int32_t)) == 0);
    y[n_rows] = label;
    ends[n_rows] = n_entries;
    ++n_rows;
  }

  const char* report(Part part, const char* line, const char* at) {
    int64_t column = 1;
    for (const char* p = line; p < at; ++p) column += (static_cast<unsigned char>(*p) & 0xC0) != 0x80;
    const char* stop = at;
    while (stop < end_ && stop - at < 200 && !is_blank(*stop) && *stop != '\n') ++stop;
    if (stop > at && stop[-1] == '\r' && (stop == end_ || *stop == '\n')) --stop;
    fault = TextFault{part, n_lines, column, std::string(at, stop)};
    return nullptr;
  }

  const char* end_ = nullptr;
  int64_t reserved_ = 0;
};

}  // namespace anyfm

// libsvm ("label id:value ...") and libffm ("label field:id:value ...") text. The grammar stands in
// src/anyfm/dataset/text.py; tests hold this file to a slow parser written from it.
//
// Text comes in blocks of any size, cut anywhere. A block is parsed in pieces that end with a line, several at a time,
// each into scratch arrays that fit the cache; what the pieces found is then appended in order, so that neither the
// size of the blocks nor the number of threads shows in the result.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/pool.hpp"
#include "text/piece.hpp"

namespace anyfm {

// An array that grows by realloc (which moves large ones without copying, where the system can) and can be given away.
template <class T>
class Grown {
 public:
  Grown() = default;
  Grown(const Grown&) = delete;
  Grown& operator=(const Grown&) = delete;
  ~Grown() { std::free(data_); }

  int64_t size() const { return size_; }
  T* data() { return data_; }
  const T* data() const { return data_; }

  // Adds room for n more and returns where it starts; its content is not set.
  T* extend(int64_t n) {
    if (size_ + n > capacity_) {
      const int64_t capacity = std::max(size_ + n, capacity_ + capacity_ / 2);
      T* const grown = static_cast<T*>(std::realloc(data_, static_cast<size_t>(capacity) * sizeof(T)));
      if (!grown) throw std::bad_alloc();
      data_ = grown;
      capacity_ = capacity;
    }
    size_ += n;
    return data_ + (size_ - n);
  }

  // Gives the array away, to be freed by std::free; never nullptr.
  T* release() {
    T* const fitted =
        static_cast<T*>(std::realloc(data_, static_cast<size_t>(std::max<int64_t>(size_, 1)) * sizeof(T)));
    T* const array = fitted ? fitted : data_;
    if (!array) throw std::bad_alloc();
    data_ = nullptr;
    size_ = capacity_ = 0;
    return array;
  }

 private:
  T* data_ = nullptr;
  int64_t size_ = 0, capacity_ = 0;
};

class TextParser {
 public:
  TextParser(const TextOptions& options, int n_threads) : options_(options), pool_(n_threads), pieces_(pool_.size()) {
    *offsets.extend(1) = 0;
  }

  Grown<int32_t> ids;
  Grown<int64_t> offsets;
  Grown<float> y;
  Grown<int32_t> fields;  // empty while every row has the fields of `pattern`
  Grown<float> values;    // empty while all are 1

  bool with_fields() const { return options_.fields; }
  bool uniform() const { return uniform_; }
  bool all_ones() const { return all_ones_; }
  const std::vector<int32_t>& pattern() const { return pattern_; }
  int64_t n_rows() const { return y.size(); }
  int64_t n_blank() const { return n_blank_; }
  int64_t n_dropped() const { return n_dropped_; }
  int64_t max_id() const { return max_id_; }
  int64_t max_field() const { return max_field_; }
  const LabelSeen& label_seen(int kind) const { return labels_[kind]; }

  // Takes the next bytes of a file. Returns the first fault, after which the parser is of no more use.
  std::optional<TextFault> feed(const char* text, int64_t n) {
    const DenormalMode mode(DenormalMode::kKeep);
    const char* const end = text + n;
    const char* const last = last_newline(text, end);
    if (last == text) {
      carry_.append(text, end);
      return std::nullopt;
    }
    if (!carry_.empty()) {  // only the line that the last block began is copied
      const char* const first = static_cast<const char*>(std::memchr(text, '\n', static_cast<size_t>(n))) + 1;
      carry_.append(text, first);
      if (auto fault = parse(carry_.data(), carry_.data() + carry_.size())) return fault;
      text = first;
      std::string().swap(carry_);
    }
    auto fault = parse(text, last);
    carry_.assign(last, end);
    return fault;
  }

  // The file ends here, with or without a newline; what is fed next is another file.
  std::optional<TextFault> end_file() {
    const DenormalMode mode(DenormalMode::kKeep);
    auto fault = parse(carry_.data(), carry_.data() + carry_.size());
    std::string().swap(carry_);
    ++n_files_;
    n_lines_ = 0;
    return fault;
  }

  // How many ids occur with more than one field.
  int64_t count_shared_ids() const {
    if (!options_.fields || ids.size() == 0 || (uniform_ && fields_have_ranges())) return 0;
    const int64_t n = ids.size(), n_slots = static_cast<int64_t>(pattern_.size());
    const auto field_of = [&](int64_t e) { return uniform_ ? pattern_[e % n_slots] : fields.data()[e]; };
    if (max_id_ < std::max<int64_t>(int64_t{1} << 20, 4 * n)) {
      std::vector<int32_t> first(static_cast<size_t>(max_id_) + 1, -1);  // −1: not seen, −2: shared
      int64_t n_shared = 0;
      for (int64_t e = 0; e < n; ++e) {
        int32_t& known = first[ids.data()[e]];
        if (known == -1) known = field_of(e);
        if (known == -2 || known == field_of(e)) continue;
        known = -2;
        ++n_shared;
      }
      return n_shared;
    }
    std::vector<std::pair<int32_t, int32_t>> pairs(n);  // few entries, large ids
    for (int64_t e = 0; e < n; ++e) pairs[e] = {ids.data()[e], field_of(e)};
    std::sort(pairs.begin(), pairs.end());
    pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
    int64_t n_shared = 0;
    for (size_t i = 1; i < pairs.size(); ++i)
      n_shared += pairs[i].first == pairs[i - 1].first && (i < 2 || pairs[i].first != pairs[i - 2].first);
    return n_shared;
  }

 private:
  static const char* last_newline(const char* begin, const char* end) {
    while (end > begin && end[-1] != '\n') --end;
    return end;
  }

  // Parses whole lines (the last may lack its newline).
  std::optional<TextFault> parse(const char* text, const char* end) {
    const int n_pieces = static_cast<int>(pieces_.size());
    std::vector<const char*> cuts(pieces_.size() + 1);
    while (text < end) {
      cuts[0] = text;
      for (int t = 0; t < n_pieces; ++t) {
        const int64_t left = end - cuts[t];
        const char* const cut = cuts[t] + std::min(left, options_.piece_bytes);
        const void* newline = cut < end ? std::memchr(cut, '\n', static_cast<size_t>(end - cut)) : nullptr;
        cuts[t + 1] = newline ? static_cast<const char*>(newline) + 1 : end;
      }
      pool_.run([&](int t) { pieces_[t].parse(cuts[t], cuts[t + 1], options_); });
      for (TextPiece& piece : pieces_) {
        if (piece.fault) {
          piece.fault->line += n_lines_;
          return piece.fault;
        }
        append(piece);
      }
      text = cuts[n_pieces];
    }
    return std::nullopt;
  }

  void append(const TextPiece& piece) {
    for (int kind = 0; kind < kLabelKinds; ++kind)
      if (labels_[kind].line == 0 && piece.labels[kind].line != 0)
        labels_[kind] = {n_files_, n_lines_ + piece.labels[kind].line, piece.labels[kind].value};
    n_lines_ += piece.n_lines;
    n_blank_ += piece.n_blank;
    n_dropped_ += piece.n_dropped;
    max_id_ = std::max<int64_t>(max_id_, piece.max_id);
    max_field_ = std::max<int64_t>(max_field_, piece.max_field);
    if (piece.n_rows == 0) return;
    append_fields(piece);
    append_values(piece);
    const int64_t before = ids.size();
    std::copy_n(piece.ids.get(), piece.n_entries, ids.extend(piece.n_entries));
    std::copy_n(piece.y.get(), piece.n_rows, y.extend(piece.n_rows));
    int64_t* const to = offsets.extend(piece.n_rows);
    for (int64_t i = 0; i < piece.n_rows; ++i) to[i] = before + piece.ends[i];
  }

  void append_fields(const TextPiece& piece) {
    if (y.size() == 0) {
      pattern_.resize(static_cast<size_t>(piece.row_size), 0);
      if (options_.fields) std::copy_n(piece.fields.get(), piece.row_size, pattern_.begin());
    }
    const bool fits = piece.uniform && piece.row_size == static_cast<int64_t>(pattern_.size()) &&
                      (!options_.fields || std::equal(pattern_.begin(), pattern_.end(), piece.fields.get()));
    if (uniform_ && !fits) {
      uniform_ = false;
      if (options_.fields) {
        int32_t* to = fields.extend(ids.size());
        for (int64_t i = 0; i < y.size(); ++i) to = std::copy(pattern_.begin(), pattern_.end(), to);
      }
    }
    if (!uniform_ && options_.fields) std::copy_n(piece.fields.get(), piece.n_entries, fields.extend(piece.n_entries));
  }

  void append_values(const TextPiece& piece) {
    if (all_ones_ && !piece.all_ones) {
      all_ones_ = false;
      std::fill_n(values.extend(ids.size()), ids.size(), 1.0f);
    }
    if (!all_ones_) std::copy_n(piece.values.get(), piece.n_entries, values.extend(piece.n_entries));
  }

  // Whether the ids of each field, in uniform rows, lie in a range of their own: the usual case, and quick to see.
  bool fields_have_ranges() const {
    const size_t n_slots = pattern_.size();
    std::vector<int32_t> low(n_slots, INT32_MAX), high(n_slots, -1);
    for (const int32_t *row = ids.data(), *end = row + ids.size(); row < end; row += n_slots)
      for (size_t s = 0; s < n_slots; ++s) {
        low[s] = std::min(low[s], row[s]);
        high[s] = std::max(high[s], row[s]);
      }
    std::vector<size_t> order(n_slots);
    for (size_t s = 0; s < n_slots; ++s) order[s] = s;
    std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return low[a] < low[b]; });
    int32_t reach = -1;  // of all ranges so far
    for (size_t i = 0; i < n_slots; ++i) {
      if (i > 0 && pattern_[order[i]] != pattern_[order[i - 1]] && low[order[i]] <= reach) return false;
      reach = std::max(reach, high[order[i]]);
    }
    return true;
  }

  const TextOptions options_;
  Pool pool_;
  std::vector<TextPiece> pieces_;
  std::string carry_;  // the beginning of a line that the next block goes on with
  std::vector<int32_t> pattern_;
  bool uniform_ = true, all_ones_ = true;
  int64_t n_files_ = 0, n_lines_ = 0, n_blank_ = 0, n_dropped_ = 0, max_id_ = -1, max_field_ = -1;
  LabelSeen labels_[kLabelKinds];
};

}  // namespace anyfm

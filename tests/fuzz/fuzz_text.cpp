// libFuzzer over the parser and the writer of text files. From the top of the repository:
//
//   clang++ -std=c++17 -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Inative
//       tests/fuzz/fuzz_text.cpp -o /tmp/fuzz_text && /tmp/fuzz_text -max_total_time=600 -max_len=4096
//
// Add -DANYFM_WITHOUT_FLOAT_CHARCONV to try the conversion of numbers for C++ libraries that have none.
//
// What must hold of any bytes at all: nothing is read or written out of bounds; blocks, pieces and threads do not show
// in the result or in the fault; what was read can be written and is read back the same.
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "text/parser.hpp"
#include "text/writer.hpp"

namespace {

using namespace anyfm;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

// Feeds `text` in blocks of `block` bytes, each a copy of its own so that a step past its end is seen.
std::optional<TextFault> read(TextParser& parser, const std::string& text, size_t block) {
  for (size_t at = 0; at < text.size(); at += block) {
    const size_t n = std::min(block, text.size() - at);
    const std::unique_ptr<char[]> copy(new char[n]);
    std::memcpy(copy.get(), text.data() + at, n);
    if (auto fault = parser.feed(copy.get(), static_cast<int64_t>(n))) return fault;
  }
  return parser.end_file();
}

template <class T>
bool same(const Grown<T>& a, const Grown<T>& b) {
  return a.size() == b.size() && (a.size() == 0 || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

bool same(const TextParser& a, const TextParser& b) {
  return same(a.ids, b.ids) && same(a.offsets, b.offsets) && same(a.y, b.y) && same(a.fields, b.fields) &&
         same(a.values, b.values) && a.uniform() == b.uniform() && a.all_ones() == b.all_ones() &&
         (!a.uniform() || a.pattern() == b.pattern()) && a.max_id() == b.max_id() && a.max_field() == b.max_field() &&
         a.n_dropped() == b.n_dropped() && a.count_shared_ids() == b.count_shared_ids();
}

Rows view(const TextParser& parser) {
  Rows rows;
  rows.ids = parser.ids.data();
  rows.offsets = parser.offsets.data();
  rows.values = parser.all_ones() ? nullptr : parser.values.data();
  rows.y = parser.y.data();
  rows.n_rows = parser.n_rows();
  rows.n_entries = parser.ids.size();
  rows.n_slots = static_cast<int64_t>(parser.pattern().size());
  if (parser.with_fields()) rows.fields = parser.uniform() ? parser.pattern().data() : parser.fields.data();
  if (parser.uniform()) rows.offsets = nullptr;
  return rows;
}

// Numbers are as the C library has them, which rounds correctly.
void check_number(const std::string& text) {
  const char* p = text.data();
  float number;
  const Real verdict = read_real(p, text.data() + text.size(), number);
  if (verdict == Real::malformed) return;
  const std::string read(text.data(), p);
  const float expected = std::strtof(read.c_str(), nullptr);
  if (verdict == Real::too_large)
    require(std::isinf(expected), "too large for the C library too");
  else
    require(std::memcmp(&number, &expected, sizeof number) == 0, "the number of the C library");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 3) return 0;
  TextOptions options;
  options.fields = data[0] & 1;
  options.binary = data[0] & 2;
  options.drop_unseen = data[0] & 4;
  if (data[0] & 8) options.max_id = data[1] & 15;
  if (data[0] & 16) options.max_field = data[1] >> 4;
  const std::string text(reinterpret_cast<const char*>(data) + 3, size - 3);
  check_number(text);

  TextParser whole(options, 1);
  const auto fault = read(whole, text, std::max<size_t>(text.size(), 1));

  TextOptions small = options;
  small.piece_bytes = 1 + data[2] % 32;
  TextParser cut(small, data[0] & 32 ? 3 : 1);
  const auto cut_fault = read(cut, text, 1 + data[2] / 8);
  require(fault.has_value() == cut_fault.has_value(), "the same verdict");
  if (fault) {
    require(fault->part == cut_fault->part && fault->line == cut_fault->line && fault->column == cut_fault->column &&
                fault->came == cut_fault->came,
            "the same fault");
    require(fault->line >= 1 && fault->column >= 1 && fault->came.size() <= 200, "a place in the text");
    return 0;
  }
  require(same(whole, cut), "the same rows");

  const Rows rows = view(whole);
  const std::string written = write_text(rows, 0, rows.n_rows, options.fields);
  TextOptions all;
  all.fields = options.fields;
  TextParser again(all, 1);
  require(!read(again, written, written.size() + 1), "what is written can be read");
  require(same(whole.ids, again.ids) && same(whole.offsets, again.offsets) && same(whole.y, again.y) &&
              same(whole.fields, again.fields) && same(whole.values, again.values) &&
              (!whole.uniform() || whole.pattern() == again.pattern()),
          "what is written reads back the same");
  return 0;
}

// Rows as libsvm or libffm text: what parser.hpp reads back as the same rows, bit for bit.
#pragma once

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <string>

#include "base/rows.hpp"
#include "text/number.hpp"

namespace anyfm {

inline void write_integer(std::string& text, int64_t number) {
  char digits[24];
  text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
}

// The shortest text that reads back as the same float (nine digits where the C++ library cannot find it).
inline void write_real(std::string& text, float number) {
  if (number == 1.0f || (number == 0.0f && !std::signbit(number))) {
    text.push_back(number == 1.0f ? '1' : '0');
    return;
  }
  char digits[48];
#if ANYFM_FLOAT_CHARCONV
  text.append(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
#else
  const int n = std::snprintf(digits, sizeof digits, "%.9g", static_cast<double>(number));
  std::replace(digits, digits + n, ',', '.');  // the decimal comma of some locales
  text.append(digits, static_cast<size_t>(n));
#endif
}

// Rows first … last − 1, one line each; a row without a target gets the label 0.
inline std::string write_text(const Rows& rows, int64_t first, int64_t last, bool with_fields) {
  std::string text;
  for (int64_t i = first; i < last; ++i) {
    const Row row = rows[i];
    write_real(text, rows.y ? rows.y[i] : 0.0f);
    for (int64_t s = 0; s < row.size; ++s) {
      text.push_back(' ');
      if (with_fields) {
        write_integer(text, row.fields ? row.fields[s] : s);
        text.push_back(':');
      }
      write_integer(text, row.ids[s]);
      text.push_back(':');
      write_real(text, row.values ? row.values[s] : 1.0f);
    }
    text.push_back('\n');
  }
  return text;
}

}  // namespace anyfm

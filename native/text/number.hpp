// Numbers from text: exact, without locale, and never past the end of the text.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#if defined(_MSC_VER)
#include <intrin.h>
#endif

#include <charconv>
#if defined(__cpp_lib_to_chars) && __cpp_lib_to_chars >= 201611L && !defined(ANYFM_WITHOUT_FLOAT_CHARCONV)
#define ANYFM_FLOAT_CHARCONV 1
#else  // a C++ library that converts no floating-point numbers: ask C, in its own locale
#define ANYFM_FLOAT_CHARCONV 0
#include <clocale>
#include <cmath>
#include <cstdlib>
#include <string>
#if defined(__APPLE__)
#include <xlocale.h>
#else
#include <locale.h>
#endif
#endif

namespace anyfm {

inline bool is_digit(char c) { return static_cast<unsigned char>(c - '0') <= 9; }

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
constexpr bool kLittleEndian = false;
#else
constexpr bool kLittleEndian = true;
#endif

inline int trailing_zeros(uint64_t x) {
#if defined(_MSC_VER)
  unsigned long index;
  _BitScanForward64(&index, x);
  return static_cast<int>(index);
#else
  return __builtin_ctzll(x);
#endif
}

// Reads decimal digits into `out`, which saturates far above any id. Returns where they end, or nullptr if there are
// none. Runs of up to 7 digits are read as one word, without a branch on how many there are.
inline const char* read_integer(const char* p, const char* end, uint64_t& out) {
  if (kLittleEndian && end - p >= 8) {
    uint64_t x;
    std::memcpy(&x, p, 8);
    x ^= 0x3030303030303030u;  // digits become 0 … 9, everything else more
    const uint64_t others = ((x + 0x7676767676767676u) | x) & 0x8080808080808080u;  // the first one set is exact
    if (others != 0) {
      const int n = trailing_zeros(others) >> 3;
      if (n == 0) return nullptr;
      x <<= 64 - 8 * n;  // as if zeros stood in front
      x = (x * (10 * 0x100u + 1)) >> 8;
      x = ((x & 0x00FF00FF00FF00FFu) * (100 * 0x10000u + 1)) >> 16;
      out = ((x & 0x0000FFFF0000FFFFu) * (10000 * 0x100000000u + 1)) >> 32;
      return p + n;
    }
  }
  if (p == end || !is_digit(*p)) return nullptr;
  constexpr uint64_t enough = uint64_t{1} << 40;
  uint64_t value = 0;
  for (; p < end && is_digit(*p); ++p)
    if (value < enough) value = value * 10 + static_cast<uint64_t>(*p - '0');
  out = value;
  return p;
}

// What `read_real` made of the text.
enum class Real { ok, malformed, too_large };

// A number taken apart: sign · mantissa · 10^exponent, the mantissa cut after 19 significant digits.
struct Decimal {
  bool negative = false;
  uint64_t mantissa = 0;
  int n_digits = 0;  // significant digits in the mantissa
  bool cut = false;
  int64_t exponent = 0;
  const char* unsigned_text = nullptr;
  const char* end = nullptr;  // nullptr: malformed
};

inline Decimal take_apart(const char* p, const char* end) {
  Decimal number;
  if (p < end && (*p == '+' || *p == '-')) number.negative = *p++ == '-';
  number.unsigned_text = p;
  bool any = false;
  const auto digits = [&](int64_t when_kept, int64_t when_cut) {
    for (; p < end && is_digit(*p); ++p) {
      any = true;
      if (number.n_digits < 19) {
        number.mantissa = number.mantissa * 10 + static_cast<uint64_t>(*p - '0');
        number.n_digits += number.mantissa != 0;
        number.exponent += when_kept;
      } else {
        number.cut = true;
        number.exponent += when_cut;
      }
    }
  };
  digits(0, 1);
  if (p < end && *p == '.') {
    ++p;
    digits(-1, 0);
  }
  if (!any) return number;
  if (p < end && (*p == 'e' || *p == 'E')) {
    ++p;
    bool down = false;
    if (p < end && (*p == '+' || *p == '-')) down = *p++ == '-';
    uint64_t power;
    p = read_integer(p, end, power);
    if (!p) return number;
    number.exponent += down ? -static_cast<int64_t>(power) : static_cast<int64_t>(power);
  }
  number.end = p;
  return number;
}

// The slow way, right for every well-formed number: nearest float, ties to even. `out` becomes 0 where nothing nearer
// can be held; false if the number is too large.
inline bool convert_slowly(const Decimal& number, float& out) {
#if ANYFM_FLOAT_CHARCONV
  const std::from_chars_result result = std::from_chars(number.unsigned_text, number.end, out);
  if (result.ec == std::errc::result_out_of_range) {
    if (number.n_digits + number.exponent > 0) return false;
    out = 0.0f;
  }
  return true;
#else
  static const locale_t plain = newlocale(LC_ALL_MASK, "C", nullptr);
  out = strtof_l(std::string(number.unsigned_text, number.end).c_str(), nullptr, plain);
  return std::isfinite(out);
#endif
}

// Reads a decimal number ("-12.5e-3", "7", ".5", "1.", "+1"; no hexadecimals, no "inf", no "nan") as the nearest float.
// `p` moves to where it ends; where that is is for the caller to judge.
inline Real read_real(const char*& p, const char* end, float& out) {
  const Decimal number = take_apart(p, end);
  if (!number.end) return Real::malformed;
  p = number.end;
  static constexpr double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                      1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
  float size = 0.0f;
  bool done = number.mantissa == 0;
  if (!done && !number.cut && number.mantissa <= (uint64_t{1} << 53) && number.exponent >= -22 &&
      number.exponent <= 22) {
    // Mantissa and power are exact doubles, so that one operation gives the nearest double. Rounding that to float
    // gives the nearest float, unless the double lies half way between two floats and was itself rounded.
    const double mantissa = static_cast<double>(number.mantissa);
    const double x = number.exponent < 0 ? mantissa / powers[-number.exponent] : mantissa * powers[number.exponent];
    uint64_t bits;
    std::memcpy(&bits, &x, 8);
    size = static_cast<float>(x);
    done = (bits & 0x1FFFFFFFu) != 0x10000000u;
  }
  if (!done && !convert_slowly(number, size)) return Real::too_large;
  out = number.negative ? -size : size;
  return Real::ok;
}

}  // namespace anyfm

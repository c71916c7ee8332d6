// A short vector of floats in plain C++: the compiler's own vector type where it has one, a loop elsewhere.
// No intrinsics: the same source is compiled for baseline, AVX2 and AVX-512.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

namespace anyfm {

#if defined(__GNUC__) || defined(__clang__)
// The empty asm keeps GCC from taking a function that does nothing but prefetch for one without effect, and dropping
// it.
#define ANYFM_PREFETCH(address) (__builtin_prefetch((address), 1, 3), [] { __asm__ volatile(""); }())
#define ANYFM_PREFETCH_FAR(address) \
  (__builtin_prefetch((address), 0, 2), [] { __asm__ volatile(""); }())  // second cache
#define ANYFM_INLINE inline __attribute__((always_inline))
#define ANYFM_INLINE_LAMBDA __attribute__((always_inline))  // behind the parameters of a lambda
#define ANYFM_UNROLL _Pragma("GCC unroll 16")               // so that an array of registers never goes through memory
#ifdef __has_builtin
#if __has_builtin(__builtin_shufflevector)
#define ANYFM_HAS_SHUFFLE
#endif
#endif

template <int N>
struct Lanes;  // spelt out, since GCC drops the attribute from a type that depends on N
#define ANYFM_LANES(N)                                                  \
  template <>                                                           \
  struct Lanes<N> {                                                     \
    typedef float Type __attribute__((vector_size(N * sizeof(float)))); \
    typedef int Bits __attribute__((vector_size(N * sizeof(float))));   \
  };
ANYFM_LANES(2)
ANYFM_LANES(4)
ANYFM_LANES(8)
ANYFM_LANES(16)
#undef ANYFM_LANES

template <int N>
struct Vec {
  typename Lanes<N>::Type v;

  static ANYFM_INLINE Vec load(const float* from) {
    Vec r;
    std::memcpy(&r.v, from, sizeof r.v);
    return r;
  }
  static ANYFM_INLINE Vec splat(float x) { return {x - typename Lanes<N>::Type{}}; }
  ANYFM_INLINE void store(float* to) const { std::memcpy(to, &v, sizeof v); }
  friend ANYFM_INLINE Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend ANYFM_INLINE Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
  friend ANYFM_INLINE Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  ANYFM_INLINE float at(int i) const { return v[i]; }
  // Every lane's bits as an integer n become minus − (n >> shift).
  ANYFM_INLINE Vec bits_from(int minus, int shift) const {
    typename Lanes<N>::Bits n;
    std::memcpy(&n, &v, sizeof n);
    n = minus - (n >> shift);
    Vec r;
    std::memcpy(&r.v, &n, sizeof n);
    return r;
  }
  // Every lane times 2^n, where t is n + 1.5 · 2^23 and the result is a normal number.
  ANYFM_INLINE Vec times_power(Vec t) const {
    typename Lanes<N>::Bits bits, power;
    std::memcpy(&bits, &v, sizeof bits);
    std::memcpy(&power, &t.v, sizeof power);
    bits += power << 23;
    Vec r;
    std::memcpy(&r.v, &bits, sizeof bits);
    return r;
  }
  friend ANYFM_INLINE Vec maximum(Vec a, Vec b) { return {a.v > b.v ? a.v : b.v}; }
  // a where c > 0, and 0 elsewhere.
  friend ANYFM_INLINE Vec where_positive(Vec c, Vec a) { return {c.v > 0 ? a.v : typename Lanes<N>::Type{}}; }
};
#else
#define ANYFM_PREFETCH(address) ((void)(address))
#define ANYFM_PREFETCH_FAR(address) ((void)(address))
#define ANYFM_INLINE inline
#define ANYFM_INLINE_LAMBDA
#define ANYFM_UNROLL

template <int N>
struct Vec {
  float v[N];

  static Vec load(const float* from) {
    Vec r;
    std::memcpy(r.v, from, sizeof r.v);
    return r;
  }
  static Vec splat(float x) {
    Vec r;
    for (int i = 0; i < N; ++i) r.v[i] = x;
    return r;
  }
  void store(float* to) const { std::memcpy(to, v, sizeof v); }
  friend Vec operator+(Vec a, Vec b) {
    for (int i = 0; i < N; ++i) a.v[i] += b.v[i];
    return a;
  }
  friend Vec operator-(Vec a, Vec b) {
    for (int i = 0; i < N; ++i) a.v[i] -= b.v[i];
    return a;
  }
  friend Vec operator*(Vec a, Vec b) {
    for (int i = 0; i < N; ++i) a.v[i] *= b.v[i];
    return a;
  }
  float at(int i) const { return v[i]; }
  Vec bits_from(int minus, int shift) const {
    Vec r;
    for (int i = 0; i < N; ++i) {
      int32_t n;
      std::memcpy(&n, v + i, sizeof n);
      n = minus - (n >> shift);
      std::memcpy(r.v + i, &n, sizeof n);
    }
    return r;
  }
  Vec times_power(Vec t) const {
    Vec r;
    for (int i = 0; i < N; ++i) {
      uint32_t bits, power;
      std::memcpy(&bits, v + i, sizeof bits);
      std::memcpy(&power, t.v + i, sizeof power);
      bits += power << 23;
      std::memcpy(r.v + i, &bits, sizeof bits);
    }
    return r;
  }
  friend Vec maximum(Vec a, Vec b) {
    for (int i = 0; i < N; ++i) a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
    return a;
  }
  friend Vec where_positive(Vec c, Vec a) {
    for (int i = 0; i < N; ++i) a.v[i] = c.v[i] > 0 ? a.v[i] : 0.0f;
    return a;
  }
};
#endif

// How many lanes one register of this build holds.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif

// Lane j of the result is lane Index::at(j) of a and b laid end to end.
template <class Index, int N, size_t... J>
ANYFM_INLINE Vec<N> shuffle(Vec<N> a, Vec<N> b, std::index_sequence<J...>) {
#ifdef ANYFM_HAS_SHUFFLE
  return {__builtin_shufflevector(a.v, b.v, Index::at(static_cast<int>(J))...)};
#else
  float from[2 * N], to[N];
  a.store(from);
  b.store(from + N);
  ((to[J] = from[Index::at(static_cast<int>(J))]), ...);
  return Vec<N>::load(to);
#endif
}
template <class Index, int N>
ANYFM_INLINE Vec<N> shuffle(Vec<N> a, Vec<N> b) {
  return shuffle<Index>(a, b, std::make_index_sequence<N>());
}

// Transposes a square of groups of four lanes, Q = N / 4 registers of Q groups each.
namespace detail {
template <int N, int Width>
struct Lower {  // of every run of 2 Width lanes of a and b, the first Width
  static constexpr int at(int j) { return j / (2 * Width) * (2 * Width) + j % Width + (j / Width % 2) * N; }
};
template <int N, int Width>
struct Upper {
  static constexpr int at(int j) { return Lower<N, Width>::at(j) + Width; }
};
}  // namespace detail
template <int N>
ANYFM_INLINE void transpose_groups(Vec<N>* m) {
  using namespace detail;
  if constexpr (N == 8) {
    const Vec<N> low = shuffle<Lower<N, 4>>(m[0], m[1]);
    m[1] = shuffle<Upper<N, 4>>(m[0], m[1]);
    m[0] = low;
  } else if constexpr (N == 16) {
    const Vec<N> a = shuffle<Lower<N, 4>>(m[0], m[1]), b = shuffle<Upper<N, 4>>(m[0], m[1]);
    const Vec<N> c = shuffle<Lower<N, 4>>(m[2], m[3]), d = shuffle<Upper<N, 4>>(m[2], m[3]);
    m[0] = shuffle<Lower<N, 8>>(a, c);
    m[1] = shuffle<Lower<N, 8>>(b, d);
    m[2] = shuffle<Upper<N, 8>>(a, c);
    m[3] = shuffle<Upper<N, 8>>(b, d);
  }
}

// 1 / √a and 1 / a without the divider: a first guess from the bits of the number and one step of Newton's with
// constants that spread the error evenly. Relative error below 7e-4 and 4e-3, the same on every machine; a must be
// positive and normal (0 gives something finite).
template <int N>
ANYFM_INLINE Vec<N> inverse_root(Vec<N> a) {
  const Vec<N> y = a.bits_from(0x5f1ffff9, 1);
  return (Vec<N>::splat(0.703952253f) * y) * (Vec<N>::splat(2.38924456f) - a * (y * y));
}
template <int N>
ANYFM_INLINE Vec<N> inverse(Vec<N> a) {
  const Vec<N> y = a.bits_from(0x7ef311c3, 0);
  return y * (Vec<N>::splat(2.0f) - a * y);
}

// exp(x) for x ≤ 0, 0 below about −87: 2^n times the Taylor series of the rest to the sixth power. Relative error below
// 3e-7.
template <int N>
ANYFM_INLINE Vec<N> exp_of_negative(Vec<N> x) {
  const auto number = [](float a) { return Vec<N>::splat(a); };
  const Vec<N> held = maximum(x, number(-87.0f)), magic = number(12582912.0f);  // 1.5 · 2^23
  const Vec<N> t = held * number(1.44269504f) + magic, n = t - magic;
  const Vec<N> r = (held - n * number(0.693145752f)) - n * number(1.42860677e-6f);  // ln 2 in two parts
  Vec<N> y = number(1.0f / 720);
  for (const float c : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) y = y * r + number(c);
  return where_positive(x + number(87.0f), y.times_power(t));
}

// One half of the lanes: the lower where `first` is 0, the upper where it is N / 2.
template <int first, int N, size_t... J>
ANYFM_INLINE Vec<N / 2> half(Vec<N> a, std::index_sequence<J...>) {
#ifdef ANYFM_HAS_SHUFFLE
  return {__builtin_shufflevector(a.v, a.v, (first + static_cast<int>(J))...)};
#else
  Vec<N / 2> r;
  std::memcpy(&r, reinterpret_cast<const char*>(&a) + first * sizeof(float), sizeof r);
  return r;
#endif
}

// The sum of the lanes, halving pairwise so that it costs log2(N) additions.
template <int N>
ANYFM_INLINE float sum(Vec<N> a) {
  if constexpr (N == 2) {
    return a.at(0) + a.at(1);
  } else {
    const auto lanes = std::make_index_sequence<N / 2>();
    return sum(half<0>(a, lanes) + half<N / 2>(a, lanes));
  }
}

}  // namespace anyfm

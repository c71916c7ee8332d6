// A short vector of floats in plain C++: the compiler's own vector type where it has one, a loop elsewhere.
// No intrinsics: the same source is compiled for baseline, AVX2 and AVX-512.
#pragma once

#include <cstring>

namespace anyfm {

#if defined(__GNUC__) || defined(__clang__)
#define ANYFM_PREFETCH(address) __builtin_prefetch((address), 1, 3)
#define ANYFM_INLINE inline __attribute__((always_inline))

template <int N>
struct Lanes;  // spelt out, since GCC drops the attribute from a type that depends on N
#define ANYFM_LANES(N)                                                  \
  template <>                                                           \
  struct Lanes<N> {                                                     \
    typedef float Type __attribute__((vector_size(N * sizeof(float)))); \
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
};
#else
#define ANYFM_PREFETCH(address) ((void)(address))
#define ANYFM_INLINE inline

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
};
#endif

// The sum of the lanes, halving pairwise so that it costs log2(N) additions.
template <int N>
ANYFM_INLINE float sum(Vec<N> a) {
  if constexpr (N == 2) {
    return a.at(0) + a.at(1);
  } else {
    Vec<N / 2> low, high;
    std::memcpy(&low, &a, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&a) + sizeof low, sizeof high);
    return sum<N / 2>(low + high);
  }
}

}  // namespace anyfm

// The parameters of all features: one record of floats per feature, weights and optimiser state side by side, so that
// touching a feature touches one stream of cache lines.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "rows.hpp"
#include "trainer.hpp"

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace anyfm {

// Which columns of a record hold what: name → (first column, number of columns).
using Columns = std::vector<std::pair<std::string, std::pair<int64_t, int64_t>>>;

class Table {
 public:
  Table(int64_t n_records, int64_t stride) : n_(n_records), stride_(stride) {
    const size_t bytes = static_cast<size_t>(size()) * sizeof(float) + kCacheLine;
    memory_ = std::calloc(bytes, 1);
    if (!memory_) throw std::bad_alloc();
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory_);
    data_ = reinterpret_cast<float*>((at + kCacheLine - 1) / kCacheLine * kCacheLine);
#ifdef MADV_HUGEPAGE  // a random record then costs no walk through the page tables
    constexpr uintptr_t kPage = 4096;
    const uintptr_t first = (at + kPage - 1) / kPage * kPage, last = (at + bytes) / kPage * kPage;
    if (bytes >= (size_t{1} << 23)) madvise(reinterpret_cast<void*>(first), last - first, MADV_HUGEPAGE);
#endif
  }
  // A view of records that another owns.
  Table(float* records, int64_t n_records, int64_t stride)
      : n_(n_records), stride_(stride), memory_(nullptr), data_(records) {}
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;
  ~Table() { std::free(memory_); }

  int64_t n_records() const { return n_; }
  int64_t stride() const { return stride_; }
  int64_t size() const { return n_ * stride_; }
  float* data() { return data_; }
  const float* data() const { return data_; }
  float* operator[](int64_t i) { return data_ + i * stride_; }
  const float* operator[](int64_t i) const { return data_ + i * stride_; }

 private:
  static constexpr size_t kCacheLine = 64;
  int64_t n_, stride_;
  void* memory_;
  float* data_;
};

// The bias belongs to no feature: thread 0 steps it once per row, without a penalty.
struct Bias {
  float value = 0;
  float accumulator = 1;

  void update(const Block& block, const Adagrad& adagrad) {
    for (int i = 0; i < block.size; ++i)
      if (block.weight[i] != 0) adagrad.update(value, accumulator, 0.0f, block.dlogit[i]);
  }
};

// 1 / ‖x‖ of a row; 1 for a row of zeros.
inline float inverse_norm(const Row& row) {
  if (!row.values) return row.size ? 1.0f / std::sqrt(static_cast<float>(row.size)) : 1.0f;
  float squares = 0;
  for (int64_t s = 0; s < row.size; ++s) squares += row.values[s] * row.values[s];
  return squares > 0 ? 1.0f / std::sqrt(squares) : 1.0f;
}

}  // namespace anyfm

// The parameters of all features: one record of floats per feature, weights and optimizer state side by side, so that
// touching a feature touches one stream of cache lines.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace anyfm {

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

}  // namespace anyfm

// What the bindings see of a model: one interface over all kernels and their widths.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>

#include "evidence.hpp"
#include "parts_train.hpp"
#include "pool.hpp"
#include "rows.hpp"
#include "table.hpp"
#include "trainer.hpp"

#if defined(__unix__) || defined(__APPLE__)
#include <unistd.h>
#endif

namespace anyfm {

// A pool that is made when first needed, and anew in a forked child, where the threads of the parent are gone.
class LazyPool {
 public:
  explicit LazyPool(int n_threads) : n_threads_(n_threads) {}
  int size() const { return n_threads_; }
  Pool& get() {
    std::lock_guard<std::mutex> lock(mutex_);
    if (pool_ && made_by_ != process()) pool_.release();  // its threads live in the parent only
    if (!pool_) {
      pool_ = std::make_unique<Pool>(n_threads_, true);
      made_by_ = process();
    }
    return *pool_;
  }

 private:
  static long process() {
#if defined(__unix__) || defined(__APPLE__)
    return static_cast<long>(getpid());
#else
    return 0;
#endif
  }
  const int n_threads_;
  std::mutex mutex_;
  std::unique_ptr<Pool> pool_;
  long made_by_ = 0;
};

class AnyModel {
 public:
  explicit AnyModel(int n_threads) : pool_(n_threads) {}
  virtual ~AnyModel() = default;

  virtual double step(const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
                      Adagrad adagrad) = 0;
  virtual void logits(const Rows& rows, float* out, bool threaded) = 0;
  virtual Table& table() = 0;
  virtual Bias& bias() = 0;
  virtual Columns columns() const = 0;
  virtual int64_t count_column() const = 0;
  virtual std::vector<PenaltyGroup> penalty_groups() const = 0;
  virtual int n_fields() const { return 0; }  // 0: the model does not look at fields
  Pool& pool() { return pool_.get(); }
  int n_threads() const { return pool_.size(); }

 protected:
  LazyPool pool_;
};

// How a model trains and scores: linear and FM by parts of rows.
template <class Model>
double train(Model& model, const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
             Pool& pool) {
  return rows.values || model.normalize() ? train_parts<false>(model, rows, owners, order, n, loss, pool)
                                          : train_parts<true>(model, rows, owners, order, n, loss, pool);
}

template <class Model>
void score(const Model& model, const Rows& rows, int64_t begin, int64_t end, float* logits) {
  score_sums(model, rows, begin, end, logits);
}

template <class Model>
class ModelOf final : public AnyModel {
 public:
  template <class... Args>
  ModelOf(int n_threads, Args&&... args) : AnyModel(n_threads), model_(std::forward<Args>(args)...) {}

  double step(const Rows& rows, const Ownership& owners, const int64_t* order, int64_t n, const Loss& loss,
              Adagrad adagrad) override {
    model_.adagrad() = adagrad;
    return train(model_, rows, owners, order, n, loss, pool_.get());
  }
  void logits(const Rows& rows, float* out, bool threaded) override {
    if (!threaded) return score(model_, rows, 0, rows.n_rows, out);
    Pool& pool = pool_.get();
    const int n = pool.size();
    pool.run([&](int t) { score(model_, rows, rows.n_rows * t / n, rows.n_rows * (t + 1) / n, out); });
  }
  Table& table() override { return model_.table(); }
  Bias& bias() override { return model_.bias(); }
  Columns columns() const override { return model_.columns(); }
  int64_t count_column() const override { return model_.count_column(); }
  std::vector<PenaltyGroup> penalty_groups() const override { return model_.penalty_groups(); }

 private:
  Model model_;
};

}  // namespace anyfm

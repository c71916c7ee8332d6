// What the bindings see of a model: one interface over all kernels.
#pragma once

#include <algorithm>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/denormals.hpp"
#include "base/options.hpp"
#include "base/pool.hpp"
#include "base/row_fields.hpp"
#include "base/rows.hpp"
#include "base/table.hpp"
#include "optim/dense.hpp"
#include "optim/priors.hpp"
#include "training/block.hpp"

namespace anyfm {

// What every model is made for. Without `training` it stores what scoring needs and nothing else.
struct ModelSizes {
  int64_t n_features;
  int n_fields;
  bool training;
  int n_threads;
};

// A parameter of each feature: `width` floats, which are n_vectors vectors of one length. Each vector has an
// accumulator and a prior.
struct Parameter {
  std::string name;
  int64_t width, n_vectors;
};

// A model offers `train` for one pass, `score` for a range of rows, and access to its parameters. Denormals are flushed
// here, for all models alike, so that scores do not depend on how rows are cut or on the threads.
class Model {
 public:
  explicit Model(const ModelSizes& sizes) : sizes_(sizes), pool_(sizes.n_threads) {}
  virtual ~Model() = default;

  int64_t n_features() const { return sizes_.n_features; }
  // Those of training: as many as asked for, or fewer where the system starts no more.
  int n_threads() { return pool_.get().size(); }
  bool training() const { return sizes_.training; }
  Bias& bias() { return bias_; }
  const Bias& bias() const { return bias_; }

  // How many fields the model knows; 0: it does not look at fields.
  virtual int n_fields() const { return 0; }
  // Rows of one optimizer step of the features.
  virtual int block_rows(int64_t n_rows) const { return block_rows_for(n_rows); }

  // The summed loss of the rows, each taken before its own step.
  double step(const Pass& pass) {
    const DenormalMode mode(DenormalMode::kFlush);
    const double loss = train(pass);
    if (dense()) dense_changed();
    return loss;
  }
  void logits(const Rows& rows, float* out, bool threaded) {
    const DenormalMode mode(DenormalMode::kFlush);
    if (!threaded) return score_copies(rows, 0, rows.n_rows, out);
    Pool& pool = pool_.get();
    const int n = pool.size();
    pool.run([&](int t) { score_copies(rows, rows.n_rows * t / n, rows.n_rows * (t + 1) / n, out); });
  }

  // The parameters of the features, in the order of their priors.
  virtual std::vector<Parameter> parameters() const = 0;
  // All memory that belongs to features.
  virtual std::vector<Table*> tables() = 0;
  // Floats of it that belong to one feature.
  virtual int64_t record_floats() const = 0;
  // Zeroes all parameters and what the optimizers know of them, and sets the counts of the features and the
  // accumulators of each parameter of theirs.
  void reset(const float* counts, const std::vector<double>& accumulators) {
    reset_features(counts, accumulators);
    bias_ = Bias();
    if (!dense()) return;
    const std::vector<float> zeros(static_cast<size_t>(dense()->size()), 0.0f);
    for (const Dense::Line line : {Dense::kFirst, Dense::kSecond, Dense::kValues}) write_dense(line, zeros.data());
    dense()->set_steps(0);
  }
  // Copies a parameter of features first … first + n − 1 out of the model or into it, (n, width).
  virtual void read(size_t parameter, float* to, int64_t first, int64_t n) = 0;
  virtual void write(size_t parameter, const float* from, int64_t first, int64_t n) = 0;
  // Copies the accumulators of a parameter, one for each vector of each feature, (n_features, n_vectors).
  virtual void read_accumulators(size_t parameter, float* to) = 0;
  // One prior for each vector of `parameters`.
  void set_priors(std::vector<Prior>& priors, const PriorUpdate& update) {
    const DenormalMode mode(DenormalMode::kFlush);
    apply_priors(priors, update);
  }

  // What every row uses, beside the bias; nullptr if there is nothing.
  virtual Dense* dense() { return nullptr; }
  void write_dense(Dense::Line line, const float* from) {
    dense()->write(line, from);
    dense_changed();
  }
  void set_dense_optimizer(const float* units, const float* l2, const float* decay) {
    dense()->set_optimizer(units, l2, decay);
    dense_changed();
  }
  // The rate of dropout in training, and where its draws come from.
  virtual void set_dropout(float rate, uint64_t, uint64_t) {
    if (rate != 0) throw std::invalid_argument("the model has no dropout");
  }

 protected:
  virtual void reset_features(const float* counts, const std::vector<double>& accumulators) = 0;
  virtual double train(const Pass& pass) = 0;
  // The logits of rows begin … end − 1.
  virtual void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const = 0;
  virtual void apply_priors(std::vector<Prior>& priors, const PriorUpdate& update) = 0;
  // The dense parameters have new values: to be put in the form that `score` reads.
  virtual void dense_changed() {}

  // Scores rows begin … end − 1 from copies of what memory is addressed by, checked here: another thread of the
  // caller's program may be writing to the arrays, whatever was checked before.
  void score_copies(const Rows& rows, int64_t begin, int64_t end, float* out) const {
    constexpr int64_t kCopiedRows = 512;
    std::vector<int32_t> ids, fields;
    std::vector<int64_t> offsets;
    ids.reserve(1);  // rows without entries have arrays too
    fields.reserve(1);
    for (int64_t start = begin; start < end; start += kCopiedRows) {
      Rows copy = rows;
      copy.n_rows = std::min(kCopiedRows, end - start);
      copy.y = copy.weight = nullptr;
      int64_t first = start * rows.n_slots, last = first + copy.n_rows * rows.n_slots;
      if (rows.offsets) {
        offsets.assign(rows.offsets + start, rows.offsets + start + copy.n_rows + 1);
        first = offsets.front();
        last = offsets.back();
        if (first < 0 || last > rows.n_entries || !std::is_sorted(offsets.begin(), offsets.end()))
          throw std::invalid_argument("offsets must ascend from 0 to the number of entries");
        for (int64_t& offset : offsets) offset -= first;
        copy.offsets = offsets.data();
      }
      copy.n_entries = last - first;
      ids.assign(rows.ids + first, rows.ids + last);
      for (const int32_t id : ids)
        if (id < 0 || id >= n_features()) throw std::out_of_range("feature id out of bounds");
      copy.ids = ids.data();
      if (rows.values) copy.values = rows.values + first;
      if (rows.fields) {
        fields.assign(rows.fields + (rows.offsets ? first : 0), rows.fields + (rows.offsets ? last : rows.n_slots));
        copy.fields = fields.data();
      }
      if (n_fields() > 0) check_fields(copy, n_fields());
      score(copy, 0, copy.n_rows, out + start);
    }
  }

  // Calls f(begin, end) for ranges of 0 … n − 1, on all threads where `floats` numbers in all are worth it.
  template <class F>
  void in_parallel(int64_t n, int64_t floats, F&& f) {
    constexpr int64_t kThreaded = int64_t{1} << 16;
    if (floats < kThreaded) return f(int64_t{0}, n);
    for_chunks(n, pool_.get(), [&](int, int64_t begin, int64_t end) { f(begin, end); });
  }

  const ModelSizes sizes_;
  LazyPool pool_;
  Bias bias_;
};

// Which columns of a record hold what.
struct RecordLayout {
  struct Columns {
    std::string name;
    VectorColumns vector;
  };
  std::vector<Columns> parameters;
  int64_t count;  // how often the feature occurs in the training rows

  std::vector<VectorColumns> vectors() const {
    std::vector<VectorColumns> all;
    for (const Columns& columns : parameters) all.push_back(columns.vector);
    return all;
  }
};

// A model whose features have one record each, in one table, with one vector for each parameter.
class RecordModel : public Model {
 public:
  RecordModel(const ModelSizes& sizes, RecordLayout layout) : Model(sizes), layout_(std::move(layout)) {}

  std::vector<Parameter> parameters() const override {
    std::vector<Parameter> all;
    for (const RecordLayout::Columns& columns : layout_.parameters)
      all.push_back({columns.name, columns.vector.length, 1});
    return all;
  }
  std::vector<Table*> tables() override { return {&table()}; }
  int64_t record_floats() const override { return const_cast<RecordModel*>(this)->table().stride(); }

  void read(size_t parameter, float* to, int64_t first, int64_t n) override {
    const VectorColumns& columns = layout_.parameters[parameter].vector;
    in_parallel(n, n * columns.length, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j)
        std::copy_n(table()[first + j] + columns.first, columns.length, to + j * columns.length);
    });
  }
  void write(size_t parameter, const float* from, int64_t first, int64_t n) override {
    const VectorColumns& columns = layout_.parameters[parameter].vector;
    in_parallel(n, n * columns.length, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j)
        std::copy_n(from + j * columns.length, columns.length, table()[first + j] + columns.first);
    });
  }
  void read_accumulators(size_t parameter, float* to) override {
    const VectorColumns& columns = layout_.parameters[parameter].vector;
    for (int64_t j = 0; j < n_features(); ++j) to[j] = table()[j][columns.accumulator];
  }

 protected:
  virtual Table& table() = 0;
  const RecordLayout& layout() const { return layout_; }

  void reset_features(const float* counts, const std::vector<double>& accumulators) override {
    Table& table = this->table();
    in_parallel(n_features(), table.size(), [&](int64_t begin, int64_t end) {
      std::fill(table[begin], table[end], 0.0f);
      for (int64_t j = begin; j < end; ++j) {
        table[j][layout_.count] = counts[j];
        for (size_t p = 0; p < layout_.parameters.size(); ++p)
          table[j][layout_.parameters[p].vector.accumulator] = static_cast<float>(accumulators[p]);
      }
    });
  }
  void apply_priors(std::vector<Prior>& priors, const PriorUpdate& update) override {
    const std::vector<VectorColumns> vectors = layout_.vectors();
    Pool& pool = pool_.get();
    if (update.estimate) estimate_priors(table(), vectors, layout_.count, priors, update, pool);
    set_penalties(table(), vectors, layout_.count, priors, update, pool);
  }

 private:
  const RecordLayout layout_;
};

}  // namespace anyfm

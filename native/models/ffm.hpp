// The field-aware factorization machine. The formula stands in src/anyfm/models/ffm.py.
//
// A feature has a section for each group of fields (ffm_layout.hpp): [planes of its vectors toward these fields |
// their accumulators], the vectors in planes of four factors (ffm_step.hpp). The last section goes on with w a d
// count h, as in linear.hpp. For scoring it is [planes] and w. The vectors' penalties are not stored by feature and
// field: the penalty of one occurrence is that of the two fields divided by the feature's count.
//
// `plain` rows hold one feature of every field, `mixed` rows any number of each. These are summed first: with S(f, g) =
// Σ x v over the features of field f toward g, fields f ≠ g give ⟨S(f, g), S(g, f)⟩ and f ½ (‖S(f, f)‖² − Σ x² ‖v‖²).
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <vector>

#include "base/aligned.hpp"
#include "base/rows.hpp"
#include "models/ffm_block.hpp"
#include "models/ffm_field_groups.hpp"
#include "models/ffm_step.hpp"
#include "models/ffm_table.hpp"
#include "models/ffm_train.hpp"
#include "models/model.hpp"
#include "optim/adagrad.hpp"

namespace anyfm {

// C planes of four factors (0: known at run time only).
template <int C>
class Ffm final : public RecordModel, public FfmTable {
 public:
  using Pair = FieldGroups::Pair;
  static constexpr int kMaxWidth = 16;

  // What one thread needs: a block of rows laid out, and memory for the partners of one pair of groups.
  struct Scratch {
    FfmBlock block;
    AlignedFloats to_a, to_b;  // (field of a, plane, field of b, 4), and the other way round
  };

  Ffm(const ModelSizes& sizes, const FfmOptions& options)
      : RecordModel(sizes, FfmTable::linear_layout(options, sizes.training)),
        FfmTable(sizes.n_features, options, sizes.training),
        shrink_(static_cast<size_t>(options.n_fields) * groups_.padded(), 0.0f),
        plain_shrink_(shrink_),
        inverse_counts_(sizes.training ? sizes.n_features : 0, 1.0f),
        zeros_(last_.weights, 0.0f) {}

  int n_fields() const override { return options_.n_fields; }
  std::vector<Parameter> parameters() const override {
    return {{"linear", 1, 1}, {"field_factors", factor_floats(), options_.n_fields}};
  }
  std::vector<Table*> tables() override { return {&table_, &sections_}; }
  int64_t record_floats() const override { return ffm_floats(options_, trained_); }
  void read(size_t parameter, float* to, int64_t first, int64_t n) override {
    if (parameter == 0) return RecordModel::read(parameter, to, first, n);
    in_parallel(n, n * factor_floats(), [&](int64_t begin, int64_t end) {
      read_factors(to + begin * factor_floats(), first + begin, end - begin);
    });
  }
  void write(size_t parameter, const float* from, int64_t first, int64_t n) override {
    if (parameter == 0) return RecordModel::write(parameter, from, first, n);
    in_parallel(n, n * factor_floats(), [&](int64_t begin, int64_t end) {
      write_factors(from + begin * factor_floats(), first + begin, end - begin);
    });
  }
  void read_accumulators(size_t parameter, float* to) override {
    if (parameter == 0) return RecordModel::read_accumulators(parameter, to);
    in_parallel(n_features_, n_features_ * options_.n_fields, [&](int64_t begin, int64_t end) {
      for (int64_t j = begin; j < end; ++j)
        for (int group = 0; group < groups_.n_groups(); ++group)
          for (int g = groups_.begin(group); g < groups_.end(group); ++g)
            to[j * options_.n_fields + g] =
                static_cast<float>(accumulator(section(j, group), section_layout(group), g - groups_.begin(group)));
    });
  }

  // For ffm_train.hpp.
  bool has_bias() const { return options_.linear; }

  // Rows that fit a quarter of a second cache of 1 MiB or so, since as many are fetched ahead; at least eight, and at
  // most as many as a block of the other models has.
  int cached_rows() const {
    int64_t rows = 8;
    while (rows < kBlockRows && 2 * rows * options_.n_fields * record_floats() * 4 <= (int64_t{3} << 17)) rows *= 2;
    return static_cast<int>(rows);
  }

  Scratch make_scratch() const {
    const int64_t floats = int64_t{4} * groups_.width() * groups_.width() * planes();
    return {{}, AlignedFloats(floats), AlignedFloats(floats)};
  }

  // Lays n rows out for `forward` and `update`: rows order[0], order[1] …, or `first` on without an order.
  void lay_out(const Rows& rows, const std::vector<int32_t>& slot_of_field, const int64_t* order, int64_t first, int n,
               Scratch& scratch) const {
    scratch.block.lay_out(rows, slot_of_field, order, first, n, options_.normalize,
                          FfmLookup{&groups_, &sections_, &table_, n_features_, zeros_.data(),
                                    trained_ ? inverse_counts_.data() : nullptr});
  }

  // The part of row i's logit that belongs to a pair of groups.
  float forward(Pair pair, int i, Scratch& scratch) const {
    const float r = scratch.block.scale(i);
    float linear = 0, pairs = 0;
    if (scratch.block.plain()) {
      const Side a = side(pair.a, pair.b, i, scratch), b = side(pair.b, pair.a, i, scratch);
      pairs = scratch.block.has_values() ? plain_pairs<false>(pair, a, b) : plain_pairs<true>(pair, a, b);
      if (options_.linear && groups_.has_linear(pair))
        for (int s = 0; s < a.size; ++s) linear += a.x[s] * a.last_section[s][linear_column()];
    } else {
      const Span a = scratch.block.span(i, pair.a), b = scratch.block.span(i, pair.b);
      pairs = mixed_pairs(pair, a, b, scratch);
      if (options_.linear && groups_.has_linear(pair))
        for (const Entry* e = a.begin; e != a.end; ++e) linear += e->x * e->last[linear_column()];
    }
    return r * (r * pairs + linear);
  }

  // One Adagrad step of the parameters that belong to a pair of groups, for row i.
  void update(Pair pair, int i, float dlogit, float weight, const Adagrad& adagrad, Scratch& scratch) {
    const float r = scratch.block.scale(i);
    const FieldStep step{dlogit * r * r, adagrad.learning_rate, weight, 1.0f / static_cast<float>(options_.n_factors)};
    const bool linear = options_.linear && groups_.has_linear(pair);
    if (scratch.block.plain()) {
      const Side a = side(pair.a, pair.b, i, scratch), b = side(pair.b, pair.a, i, scratch);
      plain_update(pair, a, b, step, scratch);
      if (linear)
        for (int s = 0; s < a.size; ++s) step_linear(a.last_section[s], dlogit * r * a.x[s], weight, adagrad);
    } else {
      const Span a = scratch.block.span(i, pair.a), b = scratch.block.span(i, pair.b);
      mixed_update(pair, a, b, step, scratch);
      if (linear)
        for (const Entry* e = a.begin; e != a.end; ++e) step_linear(e->last, dlogit * r * e->x, weight, adagrad);
    }
  }

  // Announces to the cache what a pair of groups will touch of row i.
  ANYFM_INLINE void prefetch(Pair pair, int i, const Scratch& scratch) const {
    prefetch_half(pair.a, pair.b, i, scratch);
    if (pair.a != pair.b) prefetch_half(pair.b, pair.a, i, scratch);
  }

  // Announces what `lay_out` will read beside the ids.
  void prefetch_counts(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) ANYFM_PREFETCH_FAR(inverse_counts_.data() + row.ids[s]);
  }

  // Announces all weights of a row that is to be scored.
  void prefetch(const Row& row) const {
    for (int64_t s = 0; s < row.size; ++s) {
      for (int group = 0; group < last_group(); ++group) {
        const float* section = sections_[group * (n_features_ + 1) + row.ids[s]];
        for (int64_t at = 0; at < front_.stride; at += 16) ANYFM_PREFETCH_FAR(section + at);
      }
      for (int64_t at = 0; at < last_.stride; at += 16) ANYFM_PREFETCH_FAR(table_[row.ids[s]] + at);
    }
  }

  ANYFM_INLINE int planes() const { return C ? C : (options_.n_factors + 3) / 4; }

 protected:
  Table& table() override { return table_; }
  double train(const Pass& pass) override { return train_ffm(*this, pass, pool_.get()); }
  void score(const Rows& rows, int64_t begin, int64_t end, float* logits) const override {
    const std::vector<int32_t> slots = slots_by_field(rows, options_.n_fields);
    Scratch scratch = make_scratch();
    for (int64_t i = begin; i < end; ++i) {
      if (i + kPrefetchRows < end) prefetch(rows[i + kPrefetchRows]);
      lay_out(rows, slots, nullptr, i, 1, scratch);
      float z = bias_.value;
      for (const Pair pair : groups_.pairs()) z += forward(pair, 0, scratch);
      logits[i] = z;
    }
  }

  void reset_features(const float* counts, const std::vector<double>& accumulators) override {
    RecordModel::reset_features(counts, accumulators);
    accumulator_start_ = accumulators[1];
    in_parallel(n_features_, n_features_ * record_floats(),
                [&](int64_t begin, int64_t end) { clear_vectors(static_cast<float>(accumulator_start_), begin, end); });
  }

  // Prior 0 is that of the linear weights, prior 1 + g that of the vectors toward field g, by the feature's own field.
  void apply_priors(std::vector<Prior>& priors, const PriorUpdate& update) override {
    const size_t n_fields = static_cast<size_t>(options_.n_fields);
    if (priors[0].precision.size() != n_fields)
      throw std::invalid_argument("a prior of the field-aware model needs one precision per field of the model");
    RecordModel::apply_priors(priors, update);
    if (update.estimate) estimate_field_priors(priors, update);
    for (size_t f = 0; f < n_fields; ++f)
      for (size_t g = 0; g < n_fields; ++g) {
        const size_t at = f * static_cast<size_t>(groups_.padded()) + g;
        shrink_[at] = static_cast<float>(update.dispersion * priors[1 + g].precision[f]);
        plain_shrink_[at] = f == g ? 0.0f : shrink_[at];
      }
    for (int64_t j = 0; j < n_features_ && !options_.libffm; ++j)
      inverse_counts_[j] = 1.0f / std::max(1.0f, table_[j][count_column()]);
  }

 private:
  using V = Vec<4>;
  using Entry = FfmBlock::Entry;
  using Group = FfmBlock::Group;
  using Span = FfmBlock::Span;

  // The features of a group of fields of a plain row, and their sections toward another group: vector c, t of feature s
  // lies at record[s] + at + c plane + 4 t.
  struct Side : Group {
    float* const* record;
    int64_t at, plane, accumulators;
  };

  ANYFM_INLINE Side side(int own, int other, int i, const Scratch& scratch) const {
    const Group group = scratch.block.group(i, own);
    if (other == last_group()) return {group, group.last_section, 0, last_.plane, last_.weights};
    return {group, group.first_section, section_at(other), front_.plane, section_at(other) + front_.weights};
  }
  float* section_of(const Entry& e, int group) const {
    return group == last_group() ? e.last : e.first + section_at(group);
  }

  void step_linear(float* record, float g, float weight, const Adagrad& adagrad) const {
    float* w = record + linear_column();
    adagrad.update(w[0], w[1], weight * w[2], g);
  }

  ANYFM_INLINE void prefetch_half(int own, int other, int i, const Scratch& scratch) const {
    const int64_t floats = section_layout(other).stride;
    const auto one = [&](const float* section) {
      for (int64_t at = 0; at < floats; at += 16) ANYFM_PREFETCH_FAR(section + at);
    };
    if (scratch.block.plain()) {
      const Side features = side(own, other, i, scratch);
      for (int s = 0; s < features.size; ++s) one(features.record[s] + features.at);
    } else {
      const Span features = scratch.block.span(i, own);
      for (const Entry* e = features.begin; e != features.end; ++e) one(section_of(*e, other));
    }
  }

  // Σ ⟨v_s toward t, v_t toward s⟩ x_s x_t over the fields s of a and t of b, in squares of 4 × 4 fields.
  template <bool kAllOnes>
  float plain_pairs(Pair pair, const Side& a, const Side& b) const {
    Vec<4 * kQuads> z[2] = {Vec<4 * kQuads>::splat(0), Vec<4 * kQuads>::splat(0)};
    V within = V::splat(0);
    for (int c = 0; c < planes(); ++c)
      for (int t = 0; t < b.padded; t += 4) {
        const int full = pair.a == pair.b ? t : a.size;
        for (int s = 0; s < full; s += 4) square<kAllOnes>(a, s, b, t, c, z);
        if (pair.a == pair.b) within = within + triangle<kAllOnes>(a, t, c);
      }
    return sum(z[0] + z[1]) + sum(within);
  }

  template <bool kAllOnes>
  ANYFM_INLINE void square(const Side& a, int s, const Side& b, int t, int c, Vec<4 * kQuads>* z) const {
    using W = Vec<4 * kQuads>;
    const int64_t to_a = b.at + c * b.plane, to_b = a.at + c * a.plane;
    for (int s_at = s; s_at < s + 4; s_at += kQuads)
      for (int t_at = t; t_at < t + 4; t_at += kQuads) {
        W m[kQuads];
        for (int q = 0; q < kQuads; ++q) {
          m[q] = W::load(b.record[t_at + q] + to_a + 4 * s_at);
          if (!kAllOnes) m[q] = m[q] * W::splat(b.x[t_at + q]);
        }
        transpose_groups(m);
        for (int q = 0; q < kQuads; ++q) {
          const W v = W::load(a.record[s_at + q] + to_b + 4 * t_at);
          z[q % 2] = z[q % 2] + m[q] * (kAllOnes ? v : v * W::splat(a.x[s_at + q]));
        }
      }
  }

  template <bool kAllOnes>
  ANYFM_INLINE V triangle(const Side& a, int first, int c) const {
    const int64_t base = a.at + c * a.plane;
    V z = V::splat(0);
    for (int t = first + 1; t < first + 4; ++t)
      for (int s = first; s < t; ++s) {
        const V v = V::load(a.record[s] + base + 4 * t) * V::load(a.record[t] + base + 4 * s);
        z = z + (kAllOnes ? v : v * V::splat(a.x[s] * a.x[t]));
      }
    return z;
  }

  // Lays x v of the features of `from` toward the fields of `to` out as partners of the latter: (field of to, plane,
  // field of from, 4).
  template <bool kAllOnes>
  ANYFM_INLINE void transpose(const Side& from, const Side& to, float* out) const {
    constexpr int kSide = 4;
    const int64_t width = 4 * groups_.width(), stride = width * planes();
    for (int c = 0; c < planes(); ++c)
      for (int t = 0; t < to.padded; t += kSide)
        for (int s = 0; s < from.padded; s += kSide) {
          float* corner = out + t * stride + c * width + 4 * s;
          const int64_t at = from.at + c * from.plane + 4 * t;
          for (int half = 0; half < kSide; half += kQuads)  // squares of kQuads × kQuads vectors
            for (int part = 0; part < kSide; part += kQuads) {
              Vec<4 * kQuads> m[kQuads];
              for (int q = 0; q < kQuads; ++q) {
                m[q] = Vec<4 * kQuads>::load(from.record[s + half + q] + at + 4 * part);
                if (!kAllOnes) m[q] = m[q] * Vec<4 * kQuads>::splat(from.x[s + half + q]);
              }
              transpose_groups(m);
              for (int q = 0; q < kQuads; ++q) m[q].store(corner + (part + q) * stride + 4 * half);
            }
        }
  }

  // Steps the features of `own` toward the fields of `other`, with partners from `transpose`.
  ANYFM_INLINE void plain_side(const Side& own, const Side& other, FieldStep step, const float* partners) {
    const int64_t width = 4 * groups_.width(), stride = width * planes();
    const float* shrink = plain_shrink_.data() + static_cast<int64_t>(own.first) * groups_.padded() + other.first;
    const auto feature_at = [&](int s) ANYFM_INLINE_LAMBDA {
      FieldStep mine = step;
      mine.kappa *= own.x[s];
      mine.penalty *= own.inverse_count[s];
      float* record = own.record[s];
      return FeatureStep{mine,
                         FieldRun{record + own.at, own.plane, record + own.accumulators, shrink + s * groups_.padded()},
                         Partners{partners + s * stride, width}};
    };
    step_fields<C>(own.size, feature_at, other.padded, planes(), options_.libffm);
  }

  void plain_update(Pair pair, const Side& a, const Side& b, FieldStep step, Scratch& scratch) {
    float *to_a = scratch.to_a.get(), *to_b = scratch.to_b.get();
    const bool all_ones = !scratch.block.has_values();
    all_ones ? transpose<true>(b, a, to_a) : transpose<false>(b, a, to_a);
    if (pair.a == pair.b) {  // a feature is no partner of itself
      const int64_t width = 4 * groups_.width();
      for (int s = 0; s < a.size; ++s)
        for (int c = 0; c < planes(); ++c) V::splat(0).store(to_a + (s * planes() + c) * width + 4 * s);
    } else {
      all_ones ? transpose<true>(a, b, to_b) : transpose<false>(a, b, to_b);
      plain_side(b, a, step, to_b);
    }
    plain_side(a, b, step, to_a);
  }

  // --- mixed rows ---

  // S(g, f) for the fields g of `from`'s group at (f, plane, g, 4), f in `group`.
  void sum_entries(Span from, int from_group, int group, float* out) const {
    const int64_t width = 4 * groups_.width();
    const int n = groups_.end(group) - groups_.begin(group);
    const int64_t plane = section_layout(group).plane;
    std::fill(out, out + n * planes() * width, 0.0f);
    for (const Entry* e = from.begin; e != from.end; ++e) {
      const float* vectors = section_of(*e, group);
      for (int c = 0; c < planes(); ++c)
        for (int s = 0; s < n; ++s) {
          float* at = out + (s * planes() + c) * width + 4 * (e->field - groups_.begin(from_group));
          (V::load(at) + V::load(vectors + c * plane + 4 * s) * V::splat(e->x)).store(at);
        }
    }
  }

  float mixed_pairs(Pair pair, Span a, Span b, Scratch& scratch) const {
    const int64_t width = 4 * groups_.width();
    sum_entries(b, pair.b, pair.a, scratch.to_a.get());
    V z = V::splat(0), own = V::splat(0);
    for (const Entry* e = a.begin; e != a.end; ++e) {
      const float* vectors = section_of(*e, pair.b);
      V toward = V::splat(0);
      for (int c = 0; c < planes(); ++c) {
        const float* partner = scratch.to_a.get() + ((e->field - groups_.begin(pair.a)) * planes() + c) * width;
        const float* v = vectors + c * section_layout(pair.b).plane;
        for (int t = 0; t < groups_.end(pair.b) - groups_.begin(pair.b); ++t)
          toward = toward + V::load(v + 4 * t) * V::load(partner + 4 * t);
        if (pair.a != pair.b) continue;
        const V self = V::load(v + 4 * (e->field - groups_.begin(pair.b))) * V::splat(e->x);
        own = own + self * self;
      }
      z = z + toward * V::splat(e->x);
    }
    return pair.a == pair.b ? 0.5f * sum(z - own) : sum(z);
  }

  void mixed_side(Span own, int own_group, Span other, int other_group, FieldStep step, float* partners) {
    const int64_t width = 4 * groups_.width();
    const int first = groups_.begin(other_group), n = groups_.padded_end(other_group) - first;
    int present[kMaxWidth] = {};
    for (const Entry* e = other.begin; e != other.end; ++e) ++present[e->field - first];
    float shrink[kMaxWidth];
    const FfmSection& toward = section_layout(other_group);
    for (const Entry* e = own.begin; e != own.end; ++e) {
      float* vectors = section_of(*e, other_group);
      const float* of_field = shrink_.data() + static_cast<int64_t>(e->field) * groups_.padded() + first;
      for (int t = 0; t < n; ++t) shrink[t] = present[t] - (first + t == e->field) > 0 ? of_field[t] : 0.0f;
      float* partner = partners + (e->field - groups_.begin(own_group)) * planes() * width;
      FieldStep mine = step;
      mine.kappa *= e->x;
      mine.penalty *= e->inverse_count;
      const bool within = own_group == other_group;
      const int64_t at = 4 * (e->field - first);
      V whole[64];
      for (int c = 0; within && c < planes(); ++c) {  // a feature is no partner of itself
        whole[c] = V::load(partner + c * width + at);
        const V self = V::load(vectors + c * toward.plane + at) * V::splat(e->x);
        (present[e->field - first] > 1 ? whole[c] - self : V::splat(0)).store(partner + c * width + at);
      }
      const FeatureStep feature{mine, FieldRun{vectors, toward.plane, vectors + toward.weights, shrink},
                                Partners{partner, width}};
      step_fields<C>(1, [&](int) ANYFM_INLINE_LAMBDA { return feature; }, n, planes(), options_.libffm);
      for (int c = 0; within && c < planes(); ++c) whole[c].store(partner + c * width + at);
    }
  }

  void mixed_update(Pair pair, Span a, Span b, FieldStep step, Scratch& scratch) {
    sum_entries(b, pair.b, pair.a, scratch.to_a.get());
    if (pair.a != pair.b) {
      sum_entries(a, pair.a, pair.b, scratch.to_b.get());
      mixed_side(b, pair.b, a, pair.a, step, scratch.to_b.get());
    }
    mixed_side(a, pair.a, b, pair.b, step, scratch.to_a.get());
  }

  // The accumulator of vector t of a section; the mean of its coordinates under the rule of libffm.
  double accumulator(const float* section, const FfmSection& layout, int t) const {
    const float* accumulators = section + layout.weights;
    if (!options_.libffm) return accumulators[t];
    double total = 0;
    for (int k = 0; k < options_.n_factors; ++k) total += accumulators[(k / 4) * layout.plane + 4 * t + k % 4];
    return total / options_.n_factors;
  }

  int64_t factor_floats() const { return int64_t{options_.n_fields} * options_.n_factors; }

  // One step of the estimate of optim/priors.hpp for each pair of fields (f, g): the precision of the vectors of the
  // features of field f toward field g. What an epoch added to an accumulator is taken as what it holds beyond its
  // start, divided by the number of epochs. Of a large field some 16,384 features are looked at.
  void estimate_field_priors(std::vector<Prior>& priors, const PriorUpdate& update) {
    if (std::all_of(priors.begin() + 1, priors.end(), [](const Prior& prior) { return prior.is_fixed(); })) return;
    constexpr int64_t kEnough = 16384;
    const int64_t n_fields = options_.n_fields, n_pairs = n_fields * n_fields;
    std::vector<int64_t> sizes(n_fields, 0);
    for (int64_t j = 0; j < n_features_; ++j) ++sizes[update.field_of[j]];
    std::vector<double> moments(n_pairs * kChunks), counts(n_fields * kChunks);
    const double information = 1 / (update.dispersion * update.dispersion * std::max(1, update.n_epochs));
    const double inverse_length = 1.0 / options_.n_factors;
    for_chunks(n_features_, pool_.get(), [&](int chunk, int64_t begin, int64_t end) {
      std::vector<int64_t> met(n_fields, 0);
      for (int64_t j = begin; j < end; ++j) {
        const int64_t f = update.field_of[j];
        if (met[f]++ % std::max<int64_t>(1, sizes[f] / kEnough) != 0) continue;
        if (!(table_[j][count_column()] > 0)) continue;
        counts[chunk * n_fields + f] += 1;
        double* moment = moments.data() + chunk * n_pairs + f * n_fields;
        for (int group = 0; group < groups_.n_groups(); ++group) {
          const float* section = this->section(j, group);
          const FfmSection& layout = section_layout(group);
          const int first = groups_.begin(group);
          for (int g = first; g < groups_.end(group); ++g) {
            double square = 0;
            for (int c = 0; c < planes(); ++c)
              for (int k = 0; k < 4; ++k) {
                const double v = section[c * layout.plane + 4 * (g - first) + k];
                square += v * v;
              }
            const double grown = std::max(0.0, accumulator(section, layout, g - first) - accumulator_start_);
            moment[g] += square * inverse_length + 1 / (priors[1 + g].precision[f] + information * grown);
          }
        }
      }
    });
    for (int64_t g = 0; g < n_fields; ++g)
      for (int64_t f = 0; f < n_fields && !priors[1 + g].is_fixed(); ++f)
        priors[1 + g].precision[f] =
            priors[1 + g].estimate(moments.data() + f * n_fields + g, n_pairs, counts.data() + f, n_fields);
  }

  double accumulator_start_ = 0;
  std::vector<float> shrink_, plain_shrink_;  // penalties by field and other field, padded
  std::vector<float> inverse_counts_;
  std::vector<float> zeros_;
};

inline std::unique_ptr<Model> make_ffm(const ModelSizes& sizes, Options& options) {
  const FfmOptions known{sizes.n_fields, options.integer("n_factors", 1, 256), options.flag("normalize"),
                         options.flag("linear"), options.flag("libffm")};
  if (known.n_factors <= 4) return std::make_unique<Ffm<1>>(sizes, known);
  if (known.n_factors <= 8) return std::make_unique<Ffm<2>>(sizes, known);
  return std::make_unique<Ffm<0>>(sizes, known);
}

}  // namespace anyfm

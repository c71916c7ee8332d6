// The field-aware factorization machine. The formula stands in src/anyfm/models/ffm.py.
//
// A feature has a section for each group of fields (ffm_options.hpp): [planes of its vectors toward these fields |
// their accumulators], the vectors in planes of four factors (field_step.hpp). The last section goes on with w a d
// count h, as in linear.hpp. Scoring keeps [planes] and w. The vectors' penalties are not kept by feature and field:
// the penalty of one occurrence is that of the two fields divided by the feature's count.
//
// `plain` rows hold one feature of every field, `mixed` rows any number of each. These are summed first: with S(f, g) =
// Σ x v over the features of field f toward g, fields f ≠ g give ⟨S(f, g), S(g, f)⟩ and f ½ (‖S(f, f)‖² − Σ x² ‖v‖²).
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "adagrad.hpp"
#include "aligned.hpp"
#include "evidence.hpp"
#include "ffm_table.hpp"
#include "field_block.hpp"
#include "field_groups.hpp"
#include "field_step.hpp"
#include "rows.hpp"

namespace anyfm {

// C planes of four factors (0: known at run time only).
template <int C>
class Ffm : public FfmTable {
 public:
  using Unit = FieldGroups::Unit;
  static constexpr int kMaxWidth = 16;

  // What one thread needs: a block of rows made ready, and room for the partners of one unit.
  struct Scratch {
    FieldBlock block;
    AlignedFloats to_a, to_b;  // (field of a, plane, field of b, 4), and the other way round
  };

  Ffm(int64_t n_features, FfmOptions options, bool training)
      : FfmTable(n_features, options, training),
        adagrad_{},
        shrink_(static_cast<size_t>(options.n_fields) * groups_.padded(), 0.0f),
        plain_shrink_(shrink_),
        inverse_counts_(training ? n_features : 0, 1.0f),
        nothing_(last_.weights, 0.0f) {}

  Bias& bias() { return bias_; }
  const Bias& bias() const { return bias_; }
  Adagrad& adagrad() { return adagrad_; }

  // Rows that fit a quarter of a second cache of 1 MiB or so, since as many are fetched ahead; at least eight, and at
  // most as many as a block of the other models has.
  int block_rows() const {
    int64_t rows = 8;
    while (rows < kBlockRows && 2 * rows * options_.n_fields * ffm_floats(options_, trained_) * 4 <= (int64_t{3} << 17))
      rows *= 2;
    return static_cast<int>(rows);
  }

  Scratch make_scratch() const {
    const int64_t room = int64_t{4} * groups_.width() * groups_.width() * planes();
    return {{}, AlignedFloats(room), AlignedFloats(room)};
  }

  // Makes n rows ready for `forward` and `update`: rows order[0], order[1] …, or `first` on without an order.
  void take(const Rows& rows, const std::vector<int32_t>& slot_of_field, const int64_t* order, int64_t first, int n,
            Scratch& scratch) const {
    scratch.block.take(rows, slot_of_field, order, first, n, options_.normalize,
                       FieldTable{&groups_, &sections_, &table_, n_features_, nothing_.data(),
                                  trained_ ? inverse_counts_.data() : nullptr});
  }

  // The part of row i's logit that belongs to a unit.
  float forward(Unit unit, int i, Scratch& scratch) const {
    const float r = scratch.block.scale(i);
    float linear = 0, pairs = 0;
    if (scratch.block.plain()) {
      const Side a = side(unit.a, unit.b, i, scratch), b = side(unit.b, unit.a, i, scratch);
      pairs = scratch.block.has_values() ? plain_pairs<false>(unit, a, b) : plain_pairs<true>(unit, a, b);
      if (options_.linear && groups_.has_linear(unit))
        for (int s = 0; s < a.size; ++s) linear += a.x[s] * a.last_section[s][linear_column()];
    } else {
      const Span a = scratch.block.span(i, unit.a), b = scratch.block.span(i, unit.b);
      pairs = mixed_pairs(unit, a, b, scratch);
      if (options_.linear && groups_.has_linear(unit))
        for (const Entry* e = a.begin; e != a.end; ++e) linear += e->x * e->last[linear_column()];
    }
    return r * (r * pairs + linear);
  }

  // One Adagrad step of the parameters that belong to a unit, for row i.
  void update(Unit unit, int i, float dlogit, float weight, Scratch& scratch) {
    const float r = scratch.block.scale(i);
    const FieldStep step{dlogit * r * r, adagrad_.learning_rate, weight, 1.0f / static_cast<float>(options_.n_factors)};
    const bool linear = options_.linear && groups_.has_linear(unit);
    if (scratch.block.plain()) {
      const Side a = side(unit.a, unit.b, i, scratch), b = side(unit.b, unit.a, i, scratch);
      plain_update(unit, a, b, step, scratch);
      if (linear)
        for (int s = 0; s < a.size; ++s) step_linear(a.last_section[s], dlogit * r * a.x[s], weight);
    } else {
      const Span a = scratch.block.span(i, unit.a), b = scratch.block.span(i, unit.b);
      mixed_update(unit, a, b, step, scratch);
      if (linear)
        for (const Entry* e = a.begin; e != a.end; ++e) step_linear(e->last, dlogit * r * e->x, weight);
    }
  }

  // Announces to the cache what a unit will touch of row i.
  ANYFM_INLINE void prefetch(Unit unit, int i, const Scratch& scratch) const {
    prefetch_half(unit.a, unit.b, i, scratch);
    if (unit.a != unit.b) prefetch_half(unit.b, unit.a, i, scratch);
  }

  // Announces what `take` will read beside the ids.
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

  // λ of the vectors of field f toward field g at precision[f n_fields + g], times `noise` (see evidence.hpp).
  void set_field_penalties(const std::vector<double>& precision, double noise) {
    for (int f = 0; f < options_.n_fields; ++f)
      for (int g = 0; g < options_.n_fields; ++g) {
        const size_t at = static_cast<size_t>(f) * groups_.padded() + g;
        shrink_[at] = static_cast<float>(noise * precision[static_cast<size_t>(f) * options_.n_fields + g]);
        plain_shrink_[at] = f == g ? 0.0f : shrink_[at];
      }
    for (int64_t j = 0; j < table_.n_records() && !options_.coordinates; ++j)
      inverse_counts_[j] = 1.0f / std::max(1.0f, table_[j][count_column()]);
  }

  ANYFM_INLINE int planes() const { return C ? C : (options_.n_factors + 3) / 4; }

 private:
  using V = Vec<4>;
  using Entry = FieldBlock::Entry;
  using Group = FieldBlock::Group;
  using Span = FieldBlock::Span;

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

  void step_linear(float* record, float g, float weight) const {
    float* w = record + linear_column();
    adagrad_.update(w[0], w[1], weight * w[2], g);
  }

  ANYFM_INLINE void prefetch_half(int own, int other, int i, const Scratch& scratch) const {
    const int64_t floats = layout(other).stride;
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
  template <bool kUnit>
  float plain_pairs(Unit unit, const Side& a, const Side& b) const {
    Vec<4 * kQuads> z[2] = {Vec<4 * kQuads>::splat(0), Vec<4 * kQuads>::splat(0)};
    V within = V::splat(0);
    for (int c = 0; c < planes(); ++c)
      for (int t = 0; t < b.padded; t += 4) {
        const int full = unit.a == unit.b ? t : a.size;
        for (int s = 0; s < full; s += 4) square<kUnit>(a, s, b, t, c, z);
        if (unit.a == unit.b) within = within + triangle<kUnit>(a, t, c);
      }
    return sum(z[0] + z[1]) + sum(within);
  }

  template <bool kUnit>
  ANYFM_INLINE void square(const Side& a, int s, const Side& b, int t, int c, Vec<4 * kQuads>* z) const {
    using W = Vec<4 * kQuads>;
    const int64_t to_a = b.at + c * b.plane, to_b = a.at + c * a.plane;
    for (int s_at = s; s_at < s + 4; s_at += kQuads)
      for (int t_at = t; t_at < t + 4; t_at += kQuads) {
        W m[kQuads];
        for (int q = 0; q < kQuads; ++q) {
          m[q] = W::load(b.record[t_at + q] + to_a + 4 * s_at);
          if (!kUnit) m[q] = m[q] * W::splat(b.x[t_at + q]);
        }
        transpose_groups(m);
        for (int q = 0; q < kQuads; ++q) {
          const W v = W::load(a.record[s_at + q] + to_b + 4 * t_at);
          z[q % 2] = z[q % 2] + m[q] * (kUnit ? v : v * W::splat(a.x[s_at + q]));
        }
      }
  }

  template <bool kUnit>
  ANYFM_INLINE V triangle(const Side& a, int first, int c) const {
    const int64_t base = a.at + c * a.plane;
    V z = V::splat(0);
    for (int t = first + 1; t < first + 4; ++t)
      for (int s = first; s < t; ++s) {
        const V v = V::load(a.record[s] + base + 4 * t) * V::load(a.record[t] + base + 4 * s);
        z = z + (kUnit ? v : v * V::splat(a.x[s] * a.x[t]));
      }
    return z;
  }

  // Lays x v of the features of `from` toward the fields of `to` out as partners of the latter: (field of to, plane,
  // field of from, 4).
  template <bool kUnit>
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
                if (!kUnit) m[q] = m[q] * Vec<4 * kQuads>::splat(from.x[s + half + q]);
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
    const auto made = [&](int s) {
      FieldStep mine = step;
      mine.kappa *= own.x[s];
      mine.penalty *= own.inverse_count[s];
      float* record = own.record[s];
      return FeatureStep{mine,
                         FieldRun{record + own.at, own.plane, record + own.accumulators, shrink + s * groups_.padded()},
                         Partners{partners + s * stride, width}};
    };
    step_fields<C>(own.size, made, other.padded, planes(), options_.coordinates);
  }

  void plain_update(Unit unit, const Side& a, const Side& b, FieldStep step, Scratch& scratch) {
    float *to_a = scratch.to_a.get(), *to_b = scratch.to_b.get();
    const bool unit_values = !scratch.block.has_values();
    unit_values ? transpose<true>(b, a, to_a) : transpose<false>(b, a, to_a);
    if (unit.a == unit.b) {  // a feature is no partner of itself
      const int64_t width = 4 * groups_.width();
      for (int s = 0; s < a.size; ++s)
        for (int c = 0; c < planes(); ++c) V::splat(0).store(to_a + (s * planes() + c) * width + 4 * s);
    } else {
      unit_values ? transpose<true>(a, b, to_b) : transpose<false>(a, b, to_b);
      plain_side(b, a, step, to_b);
    }
    plain_side(a, b, step, to_a);
  }

  // --- mixed rows ---

  // S(g, f) for the fields g of `from`'s group at (f, plane, g, 4), f in `group`.
  void sum_entries(Span from, int from_group, int group, float* out) const {
    const int64_t width = 4 * groups_.width();
    const int n = groups_.end(group) - groups_.begin(group);
    const int64_t plane = layout(group).plane;
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

  float mixed_pairs(Unit unit, Span a, Span b, Scratch& scratch) const {
    const int64_t width = 4 * groups_.width();
    sum_entries(b, unit.b, unit.a, scratch.to_a.get());
    V z = V::splat(0), own = V::splat(0);
    for (const Entry* e = a.begin; e != a.end; ++e) {
      const float* vectors = section_of(*e, unit.b);
      V toward = V::splat(0);
      for (int c = 0; c < planes(); ++c) {
        const float* partner = scratch.to_a.get() + ((e->field - groups_.begin(unit.a)) * planes() + c) * width;
        const float* v = vectors + c * layout(unit.b).plane;
        for (int t = 0; t < groups_.end(unit.b) - groups_.begin(unit.b); ++t)
          toward = toward + V::load(v + 4 * t) * V::load(partner + 4 * t);
        if (unit.a != unit.b) continue;
        const V self = V::load(v + 4 * (e->field - groups_.begin(unit.b))) * V::splat(e->x);
        own = own + self * self;
      }
      z = z + toward * V::splat(e->x);
    }
    return unit.a == unit.b ? 0.5f * sum(z - own) : sum(z);
  }

  void mixed_side(Span own, int own_group, Span other, int other_group, FieldStep step, float* partners) {
    const int64_t width = 4 * groups_.width();
    const int first = groups_.begin(other_group), n = groups_.padded_end(other_group) - first;
    int present[kMaxWidth] = {};
    for (const Entry* e = other.begin; e != other.end; ++e) ++present[e->field - first];
    float shrink[kMaxWidth];
    const FfmSection& toward = layout(other_group);
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
      V kept[64];
      for (int c = 0; within && c < planes(); ++c) {  // a feature is no partner of itself
        kept[c] = V::load(partner + c * width + at);
        const V self = V::load(vectors + c * toward.plane + at) * V::splat(e->x);
        (present[e->field - first] > 1 ? kept[c] - self : V::splat(0)).store(partner + c * width + at);
      }
      const FeatureStep feature{mine, FieldRun{vectors, toward.plane, vectors + toward.weights, shrink},
                                Partners{partner, width}};
      step_fields<C>(1, [&](int) { return feature; }, n, planes(), options_.coordinates);
      for (int c = 0; within && c < planes(); ++c) kept[c].store(partner + c * width + at);
    }
  }

  void mixed_update(Unit unit, Span a, Span b, FieldStep step, Scratch& scratch) {
    sum_entries(b, unit.b, unit.a, scratch.to_a.get());
    if (unit.a != unit.b) {
      sum_entries(a, unit.a, unit.b, scratch.to_b.get());
      mixed_side(b, unit.b, a, unit.a, step, scratch.to_b.get());
    }
    mixed_side(a, unit.a, b, unit.b, step, scratch.to_a.get());
  }

  Bias bias_;
  Adagrad adagrad_;
  std::vector<float> shrink_, plain_shrink_;  // penalties by field and other field, padded
  std::vector<float> inverse_counts_;
  std::vector<float> nothing_;
};

}  // namespace anyfm

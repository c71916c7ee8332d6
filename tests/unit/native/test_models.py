"""What holds of every compiled model: parameters, options, priors, denormal numbers, the same bytes on any threads."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest

from anyfm.core.native import kernels

from . import kernel_cases as cases
from .kernel_cases import FIELD_OF, N_FEATURES, N_FIELDS, OPTIONS

NAMES = kernels.model_names()
TRAINED_BY_ADAM = [name for name in NAMES if cases.make(name).n_dense]


def test_every_model_is_tested_here() -> None:
    assert sorted(NAMES) == sorted(OPTIONS)


@pytest.mark.parametrize("name", NAMES)
class TestParameters:
    def test_what_is_written_is_read(self, name: str) -> None:
        model = cases.fill(cases.make(name, training=False, n_threads=2))
        rng = np.random.default_rng(7)
        for parameter, width, _ in model.parameters:
            whole = np.empty((N_FEATURES, width), np.float32)
            model.read(parameter, whole)
            middle = rng.normal(size=(30, width)).astype(np.float32)
            model.write(parameter, middle, first=11)
            found = np.empty((32, width), np.float32)
            model.read(parameter, found, first=10)
            np.testing.assert_array_equal(found, np.concatenate([whole[10:11], middle, whole[41:42]]))

    def test_large_parameters_are_read_and_written_by_several_threads(self, name: str) -> None:
        model = cases.make(name, training=False, n_threads=3, n_features=70_000)
        for parameter, width, _ in model.parameters:
            numbers = np.random.default_rng(0).normal(size=(70_000, width)).astype(np.float32)
            model.write(parameter, numbers)
            found = np.empty_like(numbers)
            model.read(parameter, found)
            np.testing.assert_array_equal(found, numbers)

    def test_dense_parameters_are_read_as_written(self, name: str) -> None:
        model = cases.make(name)
        for line in range(3 if model.n_dense else 0):
            numbers = np.random.default_rng(line).normal(size=model.n_dense).astype(np.float32)
            model.write_dense(line, numbers)
            found = np.empty_like(numbers)
            model.read_dense(line, found)
            np.testing.assert_array_equal(found, numbers)

    def test_a_scorer_gives_the_scores_of_the_trained_model(self, name: str) -> None:
        rows = cases.arrays("ragged", 200)
        model, known = cases.prepared(name, rows)
        cases.train(model, known, rows, 200)
        scorer = cases.make(name, training=False)
        for parameter, width, _ in model.parameters:
            numbers = np.empty((N_FEATURES, width), np.float32)
            model.read(parameter, numbers)
            scorer.write(parameter, numbers)
        if model.n_dense:
            dense = np.empty(model.n_dense, np.float32)
            model.read_dense(0, dense)
            scorer.write_dense(0, dense)
        scorer.bias[0] = model.bias[0]
        np.testing.assert_array_equal(cases.logits(scorer, rows, 200), cases.logits(model, rows, 200))

    def test_tables_and_dense_lines_hold_the_whole_state_of_training(self, name: str) -> None:
        rows = cases.arrays("values", 300)
        model, known = cases.prepared(name, rows)
        cases.train(model, known, rows, 300)
        other, known_to_other = cases.prepared(name, rows)
        for prior, source in zip(known_to_other, known, strict=True):
            prior.precision = source.precision
        other.set_priors(FIELD_OF, known_to_other, dispersion=1.0, crowding=0.01, estimate=False)
        for target, source in zip([*other.tables, other.bias], [*model.tables, model.bias], strict=True):
            target[:] = source
        for line in range(3 if model.n_dense else 0):
            numbers = np.empty(model.n_dense, np.float32)
            model.read_dense(line, numbers)
            other.write_dense(line, numbers)
        if model.n_dense:
            other.dense_steps = model.dense_steps
        for engine, of_engine in ((model, known), (other, known_to_other)):
            engine.set_priors(FIELD_OF, of_engine, dispersion=1.0, crowding=0.01, estimate=True, n_epochs=2)
            cases.train(engine, of_engine, rows, 300, n_epochs=1)
        for number, found in cases.read_all(model).items():
            np.testing.assert_array_equal(cases.read_all(other)[number], found, err_msg=number)

    def test_reset_forgets_everything(self, name: str) -> None:
        rows = cases.arrays("plain", 200)
        fresh, _ = cases.prepared(name, rows)
        model, known = cases.prepared(name, rows)
        cases.train(model, known, rows, 200)
        model.reset(cases.counts(rows), [1.0, 0.1][: len(model.parameters)])
        assert model.bias.tolist() == [0, 1]
        assert model.dense_steps == 0
        for line in range(3 if model.n_dense else 0):
            dense = np.full(model.n_dense, np.nan, np.float32)
            model.read_dense(line, dense)
            assert not dense.any()
        for parameter, width, _ in model.parameters:
            found = np.full((N_FEATURES, width), np.nan, np.float32)
            model.read(parameter, found)
            assert not found.any()
        cases.fill(model, deviation=0.1)
        model.set_priors(FIELD_OF, cases.priors(model), dispersion=1.0, crowding=0.01, estimate=False)
        for table, expected in zip(model.tables, fresh.tables, strict=True):
            np.testing.assert_array_equal(table, expected)

    def test_records_have_as_many_floats_as_the_tables(self, name: str) -> None:
        for training in (False, True):
            model = cases.make(name, training=training)
            floats = kernels.record_floats(name, N_FIELDS, OPTIONS[name], training)
            assert floats == pytest.approx(sum(table.size for table in model.tables) / N_FEATURES, abs=2)
            assert floats >= sum(width for _, width, _ in model.parameters)

    @pytest.mark.parametrize(("shape", "first"), [((N_FEATURES + 1, 0), 0), ((5, 0), -1), ((5, 0), 96), ((5, 1), 0)])
    def test_shapes_that_do_not_fit(self, name: str, shape: tuple[int, int], first: int) -> None:
        model = cases.make(name)
        for parameter, width, _ in model.parameters:
            array = np.zeros((shape[0], width + shape[1]), np.float32)
            with pytest.raises(ValueError, match=f"{parameter} must have the shape"):
                model.read(parameter, array, first)
            with pytest.raises(ValueError, match=f"{parameter} must have the shape"):
                model.write(parameter, array, first)
        with pytest.raises(ValueError, match="no parameter depth"):
            model.read("depth", np.zeros((5, 1), np.float32))

    def test_arrays_to_write_into_are_never_copies(self, name: str) -> None:
        model = cases.make(name)
        with pytest.raises(TypeError):
            model.read("linear", np.zeros((N_FEATURES, 1)))
        with pytest.raises(TypeError):
            model.read("linear", np.zeros((N_FEATURES, 2), np.float32)[:, :1])

    def test_dense_sizes_that_do_not_fit(self, name: str) -> None:
        model = cases.make(name)
        wrong = np.ones(model.n_dense + 1, np.float32)
        for call in (
            lambda: model.read_dense(0, wrong),
            lambda: model.write_dense(0, wrong),
            lambda: model.set_dense_optimizer(wrong, wrong, wrong),
            lambda: model.write_dense(3, wrong[1:]),
            lambda: model.write_dense(-1, wrong[1:]),
        ):
            with pytest.raises(ValueError, match=r"dense parameter|line must be"):
                call()

    def test_a_scorer_does_not_train(self, name: str) -> None:
        model = cases.make(name, training=False)
        rows = cases.arrays("plain", 10)
        bound = cases.bind(rows, 10)
        for call in (
            lambda: model.reset(cases.counts(rows), [1.0, 1.0][: len(model.parameters)]),
            lambda: model.set_priors(FIELD_OF, cases.priors(model), 1.0, 0.0, False),
            lambda: model.step(bound, np.arange(10), "logistic", None, 0.1, 0.0, 0.1),
        ):
            with pytest.raises(ValueError, match="scoring only"):
                call()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["plain", "values", "ragged", "weighted"])
class TestThreads:
    def test_training_gives_the_same_bytes_on_any_number_of_threads(self, name: str, kind: str) -> None:
        rows = cases.arrays(kind, 700)
        model, known = cases.prepared(name, rows)
        if name != "linear":
            model.set_dropout(0.2 if name in ("afm", "deepfm") else 0.0, 3, 1)
        loss = cases.train(model, known, rows, 700)
        assert math.isfinite(loss)
        for n_threads in (2, 3):
            other, of_other = cases.prepared(name, rows, n_threads=n_threads)
            if name != "linear":
                other.set_dropout(0.2 if name in ("afm", "deepfm") else 0.0, 3, 1)
            assert cases.train(other, of_other, rows, 700) == loss
            assert [prior.precision for prior in of_other] == [prior.precision for prior in known]
            for number, found in cases.read_all(other).items():
                np.testing.assert_array_equal(found, cases.read_all(model)[number], err_msg=number)

    def test_training_lowers_the_loss(self, name: str, kind: str) -> None:
        rows = cases.arrays(kind, 700)
        model, known = cases.prepared(name, rows)
        first = cases.train(model, known, rows, 700, n_epochs=1)
        assert cases.train(model, known, rows, 700, n_epochs=4) < first

    def test_scores_are_the_same_bytes_whatever_the_batch_with_denormal_weights(self, name: str, kind: str) -> None:
        """Numbers down to 1e-40 times numbers down to 1e-40: a thread that does not flush would find other sums."""
        n_rows = 5000
        rows = cases.arrays(kind, n_rows)
        model = cases.make(name, training=False, n_threads=3)
        rng = np.random.default_rng(3)
        for parameter, width, _ in model.parameters:
            sizes = 10.0 ** rng.choice([-40, -39, -38, -20, -19], (N_FEATURES, width))
            model.write(parameter, (sizes * rng.normal(size=sizes.shape)).astype(np.float32))
        if model.n_dense:
            sizes = 10.0 ** rng.choice([-39, -20, -1], model.n_dense)
            model.write_dense(0, (sizes * rng.normal(size=sizes.shape)).astype(np.float32))
        whole = cases.logits(model, rows, n_rows)
        np.testing.assert_array_equal(cases.logits(model, rows, n_rows, threaded=True), whole)
        for cuts in ([0, 1, 101, 102, n_rows], [*range(0, 20), n_rows]):
            for threaded in (False, True):
                parts = [
                    cases.logits(model, cases.part(rows, a, b), b - a, threaded=threaded) for a, b in pairwise(cuts)
                ]
                np.testing.assert_array_equal(np.concatenate(parts), whole)
        for i in range(20):
            row = cases.part(rows, i, i + 1)
            fields = row["fields"] if name in ("ffm", "deepfm", "fwfm") else None
            assert model.logit(row["ids"], row["values"], fields) == whole[i]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threaded", [False, True])
def test_denormal_numbers_count_as_zero(name: str, threaded: bool) -> None:
    model = cases.make(name, training=False, n_threads=3)
    model.write("linear", np.full((N_FEATURES, 1), 1e-40, np.float32))
    np.testing.assert_array_equal(cases.logits(model, cases.arrays("plain", 30), 30, threaded=threaded), 0)


class TestOptions:
    @pytest.mark.parametrize("name", NAMES)
    def test_a_missing_and_an_unknown_option_are_named(self, name: str) -> None:
        for option in OPTIONS[name]:
            fewer = {known: value for known, value in OPTIONS[name].items() if known != option}
            with pytest.raises(ValueError, match=f"{option} is missing"):
                kernels.make_model(name, 5, 2, fewer, True, 1)
        with pytest.raises(ValueError, match=f"model {name} has no option depth"):
            kernels.make_model(name, 5, 2, OPTIONS[name] | {"depth": 3}, True, 1)

    @pytest.mark.parametrize(
        ("name", "option", "value"),
        [
            ("fm", "n_factors", 0),
            ("fm", "n_factors", -1),
            ("fm", "n_factors", 257),
            ("fm", "n_factors", 2.5),
            ("fm", "n_factors", True),
            ("fm", "n_factors", None),
            ("fm", "normalize", 1),
            ("afm", "attention_factors", 0),
            ("deepfm", "activation", "relu6"),
            ("deepfm", "activation", 3),
            ("deepfm", "hidden_layer_sizes", [3, 0]),
            ("deepfm", "hidden_layer_sizes", 3),
            ("deepfm", "batch_size", 0),
            ("deepfm", "shrinkage", -1.0),
            ("deepfm", "shrinkage", math.nan),
            ("ffm", "n_factors", 300),
        ],
    )
    def test_an_option_out_of_range_or_of_another_type_is_named(self, name: str, option: str, value: object) -> None:
        with pytest.raises(ValueError, match=option):
            cases.make(name, **{option: value})

    def test_an_unknown_model_is_named(self) -> None:
        with pytest.raises(ValueError, match="no model svm"):
            kernels.make_model("svm", 5, 2, {}, True, 1)

    @pytest.mark.parametrize("sizes", [(-1, 1, 1), (5, 0, 1), (5, 1, 0), (5, 1, 2000)])
    def test_sizes_out_of_range(self, sizes: tuple[int, int, int]) -> None:
        n_features, n_fields, n_threads = sizes
        with pytest.raises(ValueError, match="n_"):
            kernels.make_model("linear", n_features, n_fields, OPTIONS["linear"], True, n_threads)

    def test_an_integer_is_a_number(self) -> None:
        assert cases.make("deepfm", shrinkage=10).n_dense == cases.make("deepfm").n_dense

    def test_without_hidden_layers_there_is_no_perceptron(self) -> None:
        model = cases.make("deepfm", hidden_layer_sizes=[])
        assert model.n_dense == 0
        model.set_dropout(0.5, 0, 0)

    @pytest.mark.parametrize(("n_rows", "expected"), [(10, 16), (3000, 23), (10**6, 240)])
    def test_blocks_of_deepfm_grow_with_the_table(self, n_rows: int, expected: int) -> None:
        assert cases.make("deepfm").block_rows(n_rows) == expected
        assert cases.make("deepfm", batch_size=20).block_rows(n_rows) == min(20, expected)

    @pytest.mark.parametrize(("n_rows", "expected"), [(0, 1), (100, 1), (640, 10), (10**6, 64)])
    def test_blocks_of_the_others_grow_with_the_table(self, n_rows: int, expected: int) -> None:
        for name in set(NAMES) - {"deepfm"}:
            assert cases.make(name).block_rows(n_rows) == expected


class TestPriors:
    def test_attributes_are_read_and_written(self) -> None:
        prior = kernels.Prior([1.0, 2.0], 3.0, math.inf, 0.5, 10.0)
        assert (prior.precision, prior.expected, prior.strength) == ([1.0, 2.0], 3.0, math.inf)
        assert (prior.lower, prior.upper, prior.fraction) == (0.5, 10.0, 1.0)
        prior.precision, prior.fraction = [4.0], 0.95
        assert (prior.precision, prior.fraction) == ([4.0], 0.95)

    @pytest.mark.parametrize("name", NAMES)
    def test_only_priors_that_are_not_fixed_are_estimated_and_only_when_asked_for(self, name: str) -> None:
        rows = cases.arrays("plain", 500)
        model, known = cases.prepared(name, rows)
        known[-1].strength = math.inf
        cases.train(model, known, rows, 500, n_epochs=1)
        model.set_priors(FIELD_OF, known, dispersion=1.0, crowding=0.01, estimate=False, n_epochs=1)
        assert all(prior.precision == [5.0] * N_FIELDS for prior in known)
        model.set_priors(FIELD_OF, known, dispersion=1.0, crowding=0.01, estimate=True, n_epochs=1)
        assert known[-1].precision == [5.0] * N_FIELDS
        for prior in known[:-1]:
            assert 5.0 not in prior.precision

    @pytest.mark.parametrize("name", NAMES)
    def test_estimates_stay_within_their_bounds(self, name: str) -> None:
        rows = cases.arrays("plain", 500)
        for low, high in ((6.0, 7.0), (1e-4, 1e-3)):
            model, known = cases.prepared(name, rows)
            for prior in known:
                prior.lower, prior.upper = low, high
            cases.train(model, known, rows, 500, n_epochs=2)
            for prior in known:
                assert min(prior.precision) >= low
                assert max(prior.precision) <= high

    @pytest.mark.parametrize("name", [name for name in NAMES if name not in ("linear", "ffm")])
    def test_the_estimate_is_that_of_the_formula(self, name: str) -> None:
        """Before a step the accumulators have not grown: E[θ²] is θ² + 1 / λ."""
        rows = cases.arrays("plain", 500)
        model, _ = cases.prepared(name, rows)
        known = cases.priors(model, precision=5.0, strength=2.0, fraction=0.95)
        known[1].expected = 8.0
        model.set_priors(FIELD_OF, known, dispersion=1.0, crowding=0.0, estimate=True)
        for prior, (parameter, width, _), fraction in zip(known, model.parameters, (0.95, 0.95), strict=True):
            weights = np.empty((N_FEATURES, width), np.float32)
            model.read(parameter, weights)
            seen = cases.counts(rows) > 0
            for field in range(N_FIELDS):
                squares = (weights[seen & (field == FIELD_OF)].astype(float) ** 2).mean(1)
                moment = (squares + 1 / 5.0).sum() + 2.0 / prior.expected
                expected = fraction * (len(squares) + 2.0) / moment
                assert prior.precision[field] == pytest.approx(np.clip(expected, prior.lower, prior.upper))

    @pytest.mark.parametrize("libffm", [False, True])
    def test_vectors_toward_a_field_that_no_row_holds_are_estimated_by_their_size_alone(self, libffm: bool) -> None:
        rows = cases.arrays("ragged", 500)
        two = rows["fields"] < 2
        lengths = np.add.reduceat(np.append(two, False), rows["offsets"][:-1]) * (np.diff(rows["offsets"]) > 0)
        rows |= {name: rows[name][two] for name in ("ids", "fields", "values")}
        rows["offsets"] = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        model, known = cases.prepared("ffm", rows, libffm=libffm)
        cases.train(model, known, rows, 500, n_epochs=1)
        model.set_priors(FIELD_OF, known, dispersion=1.0, crowding=0.01, estimate=True, n_epochs=1)
        vectors = cases.read_all(model)["field_factors"].reshape(N_FEATURES, N_FIELDS, -1).astype(float)
        seen = cases.counts(rows) > 0
        for field, toward in product(range(2), range(2, N_FIELDS)):
            squares = (vectors[seen & (field == FIELD_OF), toward] ** 2).mean(1)
            expected = (len(squares) + 2.0) / ((squares + 1 / 5.0).sum() + 2.0 / 5.0)
            assert known[1 + toward].precision[field] == pytest.approx(expected, rel=1e-5)
        assert known[2].precision[0] != pytest.approx(known[3].precision[0], rel=1e-3)

    @pytest.mark.parametrize("name", NAMES)
    def test_what_does_not_fit_is_refused(self, name: str) -> None:
        model = cases.make(name)
        known = cases.priors(model)
        with pytest.raises(ValueError, match="one prior for each vector"):
            model.set_priors(FIELD_OF, known[:-1], 1.0, 0.0, False)
        with pytest.raises(ValueError, match="one field per feature"):
            model.set_priors(FIELD_OF[:-1], known, 1.0, 0.0, False)
        with pytest.raises(IndexError, match="no such field"):
            model.set_priors(FIELD_OF + np.int32(1), known, 1.0, 0.0, False)
        with pytest.raises(IndexError, match="no such field"):
            model.set_priors(FIELD_OF - np.int32(1), known, 1.0, 0.0, False)
        known[-1].precision = [1.0] * (N_FIELDS + 1)
        if len(known) > 1:
            with pytest.raises(ValueError, match="one precision per field"):
                model.set_priors(FIELD_OF, known, 1.0, 0.0, False)

    def test_the_field_aware_model_needs_a_precision_for_each_of_its_fields(self) -> None:
        model = cases.make("ffm")
        known = cases.priors(model)
        for prior in known:
            prior.precision = [1.0] * (N_FIELDS - 1)
        with pytest.raises(ValueError, match="one precision per field of the model"):
            model.set_priors(np.zeros(N_FEATURES, np.int32), known, 1.0, 0.0, False)

    @pytest.mark.parametrize("name", NAMES)
    def test_a_larger_precision_shrinks_more(self, name: str) -> None:
        rows = cases.arrays("plain", 500)
        sizes = []
        for precision in (0.1, 1000.0):
            model, _ = cases.prepared(name, rows)
            fixed = cases.priors(model, precision=precision, strength=math.inf)
            model.set_priors(FIELD_OF, fixed, dispersion=1.0, crowding=0.01, estimate=False)
            cases.train(model, fixed, rows, 500, n_epochs=2)
            sizes.append([np.abs(cases.read_all(model)[parameter]).mean() for parameter, _, _ in model.parameters])
        assert (np.array(sizes[1]) < 0.5 * np.array(sizes[0])).all()


class TestDense:
    @pytest.mark.parametrize("name", [name for name in TRAINED_BY_ADAM if name != "deepfm"])
    def test_a_dense_parameter_is_its_stored_value_times_its_unit(self, name: str) -> None:
        rows = cases.arrays("ragged", 100)
        model, _ = cases.prepared(name, rows)
        dense = np.empty(model.n_dense, np.float32)
        model.read_dense(0, dense)
        expected = cases.logits(model, rows, 100)
        units = 2.0 ** np.random.default_rng(0).integers(-3, 4, model.n_dense).astype(np.float32)
        zeros = np.zeros_like(units)
        model.set_dense_optimizer(units, zeros, zeros)
        assert not np.array_equal(cases.logits(model, rows, 100), expected)
        model.write_dense(0, dense / units)
        np.testing.assert_array_equal(cases.logits(model, rows, 100), expected)

    def test_the_unit_of_a_perceptron_is_that_of_its_first_layer(self) -> None:
        rows = cases.arrays("ragged", 100)
        model, _ = cases.prepared("deepfm", rows)
        expected = cases.logits(model, rows, 100)
        dense, units = np.empty(model.n_dense, np.float32), np.ones(model.n_dense, np.float32)
        model.read_dense(0, dense)
        n_first = N_FIELDS * 6 * 9
        units[:n_first] = 4
        model.set_dense_optimizer(units, np.zeros_like(units), np.zeros_like(units))
        model.write_dense(0, dense / units)
        np.testing.assert_array_equal(cases.logits(model, rows, 100), expected)

    @pytest.mark.parametrize("name", TRAINED_BY_ADAM)
    def test_one_step_of_adam_moves_every_number_by_at_most_the_learning_rate(self, name: str) -> None:
        rows = cases.arrays("plain", 10)
        model, _ = cases.prepared(name, rows)
        before = np.empty(model.n_dense, np.float32)
        model.read_dense(0, before)
        assert model.dense_steps == 0
        model.step(cases.bind(rows, 10), np.arange(1), "logistic", None, 0.1, 0.0, 0.01)
        assert model.dense_steps == 1
        after = np.empty_like(before)
        model.read_dense(0, after)
        moved = np.abs(after - before)
        assert (moved <= 0.0101).all()
        assert (moved > 0.009).any()

    @pytest.mark.parametrize("name", [name for name in TRAINED_BY_ADAM if name != "deepfm"])
    def test_penalty_and_decay_pull_toward_the_center(self, name: str) -> None:
        rows = cases.arrays("plain", 300)
        center = 1.0 if name == "fwfm" else 0.0
        for penalty, decay in ((1e4, 0.0), (0.0, 90.0)):
            model, known = cases.prepared(name, rows)
            units = np.full(model.n_dense, 0.5, np.float32)
            model.set_dense_optimizer(units, np.full_like(units, penalty), np.full_like(units, decay))
            model.write_dense(0, np.full_like(units, 3.0))
            cases.train(model, known, rows, 300, n_epochs=12)
            stored = np.empty_like(units)
            model.read_dense(0, stored)
            np.testing.assert_allclose(stored * units, center, atol=0.1)

    def test_a_perceptron_refuses_what_it_cannot_do(self) -> None:
        model = cases.make("deepfm")
        ones, zeros = np.ones(model.n_dense, np.float32), np.zeros(model.n_dense, np.float32)
        last, first = zeros.copy(), zeros.copy()
        last[-1], first[0] = 1, 1
        for units, l2, decay, problem in (
            (ones + last, zeros, zeros, "one unit"),
            (ones + first, zeros, zeros, "one unit"),
            (ones, last, zeros, "no L2 penalty"),
            (ones, zeros, last, "one decay"),
            (ones, zeros, first, "one decay"),
            (ones, zeros, ones, "one decay"),
            (zeros, zeros, zeros, "positive"),
            (ones, -last, zeros, "not be negative"),
            (ones, zeros, -last, "not be negative"),
        ):
            with pytest.raises(ValueError, match=problem):
                model.set_dense_optimizer(units, l2, decay)

    @pytest.mark.parametrize("name", NAMES)
    def test_dropout_of_a_model_that_has_none(self, name: str) -> None:
        model = cases.make(name)
        model.set_dropout(0.0, 0, 0)
        for rate in (-0.1, 1.0, math.nan):
            with pytest.raises(ValueError, match="must lie in"):
                model.set_dropout(rate, 0, 0)
        if name in ("afm", "deepfm"):
            model.set_dropout(0.5, 0, 0)
        else:
            with pytest.raises(ValueError, match="no dropout"):
                model.set_dropout(0.5, 0, 0)

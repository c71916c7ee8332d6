"""What all estimators share: from X and y to a trained model, and from X to logits."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import assert_all_finite, check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from anyfm.core.errors import InputError, SettingError, got
from anyfm.core.forks import check_polars
from anyfm.core.rows import Floats, Rows
from anyfm.core.settings import DataSettings, TrainingSettings, ValidationSettings, parse_settings
from anyfm.core.task import TASKS, Task, get_task
from anyfm.estimators.inputs import (
    encode_table,
    frame_of,
    is_frame,
    is_list_of_rows,
    is_sparse,
    matrix_rows,
    schema_of,
)
from anyfm.estimators.keyed import ByFieldAndValue
from anyfm.model import Model, columns_of
from anyfm.models import MODELS
from anyfm.pipeline import PreparedData, fit
from anyfm.training.split import split_fraction

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoded, Encoder
    from anyfm.data.readers import Frame
    from anyfm.explain.contributions import Contributions
    from anyfm.training.history import History

MIN_ROWS_TO_SPLIT = 20
"""With fewer rows, held-out rows are too few to choose the best epoch, and training needs them more."""

E = TypeVar("E", bound="TableEstimator")


@dataclasses.dataclass(frozen=True, eq=False)
class _Data:
    """Checked input: X as a polars frame, an array or CSR; y as given; row weights, if any."""

    X: Any
    y: NDArray[Any]
    weight: Floats | None

    def take(self, index: NDArray[np.int64]) -> _Data:
        return _Data(self.X[index], self.y[index], None if self.weight is None else self.weight[index])


class TableEstimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators. `factory` derives a class for each model, which has the model's parameters."""

    _model: ClassVar[str]

    model_: Model
    history_: History
    best_epoch_: int
    n_features_in_: int

    def fit(
        self: E,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        eval_set: tuple[Any, ...] | list[tuple[Any, ...]] | None = None,
    ) -> E:
        """Train on a table.

        Parameters
        ----------
        X : pandas, polars or Arrow table, list of mappings, array, or sparse matrix of shape (n_samples, n_features)
            The columns of a table may hold text, numbers, booleans, times and lists. In an array, floats are numbers,
            and whole numbers what they look like: codes or numbers. In a sparse matrix, every column is a feature and
            its entries are the values of that feature.
        y : array of shape (n_samples,)
            Two classes, or numbers.
        sample_weight : array of shape (n_samples,), optional
            Weight 3 counts as three copies of the row, weight 0 as none.
        eval_set : tuple (X, y) or (X, y, sample_weight), or list of such tuples, optional
            Rows to choose the best epoch by; of several sets the last. Without them, `valid_fraction` of the rows is
            held out at random (by class for a classifier); from 20 to 2,000 rows, unless it is set, a cross-validation
            in five folds chooses the number of epochs, and all rows are trained on.

        Returns
        -------
        self

        Raises
        ------
        SettingError, InputError
            A parameter breaks its rule, or the data cannot be used. Both are ValueErrors.
        DivergenceError
            Training diverged; the text says which parameter to lower.
        """
        if not is_sparse(X):
            check_polars("fitting an estimator to a table")
        values = self._values()
        *_, validation, table = parse_settings(values, *self._kinds())
        data = self._checked(X, y, sample_weight)
        if eval_set is None:
            n_folds = validation.n_folds(len(data.y)) if values["monitor"] == "loss" else 0
            train, valid = (data, None) if n_folds else self._split(data, validation.fraction, seed=values["seed"])
        else:
            n_folds, train, valid = 0, data, self._checked_eval_set(eval_set)
        rows, encoder, valid_rows, warnings = self._encoded(
            data, train, valid, table, target=str(getattr(y, "name", None) or "y")
        )
        prepared = PreparedData(
            train=rows,
            valid=valid_rows,
            warnings=warnings,
            n_features=self.n_features_in_ if encoder is None else encoder.n_features,
            n_fields=1 if encoder is None else encoder.n_fields,
            task=self._task,
            format="matrix" if encoder is None else "table",
            encoder=encoder,
            n_folds=n_folds,
            classes=self._classes(),
        )
        trained = {name for kind in self._kinds()[:2] for name in kind.names()}
        settings = {name: value for name, value in values.items() if name in trained}
        self.model_ = fit(prepared, model=self._model, settings=settings)
        self.history_ = self.model_.history
        self.best_epoch_ = self.history_.best_epoch
        self._publish()
        return self

    def save(self, path: str | Path, *, overwrite: bool = True) -> Path:
        """Save the model as a directory of plain files; ``anyfm.load(path)`` loads it as an `anyfm.Model`.

        Parameters
        ----------
        path : str or Path
        overwrite : bool
            Whether an anyfm model that is already there may be replaced. Anything else never is.

        Raises
        ------
        ArtifactError
            `path` holds something else, or cannot be written.
        """
        check_is_fitted(self)
        return self.model_.save(path, overwrite=overwrite)

    def explain(self, X: Any) -> Contributions:
        """Every row's logit (a regression's prediction) as the sum of its terms: bias, fields, pairs of fields.

        Parameters
        ----------
        X : as for `fit`, of shape (n_samples, n_features)

        Returns
        -------
        Contributions
            Its ``table()`` is tidy, with a row for each term; ``describe(i)`` is text for one row.
        """
        check_is_fitted(self)
        table, encoder = self._checked_table(X, reset=False), self.model_.artifact.encoder
        if encoder is None or is_sparse(table):
            return self.model_.explain(self._rows(table, encoder))
        return self.model_.explain(frame_of(table, [field.name for field in encoder.schema.fields]))

    def factors(self) -> Frame:
        """The parameters of every value, as a polars data frame keyed by field and value."""
        check_is_fitted(self)
        return self.model_.factors()

    # ---- parameters

    @property
    def _task(self) -> Task:
        raise NotImplementedError

    def _kinds(self) -> tuple[Any, ...]:
        return MODELS[self._model].settings_type, TrainingSettings, ValidationSettings, DataSettings

    def _values(self) -> dict[str, Any]:
        """The parameters under the names of the settings they stand for."""
        values = {name: _plain(value) for name, value in self.get_params(deep=False).items()}
        state = values.pop("random_state")
        return {
            **values,
            "seed": state if isinstance(state, int) else int(check_random_state(state).randint(2**31 - 1)),
        }

    # ---- input

    def _checked(self, X: Any, y: Any, weight: Any, *, reset: bool = True) -> _Data:
        """Check the rows to learn from (or, without `reset`, to validate on); leave out those of weight 0."""
        X = self._checked_table(X, reset=reset)
        if y is None:
            raise InputError(f"This {type(self).__name__} estimator requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_consistent_length(X, y)
        data = _Data(X, y, None)
        if weight is not None:
            weights = _check_sample_weight(weight, y, dtype=np.float64, ensure_non_negative=True).astype(np.float32)
            data = _Data(X, y, weights)
            if not weights.all():
                data = data.take(np.flatnonzero(weights))
        return dataclasses.replace(data, y=self._checked_y(data.y, reset=reset))

    def _checked_table(self, X: Any, *, reset: bool) -> Any:
        """X as a polars frame, an array or CSR, of as many columns, and with the names, as in training."""
        least = 2 if reset else 1
        if is_list_of_rows(X):
            X = frame_of(columns_of(X, () if reset else self.model_.artifact.require_encoder().columns))
        if is_sparse(X):
            if MODELS[self._model].needs_fields:
                raise InputError(
                    f"a sparse matrix does not say which columns make a field, which {type(self).__name__} needs. Give "
                    "it the table itself, or take an FM"
                )
            return validate_data(self, X, reset=reset, accept_sparse="csr", ensure_min_samples=least)
        if not is_frame(X):
            # NaN is a missing value; an infinite number lies in the first or in the last bin
            return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False, ensure_min_samples=least)
        frame = frame_of(validate_data(self, X, reset=reset, skip_check_array=True))
        if reset and frame.height < least:
            raise InputError(f"a table to learn from must have at least 2 rows, got n_samples={frame.height}")
        return frame

    def _checked_eval_set(self, eval_set: Any) -> _Data:
        if isinstance(eval_set, list) and eval_set and all(isinstance(each, tuple) for each in eval_set):
            eval_set = eval_set[-1]  # as XGBoost does, where several are given
        if not isinstance(eval_set, (tuple, list)) or len(eval_set) not in (2, 3):
            raise InputError(got("eval_set must be (X, y) or (X, y, sample_weight)", eval_set=type(eval_set).__name__))
        X, y, *weight = eval_set
        return self._checked(X, y, weight[0] if weight else None, reset=False)

    def _checked_y(self, y: NDArray[Any], *, reset: bool) -> NDArray[Any]:
        raise NotImplementedError

    def _coded(self, y: NDArray[Any]) -> Floats:
        """y as the rows hold it, float32."""
        raise NotImplementedError

    def _classes(self) -> tuple[Any, Any] | None:
        """The two classes of a classifier, the positive one last."""
        return None

    def _split(self, data: _Data, fraction: float, *, seed: int) -> tuple[_Data, _Data | None]:
        if fraction == 0 or len(data.y) < MIN_ROWS_TO_SPLIT:
            return data, None
        stratify = data.y if self._task.is_classification else None
        training, held_out = split_fraction(len(data.y), fraction, seed=seed, stratify=stratify)
        return data.take(training), data.take(held_out)

    def _encoded(
        self, data: _Data, train: _Data, valid: _Data | None, table: DataSettings, *, target: str
    ) -> tuple[Rows, Encoder | None, Rows | None, tuple[str, ...]]:
        """Training rows, encoder (none for a sparse matrix), validation rows, and warnings.

        The kinds of columns are decided on all rows of `data`; values and bins are learned from the training rows.
        """
        y, y_valid = self._coded(train.y), None if valid is None else self._coded(valid.y)
        if is_sparse(train.X):
            if table.fields:
                raise SettingError(got("fields must be none for a sparse matrix", fields=table.fields))
            held_out = None if valid is None or y_valid is None else self._rows(valid.X, None)
            if held_out is not None and valid is not None and y_valid is not None:
                held_out = held_out.labelled(y_valid, valid.weight)
            return matrix_rows(train.X).labelled(y, train.weight), None, held_out, ()
        from anyfm.data.suspects import suspect_columns

        schema = schema_of(data.X, frame_of(data.X), table)
        classes = getattr(self, "classes_", None)
        encoded, encoder = encode_table(
            train.X, train.y, train.weight, schema, target=target, classes=classes, task=self._task
        )
        rows = encoded.rows.labelled(y, train.weight)
        encoded = dataclasses.replace(encoded, rows=rows)
        if valid is None or y_valid is None:
            return rows, encoder, None, suspect_columns(encoder, encoded, None)
        held = self._encode(valid.X, encoder)
        warnings = suspect_columns(encoder, encoded, held)
        return rows, encoder, held.rows.labelled(y_valid, valid.weight), warnings

    def _encode(self, X: Any, encoder: Encoder) -> Encoded:
        if is_sparse(X):
            raise InputError("a model of a table takes a table or an array, got a sparse matrix. Use its toarray()")
        names = [field.name for field in encoder.schema.fields]
        return encoder.encode(frame_of(X, names), labelled=False)

    def _rows(self, X: Any, encoder: Encoder | None) -> Rows:
        """Rows of what `_checked_table` gave."""
        if encoder is None:
            if is_frame(X):
                raise InputError("a model of a sparse matrix takes a sparse matrix or an array, got a table")
            return matrix_rows(X)
        return self._encode(X, encoder).rows

    # ---- parameters and scores

    def _publish(self) -> None:
        """Show the parameters under the names of fields and values."""
        artifact = self.model_.artifact
        specs = artifact.model.parameter_specs(artifact.n_features, artifact.n_fields)
        for name, array in artifact.parameters.items():
            if specs[name].per_feature:
                setattr(self, f"{name}_", ByFieldAndValue(array, artifact.encoder))
        self.bias_ = float(artifact.parameters["bias"][0])

    def _logits(self, X: Any) -> NDArray[np.float64]:
        check_is_fitted(self)
        rows = self._rows(self._checked_table(X, reset=False), self.model_.artifact.encoder)
        return np.asarray(self.model_.logits(rows), np.float64)

    def _std(self, X: Any) -> NDArray[np.float64]:
        rows = self._rows(self._checked_table(X, reset=False), self.model_.artifact.encoder)
        return self.model_.predict(rows, return_std=True)[1].astype(np.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.input_tags.string = True
        tags.input_tags.sparse = not MODELS[self._model].needs_fields
        return tags


class Classifier(ClassifierMixin, TableEstimator):  # type: ignore[misc]
    """Base of the classifiers: two classes, logistic loss."""

    classes_: NDArray[Any]

    @property
    def _task(self) -> Task:
        return TASKS["binary"]

    def decision_function(self, X: Any, *, return_std: bool = False) -> Any:
        """The logit of the second class, float64 of shape (n_samples,); with `return_std` also its standard deviation.

        See `anyfm.Model.predict`.
        """
        logits = self._logits(X)
        return (logits, self._std(X)) if return_std else logits

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """The probabilities of the two classes in the order of `classes_`, float64 of shape (n_samples, 2)."""
        logits = self._logits(X)
        return np.column_stack([self._task.predictions(-logits), self._task.predictions(logits)])

    def predict(self, X: Any) -> NDArray[Any]:
        """The more probable class of each row, shape (n_samples,)."""
        positive = self._logits(X) > 0
        predicted: NDArray[Any] = self.classes_[positive.astype(np.intp)]
        return predicted

    def _checked_y(self, y: NDArray[Any], *, reset: bool) -> NDArray[Any]:
        if not reset:
            unknown = np.flatnonzero(~np.isin(y, self.classes_))
            if len(unknown):
                classes = self.classes_.tolist()
                raise InputError(got(f"y of eval_set must be of the classes {classes}", y=y[unknown[0]]))
            return y
        check_classification_targets(y)
        kind, classes = type_of_target(y, input_name="y"), np.unique(y)
        if kind != "binary":
            raise InputError(f"Only binary classification is supported. The type of the target is {kind}.")
        if len(classes) < 2:
            raise InputError(got("y must hold two classes, not one class", classes=classes.tolist()))
        self.classes_ = classes
        return y

    def _coded(self, y: NDArray[Any]) -> Floats:
        return np.asarray(y == self.classes_[1], np.float32)

    def _classes(self) -> tuple[Any, Any]:
        negative, positive = self.classes_.tolist()
        return negative, positive

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class Regressor(RegressorMixin, TableEstimator):  # type: ignore[misc]
    """Base of the regressors: a number; squared loss, or with ``task="poisson"`` the Poisson deviance."""

    task: str

    @property
    def _task(self) -> Task:
        task = get_task(self.task)
        if task.is_classification:
            names = ", ".join(name for name, each in TASKS.items() if not each.is_classification)
            raise SettingError(got(f"task of a regressor must be one of {names}", task=self.task))
        return task

    def predict(self, X: Any, *, return_std: bool = False) -> Any:
        """The predicted numbers, float64 of shape (n_samples,), clipped to the range of y in training.

        With ``clip_predictions=False`` they are not. With `return_std` also the standard deviations of their logits, of
        the same shape; see `anyfm.Model.predict`.
        """
        logits = self._logits(X)
        predictions = self.model_.artifact.predictions(logits)
        return (predictions, self._std(X)) if return_std else predictions

    def _checked_y(self, y: NDArray[Any], *, reset: bool) -> NDArray[Any]:
        with np.errstate(over="ignore"):
            numbers: NDArray[Any] = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
            assert_all_finite(numbers.astype(np.float32), input_name="y")
        self._task.check_target(numbers, np.ones(len(numbers), bool))
        return numbers

    def _coded(self, y: NDArray[Any]) -> Floats:
        return y


def _plain(value: Any) -> Any:
    """A numpy number, as searches over arrays of settings give it, as a Python number."""
    return value.item() if isinstance(value, np.generic) else value

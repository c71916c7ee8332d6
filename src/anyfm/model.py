"""The trained model: `anyfm.train` and `anyfm.load` return it. Scoring needs no torch."""

from __future__ import annotations

import html
import math
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anyfm.artifact import Artifact, load_artifact, save_artifact
from anyfm.core.errors import InputError, MissingDependencyError, SettingError, got, located, nearest_name
from anyfm.core.rows import Floats, Ids, Rows, Targets
from anyfm.core.task import Task
from anyfm.engines.posterior import Posterior
from anyfm.engines.scorer import Scorer, make_scorer

if TYPE_CHECKING:
    from anyfm.data.encoder import Encoded
    from anyfm.data.readers import Frame
    from anyfm.data.schema import Schema
    from anyfm.data.text.reader import Source, TextRows
    from anyfm.explain.contributions import Contributions
    from anyfm.explain.summary import Summary
    from anyfm.ranking.inner_products import InnerProducts
    from anyfm.ranking.items import Items
    from anyfm.training.history import History


class Model:
    """A trained model: it predicts, explains and saves itself. Any number of threads may share it.

    Where a method takes `x`, it may be a pandas, polars or Arrow table; a mapping of column name to array; one row as a
    mapping of column name to value, or a list of such rows; a path or glob of table files; or encoded `Rows`. Columns
    that the model does not use are ignored. A model trained on libsvm or libffm text takes paths of such files instead
    of tables.

    Parameters
    ----------
    artifact : Artifact
        Parameters, settings and encoder, as they are saved.
    n_threads : int
        Threads that score one large table; 0 means all cores of this process.
    history : History, optional
        Of the training just finished, with its times; by default the one that the artifact records.
    seconds : mapping of str to float, optional
        Of the training just finished: "read", "encode", "train" (the epochs without validation) and "total".

    Attributes
    ----------
    artifact : Artifact
    seconds : dict of str to float
        Empty for a loaded model.
    """

    def __init__(
        self,
        artifact: Artifact,
        *,
        n_threads: int = 0,
        history: History | None = None,
        seconds: Mapping[str, float] | None = None,
    ) -> None:
        self.artifact = artifact
        self.seconds = dict(seconds or {})
        self._n_threads = n_threads
        self._history = history
        self._is_classification = self.task.is_classification

    # --- what it is

    @property
    def name(self) -> str:
        """Which model it is, one of `anyfm.models.MODELS`: "fm"."""
        return self.artifact.model.name

    @property
    def task(self) -> Task:
        """What is predicted; its name is "binary" or "regression"."""
        return self.artifact.model.task

    @property
    def settings(self) -> Any:
        """The model's settings object, such as `anyfm.models.FMSettings`."""
        return self.artifact.model.settings

    @property
    def schema(self) -> Schema | None:
        """What each column of the table is; None for a model of rows that were encoded elsewhere."""
        return None if self.artifact.encoder is None else self.artifact.encoder.schema

    @property
    def metrics(self) -> dict[str, float]:
        """On the validation rows, at the best epoch; empty without such rows."""
        return dict(self.artifact.metrics.get("valid", {}))

    @property
    def history(self) -> History:
        """The training epoch by epoch; after loading without times."""
        from anyfm.training.history import History

        if self._history is not None:
            return self._history
        return History.from_dict(self.artifact.history) if self.artifact.history else History()

    @property
    def training_data(self) -> dict[str, Any]:
        """What is recorded of the training rows: n_rows, n_valid_rows, mean_target and format ("table", "libsvm" or
        "libffm"), and for text files negative_label and positive_label, the labels of the classes."""
        names = {"rows": "n_rows", "valid_rows": "n_valid_rows"}
        keys = ("rows", "valid_rows", "mean_target", "format", "negative_label", "positive_label")
        recorded = self.artifact.training
        return {names.get(key, key): recorded[key] for key in keys if key in recorded}

    @property
    def rows_per_second(self) -> float:
        """Training rows per second of training, without reading and validation; 0 for a loaded model."""
        n_rows = self.training_data.get("n_rows", 0) * self.history.n_epochs
        return float(n_rows / max(self.seconds["train"], 1e-9)) if "train" in self.seconds else 0.0

    # --- input

    def read(self, x: Any, **options: Any) -> Frame:
        """Read a table such that values this model knows as text ("007") are not taken for numbers.

        Parameters
        ----------
        x : table, rows as mappings, or path
        **options
            As for `anyfm.data.readers.read_table`.
        """
        from anyfm.data.readers import read_table

        encoder = self.artifact.require_encoder()
        if _is_row(x):
            x = [x]
        if isinstance(x, (list, tuple)) and _is_rows(x):
            x = columns_of(x, encoder.columns)
        return read_table(x, text_columns=encoder.text_columns, **options)

    def read_text(self, source: Source, *, format: str = "auto", labelled: bool = True) -> TextRows:
        """Read libsvm or libffm files of the ids that this model was trained on.

        Entries whose id (or, where the model uses it, field) is beyond those of training are left out of their rows
        and counted.

        Parameters
        ----------
        source : path, glob or list of paths
        format : {"auto", "libsvm", "libffm"}
            "auto": by the suffix, and otherwise the format of the training file.
        labelled : bool
            Whether the labels must be those of the model's task. Without, they may be any numbers.

        Raises
        ------
        SettingError, InputError
            The model was trained on a table, a file is not of the format, or it lacks the fields that the model needs.
        """
        from anyfm.data.text.reader import FORMATS, read_text, source_format

        artifact = self.artifact
        if artifact.encoder is not None:
            raise InputError(
                "this model was trained on a table, so it cannot read a libsvm or libffm file. Give it a table"
            )
        if format == "auto" and text_format_of(source) is None and artifact.training.get("format") in FORMATS:
            format = artifact.training["format"]
        format = source_format(source, format)
        with_fields = artifact.model.needs_fields
        if with_fields and format == "libsvm":
            raise SettingError(got(f"{self.name} needs the field of every entry: a libffm file", format=format))
        return read_text(
            source,
            format=format,
            n_features=artifact.n_features,
            n_fields=artifact.n_fields if with_fields else None,
            unseen="drop",
            task=self.task.name if labelled else "regression",
            labels=self._text_labels if labelled else None,
            feature_ids=artifact.feature_ids,
        )

    @property
    def _text_labels(self) -> tuple[float, float] | None:
        """The labels of the classes in the text that the model was trained on."""
        recorded = self.artifact.training
        if not self._is_classification or "negative_label" not in recorded:
            return None
        return recorded["negative_label"], recorded.get("positive_label", 1)

    def encode(self, x: Any, *, labelled: bool = False) -> Encoded:
        """Encode a table, and count what was unseen and missing.

        Parameters
        ----------
        x : table, rows as mappings, or path
        labelled : bool
            Whether the target (and the weight, if the model has one) is needed too.

        Raises
        ------
        InputError
            A column is missing, or a value cannot be read; the message names file, row, column and value.
        """
        return self.artifact.require_encoder().encode(self.read(x), labelled=labelled)

    def rows(self, x: Any, *, labelled: bool = False) -> Rows:
        """`x` as encoded rows, whatever it is; `labelled` as for `encode` and `read_text`."""
        if not labelled and _is_rows(x):
            return self._rows_of_mappings([x] if isinstance(x, Mapping) else x)
        found = self._given(x, labelled=labelled)
        return (
            found if isinstance(found, Rows) else self.artifact.require_encoder().encode(found, labelled=labelled).rows
        )

    def _rows_of_mappings(self, rows: Sequence[Mapping[str, Any]]) -> Rows:
        encoder = self.artifact.require_encoder()
        try:
            return encoder.encode_rows(rows).rows
        except KeyError:
            columns_of(rows, encoder.columns)  # names the nearest key, if a key is missing
            raise

    def _given(self, x: Any, *, labelled: bool) -> Rows | Frame:
        """Rows as they are, text files as rows, and everything else as a table."""
        if isinstance(x, Rows):
            return x
        if text_format_of(x) is not None or (self.artifact.encoder is None and _first_path(x) is not None):
            return self.read_text(x, labelled=labelled).rows
        return self.read(x)

    # --- predictions

    @overload
    def predict(self, x: Any, *, return_std: Literal[False] = False) -> Targets: ...

    @overload
    def predict(self, x: Any, *, return_std: Literal[True]) -> tuple[Targets, Floats]: ...

    def predict(self, x: Any, *, return_std: bool = False) -> Targets | tuple[Targets, Floats]:
        """The probability of the positive class as float32, or the predicted number as float64; shape (n_rows,).

        A number is clipped to the range of the training targets, unless the model was trained with
        ``clip_predictions=False``.

        Parameters
        ----------
        x
        return_std : bool
            Whether the standard deviation of every row's logit is returned too, float32 of shape (n_rows,): how far
            the training rows leave open what the logit is. For regression it is that of the prediction, in units of the
            target, without the noise of a single target.

        Raises
        ------
        SettingError
            The standard deviations were not measured in training.
        """
        if return_std:
            rows = self.rows(x)
            return self.predict(rows), self._posterior.std(rows).astype(np.float32)
        predictions = self.artifact.predictions(self.logits(x))
        return np.asarray(predictions, np.float32) if self._is_classification else predictions

    def sample(self, x: Any, n: int, *, seed: int) -> Floats:
        """Draw logits from the posterior of the parameters, as Thompson sampling needs them; float32 (n, n_rows).

        In a draw every value has the same parameters in all rows, and in all calls with the same seed. The link gives
        probabilities: ``model.task.predictions(model.sample(x, 1, seed=seed)[0])``.

        Parameters
        ----------
        x
        n : int
            Number of draws, at least 1.
        seed : int

        Raises
        ------
        SettingError
            The standard deviations were not measured in training.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise SettingError(got("n must be an integer of at least 1", n=n))
        if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**63:
            raise SettingError(got("seed must be an integer from 0 to 2**63 - 1", seed=seed))
        return self._posterior.sample(self.rows(x), int(n), seed=int(seed))

    def predict_proba(self, x: Any) -> Floats:
        """The probabilities of the negative and the positive class, float32 of shape (n_rows, 2).

        Raises
        ------
        SettingError
            The model is a regression.
        """
        if not self._is_classification:
            raise SettingError(got("predict_proba needs a classification; use predict", task=self.task.name))
        logits = self.logits(x)
        return np.column_stack([self.task.predictions(-logits), self.task.predictions(logits)]).astype(np.float32)

    def logits(self, x: Any) -> Targets:
        """The logit of every row, shape (n_rows,): float32, for numbers float64. For regression it is the prediction
        before it is clipped."""
        return self._scorer.logits(self.rows(x))

    def decision_function(self, x: Any) -> Targets:
        """`logits` under the name that scikit-learn has for it."""
        return self.logits(x)

    def predict_one(self, row: Mapping[str, Any]) -> float:
        """`predict` of one row, in tens of microseconds: values by column name, None for a missing one.

        Raises
        ------
        InputError
            A column is not named, or a value cannot be read.
        """
        encoder = self.artifact.require_encoder()
        try:
            entries = encoder.entries_of(row)
        except InputError:
            columns_of([row], encoder.columns)  # names the nearest key, if a key is missing
            raise
        return self._response(self._scorer.logit(*entries))

    def predict_ids(self, ids: ArrayLike, values: ArrayLike | None = None, fields: ArrayLike | None = None) -> float:
        """`predict` of one row that is encoded already.

        Parameters
        ----------
        ids : whole numbers of shape (n_slots,)
        values : float array of shape (n_slots,), optional
        fields : whole numbers of shape (n_slots,), optional
            The field of each slot, for models that use it; absent: slot s holds a feature of field s.

        Raises
        ------
        InputError
            An id or field is no whole number or lies outside the model's, or the arrays differ in length.
        """
        known = self.artifact.feature_ids
        if known is not None:
            given = np.asarray(ids)
            codes = given.astype(np.uint64) if _is_whole(given) and not (given < 0).any() else np.zeros(0, np.uint64)
            ids = np.searchsorted(known, codes)
            if codes.size != given.size or (ids == len(known)).any() or (known[ids] != codes).any():
                raise InputError(got("ids must be those of the training file", ids=given))
        entries = _whole("ids", ids, self.artifact.n_features)
        fields = None if fields is None else _whole("fields", fields, self.artifact.n_fields)
        values = None if values is None else np.ascontiguousarray(values, np.float32)
        return self._response(self._scorer.logit(entries, values, fields))

    @cached_property
    def _scorer(self) -> Scorer:
        # Two threads may both create it at first; either is as good.
        artifact = self.artifact
        return make_scorer(artifact.model, artifact.parameters, n_fields=artifact.n_fields, n_threads=self._n_threads)

    @cached_property
    def _posterior(self) -> Posterior:
        artifact = self.artifact
        if not artifact.deviations:
            raise SettingError(
                "standard deviations are measured in training with uncertainty=True, of models with a kernel, without "
                f"batch normalization and trained by gradients, not by Gibbs sampling; this {self.name} model has none"
            )
        return Posterior(
            artifact.model,
            artifact.parameters,
            artifact.deviations,
            n_fields=artifact.n_fields,
            n_threads=self._n_threads,
        )

    def _response(self, logit: float) -> float:
        if not self._is_classification:
            return float(self.artifact.predictions(np.float64(logit)))
        odds = math.exp(-abs(logit))
        return 1.0 / (1.0 + odds) if logit >= 0 else odds / (1.0 + odds)

    # --- ranking

    def items(self, table: Any, *, key: str) -> Items:
        """Encode items to rank, once for any number of contexts.

        The columns of the model that the table has are the items'; those that it lacks are the context's.

        Parameters
        ----------
        table : table or path
        key : str
            The column whose values name the items, each once. It need not be a column of the model.

        Raises
        ------
        InputError, SettingError
            The table has no rows, no column `key` or no column of the model; a key is missing or occurs twice.
        """
        from anyfm.ranking.items import Items

        return Items(self.artifact, self.read(table), key=key)

    def recommend(
        self, context: Mapping[str, Any], items: Items, k: int = 10, *, exclude: Any = None, only: Any = None
    ) -> Frame:
        """The k items of the highest scores for one context.

        Exactly what sorting all logits gives, items of equal logits in the order of their table. Where the logit is a
        sum of pair terms (linear, FM, FwFM, FFM) and items are many, the context's part is computed once
        (`anyfm.ranking.inner_products`).

        Parameters
        ----------
        context : mapping of column name to value
            Every column of the model that the items do not have; further ones are ignored.
        items : Items
            From `items` of this model.
        k : int
            At most this number of items.
        exclude : collection of keys, optional
            Items to leave out, such as those already seen.
        only : collection of keys, optional
            Choose among these items alone. Keys of no item are passed over, here and in `exclude`.

        Returns
        -------
        polars DataFrame
            The key's column; score, as `predict` gives it; rank, from 1.
        """
        from anyfm.ranking.recommend import recommend

        return recommend(self._scorer, context, self._own_items(items), k, exclude=exclude, only=only)

    def rank(self, context: Mapping[str, Any], candidates: Items | Any, *, key: str | None = None) -> Frame:
        """All candidates by falling score for one context, as `recommend` gives the first of them.

        Parameters
        ----------
        context : mapping of column name to value
        candidates : Items, table or path
        key : str, optional
            The column that names the candidates of a table.
        """
        from anyfm.ranking.items import Items
        from anyfm.ranking.recommend import rank

        if not isinstance(candidates, Items):
            if key is None:
                raise SettingError("key must name the column that names the candidates of a table, got key=None")
            candidates = self.items(candidates, key=key)
        return rank(self._scorer, context, self._own_items(candidates))

    def recommend_all(
        self, users: Any, items: Items, k: int = 10, *, exclude: Any = None, user: str | None = None
    ) -> Frame:
        """The k items of the highest scores for every row of a table, on all threads.

        Parameters
        ----------
        users : table or path
            A context in every row.
        items : Items
        k : int
        exclude : table or path, optional
            Pairs to leave out: the column of users that `user` names, and that of the items' keys.
        user : str, optional
            The column that names the users; by default the one that `users` and `exclude` have in common.

        Returns
        -------
        polars DataFrame
            The user's column (without one: row, from 0), the key's column, score and rank, by user in the order of
            the table.
        """
        from anyfm.data.readers import read_table
        from anyfm.ranking.recommend import recommend_all

        seen = (
            None if exclude is None else read_table(exclude, text_columns=self.artifact.require_encoder().text_columns)
        )
        return recommend_all(
            self._scorer,
            self.read(users),
            self._own_items(items),
            k,
            exclude=seen,
            user=user,
            n_threads=self._n_threads,
        )

    def item_vectors(self, items: Items) -> Floats:
        """The vector of each item, float32 of shape (n_items, D + 1), for search by inner product.

        For every context, the inner product with `query_vector` is the logit minus a number that is the same for all
        items. The last column is the item's own part of the logit. docs/ranking.md has recipes for search engines.

        Raises
        ------
        SettingError
            The model's logit is no such sum: AFM, DeepFM, or rows are normalized.
        """
        return self._inner_products(items).vectors

    def query_vector(self, context: Mapping[str, Any], items: Items) -> Floats:
        """The vector of a context for `item_vectors`, float32 of shape (D + 1,); the last number is 1."""
        found: Floats = self._inner_products(items).queries(items.context.encode_one(context))[0][0]
        return found

    def similar_items(self, key: Any, items: Items, k: int = 10) -> Frame:
        """The k items whose vectors have the highest cosine similarity to that of an item.

        The vector is that of the whole item: the sum over all its values, its id among them if the model has it.

        Returns
        -------
        polars DataFrame
            The key's column; score, the cosine in −1 … 1; rank, from 1.
        """
        from anyfm.ranking.similar import similar_items

        return similar_items(self._own_items(items), key, k)

    def _own_items(self, items: Items) -> Items:
        if items.artifact is not self.artifact:
            raise SettingError(
                f"items must be made by the model that ranks them: model.items(table, key={items.key!r})"
            )
        return items

    def _inner_products(self, items: Items) -> InnerProducts:
        found = self._own_items(items).inner_products
        if found is None:
            rule = "vectors for retrieval need a model whose logit is a sum of pair terms, without normalize"
            raise SettingError(got(rule, model=self.name, normalize=self.artifact.model.normalize))
        return found

    # --- evaluation and explanation

    def evaluate(self, x: Any, *, group: Any = None, k: int = 10) -> dict[str, float]:
        """The metrics of the task on labelled rows; see `anyfm.metrics.evaluate`.

        Parameters
        ----------
        x : table, rows as mappings, path, or Rows
        group : str or array of shape (n_rows,), optional
            The column of a table, or the values, by which rows are ranked apart, such as the user: adds the metrics of
            rankings, see `anyfm.metrics.evaluate_groups`.
        k : int
            Rows of a ranking that ndcg@k, recall@k and hit_rate@k look at.
        """
        from anyfm.metrics import evaluate, evaluate_groups

        found = self._given(x, labelled=True)
        if isinstance(group, str):
            if isinstance(found, Rows):
                raise SettingError(got("a group that is a column needs a table", group=group))
            from anyfm.data.messages import missing_column

            if group not in found.columns:
                raise missing_column("group", group, found.columns)
            group = found[group].to_numpy()
        rows = self.rows(found, labelled=True)
        if rows.y is None:
            raise InputError("rows to evaluate on must have targets, got y=None")
        logits = self.logits(rows)
        metrics = evaluate(self.task, rows.y, self.artifact.clipped(logits), rows.weight)
        if group is not None:
            metrics |= evaluate_groups(self.task, rows.y, logits, group, rows.weight, k=k)
        return metrics

    def explain(self, x: Any) -> Contributions:
        """Each row's logit as the sum of its terms: bias, fields, pairs of fields."""
        from anyfm.explain.contributions import explain

        return explain(self.artifact, self._given(x, labelled=False))

    def summarize(self, x: Any) -> Summary:
        """What matters over a table: fields, pairs of fields, pairs of values; see `anyfm.explain.summary.summarize`.

        Where `x` has the target, importance and confidence are measured too.
        """
        from anyfm.explain.summary import summarize

        return summarize(self.artifact, self._given(x, labelled=True))

    def report(self, x: Any, path: str | Path, *, others: Sequence[Model | str | Path] = ()) -> Path:
        """Write one HTML page on quality, explanation and errors over a labelled table.

        Parameters
        ----------
        x : table, rows as mappings, or path
        path : path
            The page.
        others : sequence of Model or path, optional
            Models of the same target to compare with.

        Raises
        ------
        MissingDependencyError
            What draws the page is not installed: ``pip install "anyfm[report]"``. It is an ImportError.
        """
        try:
            from anyfm.report.page import write_report
        except ImportError as error:
            raise MissingDependencyError(f'the report needs {error.name}: pip install "anyfm[report]"') from error
        models = [(self.name, self), *(_named(other) for other in others)]
        names = [name for name, _ in models]
        distinct = [
            f"{name} ({names[: at + 1].count(name)})" if names.count(name) > 1 else name
            for at, name in enumerate(names)
        ]
        table, called = (x, None) if _first_path(x) is not None else (self.read(x), "the table")
        artifacts = [model.artifact for _, model in models]
        write_report(list(zip(distinct, artifacts, strict=True)), table, path, data=called)
        return Path(path)

    def nearest(self, field: str, value: Any, *, n: int = 5, min_count: int = 1) -> list[tuple[Any, float]]:
        """The values of a field whose vectors are most like that of `value`; see
        `anyfm.explain.nearest.nearest_values`."""
        from anyfm.explain.nearest import nearest_values

        return nearest_values(self.artifact, field, value, n=n, min_count=min_count)

    def factors(self) -> Frame:
        """The parameters of every value, by field and value; see `anyfm.explain.factors.factors_table`."""
        from anyfm.explain.factors import factors_table

        return factors_table(self.artifact)

    # --- saving and showing

    def save(self, path: str | Path, *, overwrite: bool = True) -> Path:
        """Save the model as a directory of plain files, which `anyfm.load` reads; see `artifact.save_artifact`.

        Parameters
        ----------
        overwrite : bool
            Whether an anyfm model that is already there may be replaced. Anything else is never replaced.
        """
        return save_artifact(self.artifact, path, overwrite=overwrite)

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value for name, value in self.__dict__.items() if name not in ("_scorer", "_posterior")
        }  # it holds compiled kernels

    def __repr__(self) -> str:
        facts = self._facts()
        counts = [f"{facts[name]} {name}" for name in ("fields", "features", "parameters")]
        return f"<anyfm.Model {', '.join([self.name, self.task.name, *counts])}>"

    def _repr_html_(self) -> str:
        facts = {**self._facts(), **{f"validation {name}": f"{value:.5g}" for name, value in self.metrics.items()}}
        rows = (f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in facts.items())
        return f"<table>{''.join(rows)}</table>"

    def _facts(self) -> dict[str, str]:
        artifact = self.artifact
        n_parameters = artifact.model.n_parameters(artifact.n_features, artifact.n_fields)
        return {
            "model": self.name,
            "task": self.task.name,
            "fields": f"{artifact.n_fields:,}",
            "features": f"{artifact.n_features:,}",
            "parameters": f"{n_parameters:,}",
        }


def load(path: str | Path, *, n_threads: int = 0) -> Model:
    """Load a saved model.

    Parameters
    ----------
    path : path
        The directory that `Model.save`, an estimator's ``save`` or the command line wrote.
    n_threads : int
        Threads that score one large table; 0 means all cores of this process.

    Raises
    ------
    ArtifactError
        There is no model, it is damaged, or a newer version wrote it.
    """
    return Model(load_artifact(path), n_threads=n_threads)


def _is_whole(numbers: NDArray[Any]) -> bool:
    return numbers.dtype.kind in "iu" and numbers.ndim == 1


def _whole(name: str, given: ArrayLike, n: int) -> Ids:
    """Numbers of 0 … n − 1 as an array that the kernels take, which check int32 themselves."""
    numbers = np.asarray(given)
    if numbers.size == 0:
        numbers = np.zeros(0, np.int32)
    if not _is_whole(numbers) or (numbers.dtype != np.int32 and ((numbers < 0) | (numbers >= n)).any()):
        raise InputError(got(f"{name} must be whole numbers of 0 … {n - 1}, one for each slot", **{name: given}))
    return np.ascontiguousarray(numbers, np.int32)


def text_format_of(source: Any, format: str = "auto") -> str | None:
    """ "libsvm" or "libffm" if `source` is text files of that format, by `format` or by suffix; None for a table."""
    from anyfm.data.text.reader import FORMATS, text_format

    if format != "auto":
        return format if format in FORMATS else None
    path = _first_path(source)
    return None if path is None else text_format(path)


def _first_path(source: Any) -> str | os.PathLike[str] | None:
    """The path, or the first of a list of paths; None for anything else."""
    if isinstance(source, (list, tuple)) and source:
        source = source[0]
    return source if isinstance(source, (str, os.PathLike)) else None


def _is_row(x: Any) -> bool:
    """Whether `x` is one row, a mapping with a value that is no column."""
    return isinstance(x, Mapping) and any(isinstance(v, (str, bytes)) or not hasattr(v, "__len__") for v in x.values())


def _is_rows(x: Any) -> bool:
    """Whether `x` is one row, or a list of rows, as mappings."""
    return _is_row(x) or (isinstance(x, (list, tuple)) and bool(x) and all(isinstance(row, Mapping) for row in x))


def columns_of(rows: Sequence[Mapping[str, Any]], needed: Sequence[str]) -> dict[str, list[Any]]:
    """Rows as columns.

    Raises
    ------
    InputError
        A row lacks one of the `needed` columns; the message names its nearest key.
    """
    for number, row in enumerate(rows, start=1):
        for name in needed:
            if name not in row:
                near = nearest_name(name, [key for key in row if key not in needed])
                hint = f"Did you mean {near!r}? " if near else ""
                raise InputError(
                    located(
                        "a row must have a value for every column of the model",
                        row=number if len(rows) > 1 else None,
                        column=name,
                        remedy=f"{hint}Give None for a value that is missing.",
                    )
                )
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _named(model: Model | str | Path) -> tuple[str, Model]:
    return (model.name, model) if isinstance(model, Model) else (Path(model).name, load(model))

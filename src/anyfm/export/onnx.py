"""Export to ONNX: raw text and numbers in, the probability or the prediction out, with the encoder in the graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm import __version__
from anyfm.artifact import Artifact
from anyfm.core.errors import InputError, SettingError, got
from anyfm.data.categorical import CategoricalEncoder
from anyfm.data.encoder import EncodedField
from anyfm.data.field_encoder import FIRST, MISSING, UNSEEN
from anyfm.data.numeric import BinEncoder, ScaledEncoder
from anyfm.data.tags import TagsEncoder
from anyfm.data.values import MISSING_WORDS
from anyfm.export.graph import Graph
from anyfm.models.afm import AttentionProducts
from anyfm.models.ffm import FieldAwareProducts
from anyfm.models.fwfm import FieldWeightedProducts
from anyfm.models.pairs import InnerProducts, PairTerms

MISSING_INTEGER = -(2**63)
"""What stands for a missing value among whole numbers, which have no NaN."""


@dataclass(frozen=True)
class _Group:
    """Slots side by side: fields of one value each, or the values of one field of tags. Tensors of shape (N, S)."""

    fields: list[int]
    ids: str
    values: str
    is_tags: bool


def export_onnx(artifact: Artifact, path: str | Path) -> Path:
    """Write a model as one ONNX file (opset 20, ai.onnx.ml 4).

    Inputs are the columns of the model, of shape (rows,): text as strings, whole numbers and booleans as int64, other
    numbers as double; tags as text with their separator, or, where training had lists, of shape (rows, values) with
    "" in the rest of a row. Missing is "" (or another of `anyfm.data.values.MISSING_WORDS`), NaN, and for int64
    `MISSING_INTEGER`. Text is compared as it stands: remove spaces around it before.

    Outputs, float of shape (rows,): probability and logit; for regression prediction, for counts prediction and logit.
    Numbers are clipped as `Model.predict` clips them.

    Raises
    ------
    InputError
        A column cannot be expressed: dates and times, and columns whose text is written in a format of its own. The
        message names all of them.
    SettingError
        The model's pair terms are unknown here.
    """
    encoder = artifact.require_encoder()
    graph = Graph()
    _check_columns(encoder.fields)
    groups = _encoded(graph, artifact)
    logit = _logit(graph, artifact, groups)
    model = artifact.model
    if model.task.is_classification:
        graph.output("probability", graph.add("Sigmoid", logit))
        graph.output("logit", logit)
    else:
        clipped = logit
        for kind, bound in zip(("Max", "Min"), artifact.logit_range or (), strict=False):
            if np.isfinite(bound):
                clipped = graph.add(kind, clipped, graph.constant(float(bound)))
        graph.output("prediction", clipped if model.task.logit_is_prediction else graph.add("Exp", clipped))
        if not model.task.logit_is_prediction:
            graph.output("logit", logit)
    graph.save(
        str(path),
        name=model.name,
        description=f"{model.title}, trained by anyfm {artifact.anyfm_version}",
        metadata={"model": model.name, "task": model.task.name, "missing_int64": str(MISSING_INTEGER)},
        producer_version=__version__,
    )
    return Path(path)


# --- the encoder


def _check_columns(fields: tuple[EncodedField, ...]) -> None:
    problems = {}
    for field in fields:
        if isinstance(field.encoder, BinEncoder) and field.encoder.unit:
            problems[field.column] = "dates and times"
        elif field.encoder.value_type == "time":
            problems[field.column] = "parts of dates and times"
        elif field.cleaner is not None and (field.cleaner.format or field.cleaner.time_zone):
            problems[field.column] = f"text of the format {field.cleaner.format or 'of a time zone'!r}"
    if problems:
        listed = "; ".join(f"{column!r}: {problem}" for column, problem in problems.items())
        raise InputError(
            f"ONNX cannot express the encoding of these columns: {listed}. Make columns of numbers or text of them "
            "before training, or serve the model with anyfm serve or mlflow"
        )


def _encoded(graph: Graph, artifact: Artifact) -> list[_Group]:
    """The slots of the rows, with global ids."""
    encoder = artifact.require_encoder()
    inputs: dict[str, str] = {}
    groups: list[_Group] = []
    run: list[tuple[int, str, str]] = []  # fields of one value each, so far

    def close_run() -> None:
        if run:
            fields, ids, values = zip(*run, strict=True)
            groups.append(
                _Group(list(fields), graph.add("Concat", *ids, axis=1), graph.add("Concat", *values, axis=1), False)
            )
            run.clear()

    for position, field in enumerate(encoder.fields):
        if field.column not in inputs:
            kind, is_matrix = _input_kind(field)
            inputs[field.column] = graph.input(field.column, kind, is_matrix=is_matrix)
        ids, values = _encode_field(graph, field, inputs[field.column])
        ids = graph.add("Add", ids, graph.constant([int(encoder.field_offsets[position])]))
        if isinstance(field.encoder, TagsEncoder):
            close_run()
            groups.append(_Group([position], ids, values, True))
        else:
            run.append((position, ids, values))
    close_run()
    if not artifact.model.normalize:
        return groups
    squares = [graph.sum(graph.add("Mul", each.values, each.values), [1], keep=True) for each in groups]
    length = graph.add("Sqrt", graph.add("Sum", *squares))
    safe = graph.add("Where", graph.add("Greater", length, graph.constant(0.0)), length, graph.constant(1.0))
    return [_Group(each.fields, each.ids, graph.add("Div", each.values, safe), each.is_tags) for each in groups]


def _input_kind(field: EncodedField) -> tuple[str, bool]:
    """The type of a column's input, and whether it has several values in a row."""
    of_types = {"text": "string", "int": "int64", "bool": "int64", "float": "double"}
    if isinstance(field.encoder, TagsEncoder):
        return of_types[field.encoder.key_type], field.encoder.separator is None
    return of_types[field.encoder.value_type], False


def _encode_field(graph: Graph, field: EncodedField, tensor: str) -> tuple[str, str]:
    """Local ids (int64) and values (float) of a field, (N, S)."""
    encoder = field.encoder
    missing = () if field.cleaner is None else field.cleaner.missing
    if isinstance(encoder, TagsEncoder):
        return _encode_tags(graph, encoder, missing, tensor)
    column = graph.unsqueeze(tensor, [1])
    if isinstance(encoder, CategoricalEncoder):
        ids = _encode_categories(graph, encoder, missing, column)
        return ids, _ones(graph, ids)
    is_nan = graph.add("IsNaN", column)
    for number in _numbers(missing):
        is_nan = graph.add("Or", is_nan, graph.add("Equal", column, graph.constant(number, np.float64)))
    if isinstance(encoder, BinEncoder):
        reached = graph.add("GreaterOrEqual", column, graph.constant(encoder.edges[None], np.float64))
        bins = graph.sum(graph.cast(reached, np.int64), [1], keep=True)
        ids = graph.add("Where", is_nan, graph.constant([MISSING]), graph.add("Add", bins, graph.constant([FIRST])))
        return ids, _ones(graph, ids)
    assert isinstance(encoder, ScaledEncoder)
    no_number = graph.add("Or", is_nan, graph.add("IsInf", graph.cast(column, np.float32)))
    clipped = graph.add("Max", column, graph.constant(encoder.low, np.float64))
    clipped = graph.add("Min", clipped, graph.constant(encoder.high, np.float64))
    shifted = graph.add("Sub", clipped, graph.constant(encoder.mean, np.float64))
    scaled = graph.cast(graph.add("Div", shifted, graph.constant(encoder.deviation, np.float64)), np.float32)
    ids = graph.add("Where", no_number, graph.constant([MISSING]), graph.constant([FIRST]))
    return ids, graph.add("Where", no_number, graph.constant(1.0), scaled)


def _ones(graph: Graph, ids: str) -> str:
    zeros = graph.add("Sub", ids, ids)
    return graph.cast(graph.add("Add", zeros, graph.constant([1])), np.float32)


def _numbers(missing: tuple[str, ...]) -> list[float]:
    found = []
    for word in missing:
        try:
            found.append(float(word))
        except ValueError:
            continue
    return [number for number in found if np.isfinite(number)]


def _encode_categories(graph: Graph, encoder: CategoricalEncoder, missing: tuple[str, ...], tensor: str) -> str:
    ids = np.arange(FIRST, encoder.n_features, dtype=np.int64)
    known = encoder.values.to_list()
    if encoder.key_type == "text":
        table = {**dict(zip(known, ids.tolist(), strict=True)), **dict.fromkeys((*MISSING_WORDS, *missing), MISSING)}
        return graph.labels(tensor, list(table), np.array(list(table.values()), np.int64), UNSEEN)
    absent = _numbers(missing)
    if encoder.key_type == "float":
        numbers = dict(zip(known, ids.tolist(), strict=True)) | dict.fromkeys(absent, MISSING)
        found = graph.labels(tensor, np.array(list(numbers), np.float64), np.array(list(numbers.values())), UNSEEN)
        return str(graph.add("Where", graph.add("IsNaN", tensor), graph.constant([MISSING]), found))
    whole = [MISSING_INTEGER, *(int(number) for number in absent if number.is_integer())]
    integers = dict(zip(known, ids.tolist(), strict=True)) | dict.fromkeys(whole, MISSING)
    return graph.labels(tensor, np.array(list(integers), np.int64), np.array(list(integers.values())), UNSEEN)


def _encode_tags(graph: Graph, encoder: TagsEncoder, missing: tuple[str, ...], tensor: str) -> tuple[str, str]:
    """Every distinct tag once, with value 1/n, and one more slot that is the missing feature of a row without tags."""
    if encoder.separator is not None:
        tensor, _ = graph.add("StringSplit", tensor, delimiter=encoder.separator, n_outputs=2)
    ids = _encode_categories(graph, encoder.categories, missing, tensor)
    same = graph.add("Equal", graph.unsqueeze(tensor, [2]), graph.unsqueeze(tensor, [1]))  # (N, T, T)
    earlier = graph.add("Trilu", graph.cast(same, np.float32), graph.constant(np.array(-1)), upper=0)
    is_first = graph.add("Equal", graph.sum(earlier, [2]), graph.constant(0.0))
    is_there = graph.add("Not", graph.add("Equal", ids, graph.constant([MISSING])))
    kept = graph.cast(graph.add("And", is_first, is_there), np.float32)
    n_kept = graph.sum(kept, [1], keep=True)
    values = graph.add("Div", kept, graph.add("Max", n_kept, graph.constant(1.0)))
    is_empty = graph.cast(graph.add("Equal", n_kept, graph.constant(0.0)), np.float32)  # (N, 1)
    of_missing = graph.cast(
        graph.add("Add", graph.add("Mul", is_empty, graph.constant(0.0)), graph.constant(1.0)), np.int64
    )
    assert MISSING == 1
    return graph.add("Concat", ids, of_missing, axis=1), graph.add("Concat", values, is_empty, axis=1)


# --- the model


def _logit(graph: Graph, artifact: Artifact, groups: list[_Group]) -> str:
    parameters = artifact.parameters
    weights = graph.constant(parameters["linear"])
    terms = [graph.constant(parameters["bias"].reshape(1))]
    for group in groups:
        terms.append(graph.sum(graph.add("Mul", graph.add("Gather", weights, group.ids), group.values), [1]))
    model = artifact.model.resolve(artifact.n_fields)
    pairs = model.pair_terms()
    if pairs is not None:
        builder = _PAIR_TERMS.get(type(pairs))
        if builder is None:
            raise SettingError(got("export to ONNX knows the pair terms of anyfm's own models", model=model.name))
        terms += builder(graph, artifact, groups, pairs)
    network = model.mlp(parameters)
    if network is not None:
        _, sums = _field_sums(graph, parameters["factors"], groups)
        hidden = graph.add("Flatten", sums, axis=1)
        for layer_weights, bias in network.layers:
            hidden = graph.add("Gemm", hidden, graph.constant(layer_weights), graph.constant(bias))
            hidden = graph.add({"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}[network.activation], hidden)
        terms.append(graph.sum(graph.add("Mul", hidden, graph.constant(network.output)), [1]))
    return str(graph.add("Sum", *terms))


def _vectors(graph: Graph, table: NDArray[Any], groups: list[_Group]) -> list[str]:
    """The vectors of each group's slots times their values, (N, S, …)."""
    constant = graph.constant(table)
    axes = list(range(2, table.ndim + 1))
    return [
        graph.add("Mul", graph.add("Gather", constant, group.ids), graph.unsqueeze(group.values, axes))
        for group in groups
    ]


def _field_sums(graph: Graph, table: NDArray[Any], groups: list[_Group]) -> tuple[list[str], str]:
    """The vectors of each group, and their sums by field, (N, F, …)."""
    vectors = _vectors(graph, table, groups)
    parts = [graph.sum(v, [1], keep=True) if g.is_tags else v for v, g in zip(vectors, groups, strict=True)]
    return vectors, graph.add("Concat", *parts, axis=1)


def _square(graph: Graph, tensor: str) -> str:
    return str(graph.add("Mul", tensor, tensor))


def _half(graph: Graph, one: str, other: str) -> list[str]:
    """½ (one − other)."""
    return [graph.add("Mul", graph.add("Sub", one, other), graph.constant(0.5))]


def _inner_products(graph: Graph, artifact: Artifact, groups: list[_Group], _: PairTerms) -> list[str]:
    vectors = _vectors(graph, artifact.parameters["factors"], groups)
    total = graph.add("Sum", *(graph.sum(each, [1]) for each in vectors))
    squares = graph.add("Sum", *(graph.sum(_square(graph, each), [1, 2]) for each in vectors))
    return _half(graph, graph.sum(_square(graph, total), [1]), squares)


def _field_weighted(graph: Graph, artifact: Artifact, groups: list[_Group], pairs: PairTerms) -> list[str]:
    weights = pairs.field_pair_weights(artifact.parameters, artifact.n_fields)
    assert weights is not None
    vectors, sums = _field_sums(graph, artifact.parameters["factors"], groups)
    weighted = graph.add("Mul", sums, graph.add("MatMul", graph.constant(weights), sums))
    squares = []
    for each, group in zip(vectors, groups, strict=True):
        own = graph.constant(weights.diagonal()[group.fields][None, :, None].astype(np.float32))
        squares.append(graph.sum(graph.add("Mul", _square(graph, each), own), [1, 2]))
    return _half(graph, graph.sum(weighted, [1, 2]), graph.add("Sum", *squares))


def _field_aware(graph: Graph, artifact: Artifact, groups: list[_Group], _: PairTerms) -> list[str]:
    vectors, sums = _field_sums(graph, artifact.parameters["field_factors"], groups)  # (N, F, F, K): of f toward g
    products = graph.add("Mul", sums, graph.add("Transpose", sums, perm=[0, 2, 1, 3]))
    squares = []
    for each, group in zip(vectors, groups, strict=True):
        toward_own = np.zeros((1, len(group.fields), artifact.n_fields, 1), np.float32)
        toward_own[0, np.arange(len(group.fields)), group.fields] = 1.0
        squares.append(graph.sum(graph.add("Mul", _square(graph, each), graph.constant(toward_own)), [1, 2, 3]))
    return _half(graph, graph.sum(products, [1, 2, 3]), graph.add("Sum", *squares))


def _attention(graph: Graph, artifact: Artifact, groups: list[_Group], _: PairTerms) -> list[str]:
    parameters = artifact.parameters
    vectors = graph.add("Concat", *_vectors(graph, parameters["factors"], groups), axis=1)  # (N, S, K)
    values = graph.add("Concat", *(group.values for group in groups), axis=1)
    products = graph.add("Mul", graph.unsqueeze(vectors, [2]), graph.unsqueeze(vectors, [1]))  # (N, S, S, K)
    there = graph.cast(graph.add("Not", graph.add("Equal", values, graph.constant(0.0))), np.float32)
    both = graph.add("Mul", graph.unsqueeze(there, [2]), graph.unsqueeze(there, [1]))
    present = graph.add("Trilu", both, graph.constant(np.array(1)), upper=1)  # (N, S, S): pairs i < j
    hidden = graph.add("MatMul", products, graph.constant(parameters["attention_weights"]))
    hidden = graph.add("Relu", graph.add("Add", hidden, graph.constant(parameters["attention_bias"])))
    scores = graph.sum(graph.add("Mul", hidden, graph.constant(parameters["attention_output"])), [3])
    masked = graph.add("Where", graph.cast(present, np.bool_), scores, graph.constant(-1e30))
    largest = graph.add("ReduceMax", masked, graph.constant([1, 2]), keepdims=1)
    weights = graph.add("Mul", graph.add("Exp", graph.add("Sub", masked, largest)), present)
    total = graph.add("Max", graph.sum(weights, [1, 2]), graph.constant(1e-30))
    projected = graph.sum(graph.add("Mul", products, graph.constant(parameters["projection"])), [3])
    return [graph.add("Div", graph.sum(graph.add("Mul", weights, projected), [1, 2]), total)]


_Builder = Callable[[Graph, Artifact, list[_Group], PairTerms], list[str]]
_PAIR_TERMS: Mapping[type[PairTerms], _Builder] = {
    InnerProducts: _inner_products,
    FieldWeightedProducts: _field_weighted,
    FieldAwareProducts: _field_aware,
    AttentionProducts: _attention,
}

"""Export as the text models of libFM and libffm."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anyfm.artifact import Artifact
from anyfm.core.atomic import replaced_file
from anyfm.core.errors import InputError, SettingError, got, located
from anyfm.data.text.convert import save_vocabulary, vocabulary_beside
from anyfm.models.ffm import FieldAwareProducts
from anyfm.models.pairs import InnerProducts

_LANES = 4  # libffm built for SSE pads vectors to a multiple of four


def export_libfm(artifact: Artifact, path: str | Path) -> Path:
    """Write a linear model or a factorization machine as the text model of libFM 1.4.

    Of a table's model the vocabulary is written too, as PATH.vocabulary: ``anyfm convert new.csv new.svm --vocabulary
    PATH.vocabulary`` gives the rows that libFM scores.

    Raises
    ------
    SettingError
        The model's formula is another one.
    """
    pairs, parameters = artifact.model.pair_terms(), artifact.parameters
    is_fm = pairs is None or type(pairs) is InnerProducts
    if not (is_fm and artifact.model.is_sum_of_pairs and not artifact.model.normalize):
        rule = "libFM has the formulas of linear and fm, without normalize"
        raise SettingError(got(rule, model=artifact.model.name, normalize=artifact.model.normalize))
    task = artifact.model.task
    if not (task.is_classification or task.logit_is_prediction):
        raise SettingError(got("libFM has the tasks binary and regression", task=task.name))
    factors = parameters["factors"] if pairs is not None else np.zeros((artifact.n_features, 0), np.float32)
    lines = [
        *("#global bias W0", _number(parameters["bias"][0]), "#unary interactions Wj"),
        *map(_number, parameters["linear"]),
        "#pairwise interactions Vj,f",
        *(" ".join(map(_number, row)) for row in factors),
    ]
    return _write(artifact, path, lines)


def export_libffm(artifact: Artifact, path: str | Path) -> Path:
    """Write a field-aware factorization machine without linear terms as a text model of libffm.

    Early versions of libffm read it; later ones store binary models.

    Of a table's model the vocabulary is written too, as PATH.vocabulary, for ``anyfm convert``.

    Raises
    ------
    SettingError
        The model's formula is another one.
    """
    model = artifact.model
    has_linear = bool(artifact.parameters["bias"][0]) or bool(artifact.parameters["linear"].any())
    if not isinstance(model.pair_terms(), FieldAwareProducts) or has_linear or not model.task.is_classification:
        rule = "libffm has the formula of a binary ffm without bias and linear terms (--no-linear)"
        raise SettingError(got(rule, model=model.name, task=model.task.name, linear=has_linear))
    return _write(artifact, path, _libffm_lines(artifact.parameters["field_factors"], model.normalize))


def _libffm_lines(factors: NDArray[Any], normalize: bool) -> Iterator[str]:
    n_features, n_fields, n_factors = factors.shape
    padded = -(-n_factors // _LANES) * _LANES
    yield from (f"n {n_features}", f"m {n_fields}", f"k {padded}", f"normalization {int(normalize)}")
    rest = " 0" * (padded - n_factors)
    for feature in range(n_features):
        for field in range(n_fields):
            yield f"w{feature},{field} {' '.join(map(_number, factors[feature, field]))}{rest}"


def _number(value: Any) -> str:
    """The shortest text that gives the same float32."""
    return str(np.float32(value))


def _write(artifact: Artifact, path: str | Path, lines: Iterable[str]) -> Path:
    if artifact.feature_ids is not None:
        raise InputError(
            "this model was trained on text with ids that were renumbered; other programs do not know them"
        )
    try:
        with replaced_file(Path(path)) as file:
            file.writelines(f"{line}\n".encode() for line in lines)
    except OSError as error:
        raise InputError(located(f"the file cannot be written: {error.strerror or error}", file=str(path))) from error
    if artifact.encoder is not None:
        save_vocabulary(artifact.encoder, vocabulary_beside(path))
    return Path(path)

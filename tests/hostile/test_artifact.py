"""Damaged, foreign and hostile model directories: always an ArtifactError that names the file, never a crash."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from anyfm.artifact import Artifact, _document_checksum, _fingerprint, load_artifact, save_artifact
from anyfm.core.errors import ArtifactError
from anyfm.models import Linear


@pytest.fixture
def saved(tmp_path):
    parameters = {"bias": np.ones(1, np.float32), "linear": np.arange(50, dtype=np.float32)}
    artifact = Artifact(model=Linear(), parameters=parameters, n_features=50, n_fields=3, metrics={"auc": 0.5})
    return save_artifact(artifact, tmp_path / "model")


def forge(saved, **changes):
    """Edit model.json and make its checksum fit again."""
    document = {**json.loads((saved / "model.json").read_bytes()), **changes}
    document["sha256"] = _document_checksum(document)
    (saved / "model.json").write_text(json.dumps(document))


def refusal(saved):
    try:
        load_artifact(saved)
    except ArtifactError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", ["model.json", "weights.safetensors"])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_named(saved, name, keep):
    content = (saved / name).read_bytes()
    (saved / name).write_bytes(content[: int(len(content) * keep)])
    with pytest.raises(ArtifactError, match=name) as caught:
        load_artifact(saved)
    assert "train again" in str(caught.value)


def test_any_flipped_byte_is_noticed(saved):
    for name in ("model.json", "weights.safetensors"):
        content = bytearray((saved / name).read_bytes())
        for position in range(0, len(content), max(1, len(content) // 60)):
            flipped = bytearray(content)
            flipped[position] ^= 0x21
            (saved / name).write_bytes(flipped)
            message = refusal(saved)
            if message is None:  # white space may change in model.json: nothing that is read has changed then
                assert name == "model.json"
                assert json.loads(flipped) == json.loads(content)
            else:
                assert str(saved) in message
        (saved / name).write_bytes(content)
    load_artifact(saved)


def test_an_edited_number_is_noticed(saved):
    text = (saved / "model.json").read_text()
    (saved / "model.json").write_text(text.replace('"auc": 0.5', '"auc": 0.9'))
    with pytest.raises(ArtifactError, match=r"edited after it was saved.*model\.json"):
        load_artifact(saved)


def test_a_missing_file_is_named(saved):
    (saved / "weights.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"missing.*weights\.safetensors"):
        load_artifact(saved)


@pytest.mark.parametrize("what", ["nothing", "file", "empty directory"])
def test_what_is_no_model_is_refused(tmp_path, what):
    path = tmp_path / "model"
    if what == "file":
        path.write_text("click,gender\n")
    elif what == "empty directory":
        path.mkdir()
    with pytest.raises(ArtifactError, match="is not a model directory"):
        load_artifact(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{}", b"\xff\xfe", b'{"format": "anyfm-model"}', b"[" * 200_000, b'{"format": 1}', b"NaN"],
)
def test_strange_json_is_refused(saved, content):
    (saved / "model.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.json"):
        load_artifact(saved)


def test_a_newer_format_says_what_to_do(saved):
    forge(saved, format_version=2, anyfm_version="9.1")
    with pytest.raises(ArtifactError, match=r"reads model format 1, not 2.*install that version"):
        load_artifact(saved)


def test_an_unknown_model_says_what_to_do(saved):
    forge(saved, model="quantum", anyfm_version="9.1")
    with pytest.raises(ArtifactError, match=r"'quantum'.*9\.1"):
        load_artifact(saved)


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {"learning_rate": -1}},
        {"settings": {"no_such": 1}},
        {"settings": None},
        {"n_features": 49},
        {"n_features": "50"},
        {"n_features": None},
        {"files": None},
        {"files": {}},
        {"files": {"weights.safetensors": 3}},
        {"encoder": {}},
        {"encoder": []},
        {"model": None},
        {"model": ["linear"]},
    ],
)
def test_a_forged_description_is_refused(saved, changes):
    forge(saved, **changes)
    with pytest.raises(ArtifactError):
        load_artifact(saved)


def test_a_file_name_cannot_lead_outside(saved, tmp_path):
    (tmp_path / "secret").write_text("")
    forge(saved, files={"../secret": {"bytes": 0, "sha256": ""}})
    with pytest.raises(ArtifactError, match="files"):
        load_artifact(saved)


@pytest.mark.parametrize("content", [b"", b"\x00" * 7, b"\xff" * 64, b"\x08" + b"\x00" * 7 + b"not json"])
def test_strange_weights_are_refused_even_with_a_fitting_checksum(saved, content):
    weights = Path(saved) / "weights.safetensors"
    weights.write_bytes(content)
    forge(saved, files={"weights.safetensors": _fingerprint(content)})
    with pytest.raises(ArtifactError):
        load_artifact(saved)

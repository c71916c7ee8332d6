"""Saved models: equal bytes, whole or not at all, and nothing is replaced that anyfm did not write."""

from __future__ import annotations

import errno
import itertools
import json
import os
import stat
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyfm.artifact import Artifact, check_can_save, load_artifact, save_artifact
from anyfm.core import atomic
from anyfm.core.errors import ArtifactError
from anyfm.models import FM, FMSettings, Linear


def an_artifact(seed=0, *, n_features=7, n_factors=3, **changes):
    rng = np.random.default_rng(seed)
    values = {
        "model": FM(FMSettings(n_factors=n_factors, learning_rate=0.07)),
        "parameters": {
            "bias": rng.normal(size=1).astype(np.float32),
            "linear": rng.normal(size=n_features).astype(np.float32),
            "factors": rng.normal(size=(n_features, n_factors)).astype(np.float32),
        },
        "n_features": n_features,
        "n_fields": 2,
        "training": {"seed": 3, "ratio": 0.1},
        "metrics": {"auc": np.float64(0.75), "rows": np.int64(10)},
        "history": {"monitor": None, "stop_reason": "epochs", "records": [{"epoch": 1, "train_loss": 0.5}]},
    }
    return Artifact(**{**values, **changes})


def contents(directory):
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def test_what_is_loaded_is_what_was_saved(tmp_path):
    saved = an_artifact()
    loaded = load_artifact(save_artifact(saved, tmp_path / "model"))
    assert loaded.model.name == "fm"
    assert loaded.model.settings == saved.model.settings
    assert (loaded.n_features, loaded.n_fields, loaded.encoder) == (7, 2, None)
    assert loaded.metrics == {"auc": 0.75, "rows": 10}
    assert loaded.training == saved.training
    assert loaded.history == saved.history
    assert loaded.parameters.keys() == saved.parameters.keys()
    for name, array in saved.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], array)


def test_loaded_and_saved_again_gives_the_same_bytes(tmp_path):
    save_artifact(an_artifact(anyfm_version="0.0.1"), tmp_path / "first")
    save_artifact(load_artifact(tmp_path / "first"), tmp_path / "second")
    assert contents(tmp_path / "first") == contents(tmp_path / "second")


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | finite | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    weights=hnp.arrays(np.float32, st.integers(1, 20), elements=finite),
    metrics=st.dictionaries(st.text(), plain, max_size=4),
    version=st.text(max_size=10),
)
@settings(max_examples=40, deadline=None)
def test_any_artifact_comes_back_and_gives_the_same_bytes(weights, metrics, version):
    parameters = {"bias": weights[:1], "linear": weights}
    artifact = Artifact(
        model=Linear(),
        parameters=parameters,
        n_features=len(weights),
        n_fields=1,
        metrics=metrics,
        anyfm_version=version,
    )
    with tempfile.TemporaryDirectory() as folder:
        first = save_artifact(artifact, Path(folder, "first"))
        loaded = load_artifact(first)
        second = save_artifact(loaded, Path(folder, "second"))
        assert contents(first) == contents(second)
    assert loaded.metrics == metrics
    assert loaded.parameters["linear"].tobytes() == weights.tobytes()


def test_no_file_needs_code_to_be_read(tmp_path):
    save_artifact(an_artifact(), tmp_path / "model")
    assert sorted(contents(tmp_path / "model")) == ["model.json", "weights.safetensors"]
    document = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert document["format_version"] == 1
    assert document["settings"]["n_factors"] == 3


def test_parents_are_made_and_an_empty_directory_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    save_artifact(an_artifact(), tmp_path / "empty")
    save_artifact(an_artifact(), str(tmp_path / "a" / "b" / "c"))
    assert contents(tmp_path / "empty") == contents(tmp_path / "a" / "b" / "c")


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_model_is_replaced_and_nothing_is_left_beside_it(tmp_path, monkeypatch, in_one_step):
    if not in_one_step:
        monkeypatch.setattr(atomic, "_exchange", lambda first, second: False)
    save_artifact(an_artifact(0), tmp_path / "model")
    save_artifact(an_artifact(1, n_factors=2), tmp_path / "model")
    assert load_artifact(tmp_path / "model").model.settings.n_factors == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(os.name == "nt", reason="permissions of Windows differ")
def test_the_directory_has_ordinary_permissions(tmp_path):
    umask = os.umask(0o022)
    try:
        save_artifact(an_artifact(), tmp_path / "model")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o755


def test_a_link_to_a_model_keeps_pointing_at_it(tmp_path):
    save_artifact(an_artifact(0), tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    save_artifact(an_artifact(1, n_factors=2), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert load_artifact(tmp_path / "real").model.settings.n_factors == 2


def test_overwrite_false_keeps_the_model(tmp_path):
    save_artifact(an_artifact(0), tmp_path / "model")
    before = contents(tmp_path / "model")
    with pytest.raises(ArtifactError, match="there is a model already"):
        save_artifact(an_artifact(1), tmp_path / "model", overwrite=False)
    assert contents(tmp_path / "model") == before


def test_what_is_not_a_model_is_never_replaced(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("more work")
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "model.json").write_text('{"format": "another-model"}')
    for name in ("folder", "file", "json"):
        with pytest.raises(ArtifactError, match="not an anyfm model"):
            save_artifact(an_artifact(), tmp_path / name)
    assert contents(tmp_path / "folder") == {"thesis.txt": b"years of work"}
    assert (tmp_path / "file").read_text() == "more work"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_file_of_the_users_inside_a_model_stays(tmp_path):
    save_artifact(an_artifact(), tmp_path / "model")
    (tmp_path / "model" / "README.md").write_text("good one")
    (tmp_path / "model" / "plots").mkdir()
    save_artifact(an_artifact(1, n_factors=2), tmp_path / "model")
    assert (tmp_path / "model" / "README.md").read_text() == "good one"
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert names == {"model.json", "weights.safetensors", "README.md", "plots"}
    assert load_artifact(tmp_path / "model").model.settings.n_factors == 2


def no_renaming(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EROFS, errno.EACCES])
def test_where_the_directory_cannot_be_renamed_its_files_are_replaced(tmp_path, monkeypatch, code):
    save_artifact(an_artifact(0), tmp_path / "model")
    inode = (tmp_path / "model").stat().st_ino
    monkeypatch.setattr(atomic, "_exchange", no_renaming(code))
    save_artifact(an_artifact(1, n_factors=2), tmp_path / "model")
    assert load_artifact(tmp_path / "model").model.settings.n_factors == 2
    assert (tmp_path / "model").stat().st_ino == inode
    assert sorted(contents(tmp_path / "model")) == ["model.json", "weights.safetensors"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_the_working_directory_is_not_deleted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_artifact(an_artifact(0), ".")
    save_artifact(an_artifact(1, n_factors=2), ".")
    assert load_artifact(os.getcwd()).model.settings.n_factors == 2


@pytest.mark.skipif(os.name == "nt", reason="permissions of Windows differ")
def test_the_mode_of_directory_and_files_stays(tmp_path):
    save_artifact(an_artifact(0), tmp_path / "model")
    (tmp_path / "model").chmod(0o700)
    (tmp_path / "model" / "model.json").chmod(0o640)
    save_artifact(an_artifact(1), tmp_path / "model")
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "model" / "model.json").stat().st_mode) == 0o640


@pytest.mark.parametrize("path", ["loop", "a\0b"])
def test_a_path_that_leads_nowhere_is_a_message(tmp_path, path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for call in (
        lambda: save_artifact(an_artifact(), f"{tmp_path}/{path}"),
        lambda: load_artifact(f"{tmp_path}/{path}"),
    ):
        with pytest.raises(ArtifactError):
            call()


def test_a_place_is_tried_before_training(tmp_path):
    (tmp_path / "file").write_text("")
    check_can_save(tmp_path / "a" / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(ArtifactError, match="cannot be saved"):
        check_can_save(tmp_path / "file" / "model")


# --- faults ----------------------------------------------------------------------------------------------------------

CALLS = {"_write": atomic, "fsync": os, "rename": os, "replace": os, "_exchange": atomic, "mkdir": Path, "link": os}


def failing_at(monkeypatch, nth):
    """Let the nth call of all that touches the disk fail, and count the calls."""
    seen = []

    def wrap(name, act):
        def call(*arguments, **options):
            seen.append(name)
            if len(seen) == nth:
                if name == "_write":
                    act(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return act(*arguments, **options)

        return call

    for name, place in CALLS.items():
        monkeypatch.setattr(place, name, wrap(name, getattr(place, name)))
    return seen


@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("in_one_step", [True, False])
@pytest.mark.parametrize("exists", [True, False])
def test_any_call_may_fail_and_one_model_is_there_whole(tmp_path, inside, in_one_step, exists):
    for nth in itertools.count(1):
        place = tmp_path / f"{nth}"
        if exists or inside:
            save_artifact(an_artifact(0), place / "model")
        if inside:
            (place / "model" / "README.md").write_text("")
        before = contents(place / "model") if exists or inside else None
        with pytest.MonkeyPatch.context() as patch:
            if not in_one_step:
                patch.setattr(atomic, "_exchange", lambda first, second: False)
            calls = failing_at(patch, nth)
            try:
                save_artifact(an_artifact(1, n_factors=2), place / "model")
                error = None
            except ArtifactError as caught:
                error = str(caught)
        if len(calls) < nth:  # all have failed once
            break
        if error is None:
            assert calls[nth - 1] == "link"  # then the file is copied
        elif "is saved, but" in error:
            assert load_artifact(place / "model").model.settings.n_factors == 2
        elif before is None:
            assert not (place / "model").exists()
        else:
            assert contents(place / "model") == before
        if place.exists():
            assert [path.name for path in place.iterdir()] == ["model"] * (place / "model").exists()
    assert nth > 4


def test_what_a_killed_save_left_behind_is_cleared(tmp_path):
    script = """
import os, signal, sys
from anyfm.core import atomic
from tests.integration.test_artifact import an_artifact, save_artifact
write = atomic._write
def dying(path, content):
    write(path, content)
    os.kill(os.getpid(), signal.SIGKILL)
atomic._write = dying
save_artifact(an_artifact(), sys.argv[1])
"""
    root = str(Path(__file__).parents[2])
    for path in ("model", "model/README.md"):
        if path != "model":
            (tmp_path / path).write_text("")
        subprocess.run(
            [sys.executable, "-c", script, str(tmp_path / "model")],
            cwd=root,
            env={**os.environ, "PYTHONPATH": f"{root}/src"},
        )
        assert any(atomic._NEW in str(left) for left in tmp_path.rglob(".*"))
        save_artifact(an_artifact(1), tmp_path / "model")
        assert not list(tmp_path.rglob(".*"))
    assert sorted(contents(tmp_path / "model")) == ["README.md", "model.json", "weights.safetensors"]


SAVING = """
import sys
from tests.integration.test_artifact import an_artifact, save_artifact
for seed in range(int(sys.argv[2])):
    save_artifact(an_artifact(seed % 2, n_features=7 + seed % 2, n_factors=1 + seed % 2), sys.argv[1])
"""


def saving(path, n):
    root = str(Path(__file__).parents[2])
    return subprocess.Popen(
        [sys.executable, "-c", SAVING, str(path), str(n)], cwd=root, env={**os.environ, "PYTHONPATH": f"{root}/src"}
    )


@pytest.mark.parametrize("inside", [False, True])
def test_a_model_loaded_while_others_save_is_one_of_theirs(tmp_path, inside):
    known = []
    for seed in (0, 1):
        artifact = an_artifact(seed, n_features=7 + seed, n_factors=1 + seed)
        known.append({name: array.tobytes() for name, array in artifact.parameters.items()})
    save_artifact(an_artifact(0, n_factors=1), tmp_path / "model")
    if inside:
        (tmp_path / "model" / "README.md").write_text("")
    savers = [saving(tmp_path / "model", 150), saving(tmp_path / "model", 150)]
    n_loaded = 0
    while any(saver.poll() is None for saver in savers):
        loaded = load_artifact(tmp_path / "model")
        assert {name: array.tobytes() for name, array in loaded.parameters.items()} in known
        n_loaded += 1
    assert [saver.returncode for saver in savers] == [0, 0]
    assert n_loaded > 20
    assert not list(tmp_path.rglob(".*"))
    load_artifact(tmp_path / "model")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_is_a_message(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o555)
    with pytest.raises(ArtifactError, match="Permission denied"):
        save_artifact(an_artifact(), tmp_path / "locked" / "model")


def test_a_parent_that_is_a_file_is_a_message(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactError, match="cannot be saved"):
        save_artifact(an_artifact(), tmp_path / "file" / "model")


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize(("in_one_step", "nth_step"), [(True, 1), (False, 1), (False, 2)])
def test_a_crash_between_renames_leaves_one_whole_model(tmp_path, monkeypatch, in_one_step, nth_step):
    save_artifact(an_artifact(0), tmp_path / "model")
    before = contents(tmp_path / "model")
    steps = []

    def dying(act):
        def call(*arguments):
            steps.append(act)
            if len(steps) >= nth_step:
                raise Crash
            return act(*arguments)

        return call

    monkeypatch.setattr(atomic, "_exchange", dying(atomic._exchange) if in_one_step else lambda first, second: False)
    with monkeypatch.context() as renames:
        renames.setattr(os, "rename", dying(os.rename))
        with pytest.raises(Crash):
            save_artifact(an_artifact(1), tmp_path / "model")
    if nth_step == 1:
        assert contents(tmp_path / "model") == before
    else:
        with pytest.raises(ArtifactError, match="rename it back") as caught:
            load_artifact(tmp_path / "model")
        old = next(path for path in tmp_path.iterdir() if path.name in str(caught.value))
        assert contents(old) == before


def test_an_artifact_that_cannot_score_cannot_be_made():
    good = an_artifact()
    wrong = {
        "is not a finite": {**good.parameters, "linear": np.full(7, np.nan, np.float32)},
        "must be float32 of shape": {**good.parameters, "linear": np.zeros(6, np.float32)},
        "has the parameters": {"bias": np.zeros(1, np.float32)},
    }
    for message, parameters in wrong.items():
        with pytest.raises(ArtifactError, match=message):
            replace(good, parameters=parameters)
    with pytest.raises(ArtifactError, match="must be float32"):
        replace(good, parameters={**good.parameters, "bias": np.zeros(1)})
    with pytest.raises(ArtifactError, match="has the parameters"):
        replace(good, model=Linear())


def test_a_model_without_an_encoder_says_so():
    with pytest.raises(ArtifactError, match="trained on encoded rows"):
        an_artifact().require_encoder()

"""MovieLens-100K for the demo: 100,000 ratings of 1,682 films by 943 people, with data about both.

The ratings were collected by the GroupLens research group at the University of Minnesota (Harper and Konstan, "The
MovieLens Datasets", ACM TiiS 2015). The package recbole on PyPI contains them among its examples; its wheel is
downloaded and read as a zip file, and nothing of it is installed or run.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anyfm.core.errors import InputError, located

WHEEL = "recbole-1.2.1-py3-none-any.whl"
WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
CREDIT = (
    "MovieLens-100K, by GroupLens research, University of Minnesota, for non-commercial use; "
    "packaged by RecBole, whose wheel is read and not installed"
)
LIKED = 4  # stars from which a film counts as liked
COLUMNS = ("user", "film", "age", "gender", "occupation", "release_year", "genres", "hour", "liked")
FIELDS: Mapping[str, Any] = {
    "user": "categorical",
    "film": "categorical",
    "hour": "categorical",
    "genres": {"kind": "tags", "separator": "|"},
}
"""The kinds of columns whose inferred kind is wrong, for the `fields` of training."""
_FOLDER = "recbole/dataset_example/ml-100k/ml-100k."
_DOWNLOAD_SECONDS = 60


def cache_directory() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/anyfm, or ~/.cache/anyfm."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "anyfm"


def download(directory: Path) -> Path:
    """Download the wheel into `directory`, unless it is there already, and return its path.

    Raises
    ------
    InputError
        There is no network, no pip, or the file is not the expected one.
    """
    wheel = directory / WHEEL
    if not wheel.is_file():
        directory.mkdir(parents=True, exist_ok=True)
        name, version = WHEEL.split("-")[:2]
        options = ["--no-deps", "--disable-pip-version-check", "--quiet", "--retries", "1", "--timeout", "10"]
        command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(directory), f"{name}=={version}"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(f"{WHEEL} cannot be downloaded: {error}") from None
        if done.returncode != 0 or not wheel.is_file():
            last = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise InputError(f"{WHEEL} cannot be downloaded: {last}")
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != WHEEL_SHA256:
        raise InputError(
            located("the file is not the one expected", file=str(wheel), remedy="Delete it and try again.")
        )
    return wheel


def read_ratings(wheel: Path) -> dict[str, list[Any]]:
    """One row per rating with what was known at the time, and whether the film was liked.

    Columns: user, film (title and year), age, gender, occupation, release_year, genres
    (separated by "|"), hour (of the day, in UTC) and liked (1 for four or five stars, else 0). Numbers are integers;
    an unknown year is None.
    """
    with zipfile.ZipFile(wheel) as files:
        ratings = _atomic_file(files, "inter")
        people = {row["user_id"]: row for row in _atomic_file(files, "user")}
        films = {row["item_id"]: row for row in _atomic_file(files, "item")}
    columns: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    for rating in ratings:
        person, film = people[rating["user_id"]], films[rating["item_id"]]
        year = film["release_year"]
        row = (
            int(rating["user_id"]),
            f"{film['movie_title']} ({year})",
            int(person["age"]),
            person["gender"],
            person["occupation"],
            int(year) if year.isdigit() else None,
            film["class"].replace(" ", "|"),
            int(float(rating["timestamp"])) // 3600 % 24,
            int(float(rating["rating"]) >= LIKED),
        )
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns


def _atomic_file(files: zipfile.ZipFile, ending: str) -> list[dict[str, str]]:
    """Rows of one of RecBole's tab-separated files, whose header says ``name:type``."""
    lines = files.read(_FOLDER + ending).decode("utf-8").splitlines()
    names = [name.partition(":")[0] for name in lines[0].split("\t")]
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines[1:]]

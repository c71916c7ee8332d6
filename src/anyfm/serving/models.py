"""The models of a server: loaded, versioned, and loaded again when their directory is replaced."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anyfm.artifact import identity, is_artifact, load_artifact
from anyfm.core.errors import AnyfmError, SettingError, got, nearest_name
from anyfm.model import Model, load
from anyfm.serving.options import ServeOptions, named_paths

if TYPE_CHECKING:
    from anyfm.ranking.items import Items

logger = logging.getLogger(__name__)


class UnknownModelError(AnyfmError, KeyError):
    """There is no model, or no version, of this name."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, eq=False)
class Served:
    """One version of a model, ready to score."""

    name: str
    version: str
    model: Model
    items: Items | None


@dataclass
class _Source:
    """Where a version of a model lies, and what was last loaded from there."""

    name: str
    version: str
    directory: Path
    items: Path | None
    identity: object = None
    served: Served | None = None


class Registry:
    """The models by name and version. Created with all models loaded.

    Parameters
    ----------
    options : ServeOptions

    Raises
    ------
    AnyfmError
        A model or a table of items cannot be loaded.
    """

    def __init__(self, options: ServeOptions) -> None:
        self._key = options.key
        self._directories = named_paths(options.models)
        self._items = self._items_of(options)
        self._sources: dict[tuple[str, str], _Source] = {}
        self.n_reloads = 0
        self.n_failed_reloads = 0
        found = self._found()
        for name, directory in self._directories.items():
            if all(model != name for model, _ in found):
                load_artifact(directory)  # says why it is no model
        for place, source in found.items():
            self._load(source)
            self._sources[place] = source

    def _items_of(self, options: ServeOptions) -> dict[str, Path]:
        if len(self._directories) == 1 and all("=" not in text for text in options.items):
            if len(options.items) > 1:
                raise SettingError(got("a model ranks one table of items", items=options.items))
            return dict.fromkeys(self._directories, Path(options.items[0])) if options.items else {}
        found = named_paths(options.items)
        for name in found:
            if name not in self._directories:
                raise SettingError(got("items must be given as NAME=FILE with the name of a model", name=name))
        return found

    @property
    def names(self) -> list[str]:
        return list(self._directories)

    def versions(self, name: str) -> list[str]:
        """The versions of a model, oldest first."""
        loaded = (
            version for (model, version), source in list(self._sources.items()) if model == name and source.served
        )
        return sorted(loaded, key=_natural)

    def all(self) -> list[Served]:
        return [source.served for source in list(self._sources.values()) if source.served is not None]

    def get(self, name: str | None = None, version: str | None = None) -> Served:
        """A version of a model, by default the newest; without a name, the only model there is.

        Raises
        ------
        UnknownModelError
        """
        names = ", ".join(self.names)
        if name is None:
            if len(self._directories) > 1:
                raise UnknownModelError(f"there are several models, so a request must name one of them: {names}")
            name = self.names[0]
        elif name not in self._directories:
            near = nearest_name(name, self.names)
            hint = f" Did you mean {near!r}?" if near else ""
            raise UnknownModelError(f"there is no model {name[:80]!r}, only {names}.{hint}")
        versions = self.versions(name)
        source = self._sources.get((name, versions[-1] if version is None else version))
        if source is None or source.served is None:
            raise UnknownModelError(
                f"the model {name!r} has the versions {', '.join(versions)}, not {str(version)[:80]!r}"
            )
        return source.served

    # --- loading

    def _found(self) -> dict[tuple[str, str], _Source]:
        """What lies in the directories now."""
        found = {}
        for name, directory in self._directories.items():
            parts = {"1": directory} if is_artifact(directory) else {}
            if not parts and directory.is_dir():
                parts = {each.name: each for each in directory.iterdir() if each.name[0] != "." and is_artifact(each)}
            for version, path in parts.items():
                found[name, version] = _Source(name, version, path, self._items.get(name))
        return found

    def _load(self, source: _Source) -> None:
        source.identity = _identity(source)
        model = load(source.directory, n_threads=1)
        encoder = model.artifact.require_encoder()
        items = None if source.items is None else model.items(source.items, key=str(self._key))
        missing = dict.fromkeys(encoder.columns)
        model.predict([missing])  # builds what the first request would wait for
        model.explain([missing])
        if items is not None:
            model.recommend(missing, items, k=1)
        source.served = Served(source.name, source.version, model, items)

    def _refresh(self) -> None:
        """Load what is new or was replaced; what cannot be loaded stays as it was."""
        found = self._found()
        for place, fresh in found.items():
            source = self._sources.setdefault(place, fresh)
            if source.identity == _identity(source):
                continue
            is_new = source.served is None
            of_model = {"model": source.name, "version": source.version}
            try:
                self._load(source)
            except (AnyfmError, OSError, MemoryError) as error:
                self.n_failed_reloads += 1
                problem = "a model could not be loaded; what was loaded before stays"
                logger.error(problem, extra={**of_model, "error": str(error)})
                continue
            self.n_reloads += not is_new
            logger.info("model loaded", extra=of_model)
        present = {name for name, _ in found}
        for name, version in self._sources.keys() - found.keys():
            if name in present:  # otherwise all is gone, perhaps for a moment
                del self._sources[name, version]
                logger.info("version withdrawn", extra={"model": name, "version": version})

    async def watch(self, seconds: float) -> None:
        """Look for replaced models until cancelled. Loading happens in a thread, and requests go on meanwhile."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(self._refresh)
            except Exception:
                logger.exception("looking for replaced models failed")


def _identity(source: _Source) -> object:
    """What changes when a model, or its table of items, is replaced."""
    items: object = None
    if source.items is not None:
        try:
            state = source.items.stat()
            items = (state.st_dev, state.st_ino, state.st_mtime_ns, state.st_size)
        except OSError:
            pass
    return identity(source.directory), items


def _natural(version: str) -> list[tuple[int, int, str]]:
    """Sorts "2" before "10"."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.findall(r"\d+|\D+", version)]


def value_types(served: Served) -> Mapping[str, str]:
    """What each column of the model holds; see `anyfm.data.encoder.Encoder.value_types`."""
    return served.model.artifact.require_encoder().value_types

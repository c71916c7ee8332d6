"""The models by name. Packages add models by `register`, or by the entry-point group ``anyfm.models``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import TypeVar

from anyfm.core.errors import SettingError, got
from anyfm.core.settings import unknown_name
from anyfm.models.afm import AFM
from anyfm.models.base import BaseModel
from anyfm.models.deepfm import DeepFM
from anyfm.models.ffm import FFM
from anyfm.models.fm import FM
from anyfm.models.fwfm import FwFM
from anyfm.models.linear import Linear

ENTRY_POINTS = "anyfm.models"
M = TypeVar("M", bound=type[BaseModel])


class Registry(Mapping[str, type[BaseModel]]):
    """Model classes by name, in the order of their registration.

    Entry points are loaded when an unknown name is asked for, or when the models are listed.
    """

    def __init__(self, *models: type[BaseModel]) -> None:
        self._models = {model.name: model for model in models}
        self._loaded = False

    def register(self, model: M) -> M:
        """Add a model class; usable as a decorator.

        Raises
        ------
        SettingError
            Another model has this name.
        """
        known = self._models.setdefault(model.name, model)
        if known is not model:
            raise SettingError(got("a model's name must not be taken", name=model.name, taken_by=known.__qualname__))
        return model

    def __getitem__(self, name: str) -> type[BaseModel]:
        if name not in self._models:
            self._load()
        if name not in self._models:
            raise UnknownModelError(unknown_name(str(name), self._models, what="model"))
        return self._models[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._models:
            self._load()
        return name in self._models

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(self._models)

    def __len__(self) -> int:
        self._load()
        return len(self._models)

    def _load(self) -> None:
        if not self._loaded:
            self._loaded = True
            for point in entry_points(group=ENTRY_POINTS):
                self.register(point.load())


class UnknownModelError(SettingError, KeyError):
    """No model has this name."""

    def __str__(self) -> str:  # KeyError shows the repr
        return str(self.args[0])


MODELS = Registry(Linear, FM, FwFM, FFM, AFM, DeepFM)
register = MODELS.register

"""The models: what each one computes, written once as mathematics."""

from __future__ import annotations

from anyfm.models.afm import AFM, AFMSettings
from anyfm.models.base import BaseModel, Batch, ModelSettings, ParameterSpec, gather, specification_logits
from anyfm.models.deepfm import DeepFM, DeepFMSettings
from anyfm.models.ffm import FFM, FFMSettings
from anyfm.models.fm import FM, FMSettings
from anyfm.models.linear import Linear, LinearSettings

MODELS: dict[str, type[BaseModel]] = {"linear": Linear, "fm": FM, "ffm": FFM, "afm": AFM, "deepfm": DeepFM}

__all__ = [
    "AFM",
    "FFM",
    "FM",
    "MODELS",
    "AFMSettings",
    "BaseModel",
    "Batch",
    "DeepFM",
    "DeepFMSettings",
    "FFMSettings",
    "FMSettings",
    "Linear",
    "LinearSettings",
    "ModelSettings",
    "ParameterSpec",
    "gather",
    "specification_logits",
]

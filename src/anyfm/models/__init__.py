"""The models: what each one computes and how it is trained, declared once."""

from __future__ import annotations

from anyfm.models.afm import AFM, AFMSettings
from anyfm.models.base import BaseModel, FactorSettings, ModelSettings, specification_logits
from anyfm.models.batch import Batch, gather
from anyfm.models.deepfm import DeepFM, DeepFMSettings
from anyfm.models.ffm import FFM, FFMSettings
from anyfm.models.fm import FM, FMSettings
from anyfm.models.linear import Linear, LinearSettings
from anyfm.models.parameters import ParameterSpec
from anyfm.models.registry import MODELS, register

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
    "FactorSettings",
    "Linear",
    "LinearSettings",
    "ModelSettings",
    "ParameterSpec",
    "gather",
    "register",
    "specification_logits",
]

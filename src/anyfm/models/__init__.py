"""The models: what each one computes, written once as mathematics."""

from __future__ import annotations

from anyfm.models.afm import AFM, AFMConfig
from anyfm.models.base import Gathered, Model, ModelConfig, ParameterSpec, gather, specification_logits
from anyfm.models.deepfm import DeepFM, DeepFMConfig
from anyfm.models.ffm import FFM, FFMConfig
from anyfm.models.fm import FM, FMConfig
from anyfm.models.linear import Linear, LinearConfig

MODELS: dict[str, type[Model]] = {"linear": Linear, "fm": FM, "ffm": FFM, "afm": AFM, "deepfm": DeepFM}

__all__ = [
    "AFM",
    "FFM",
    "FM",
    "MODELS",
    "AFMConfig",
    "DeepFM",
    "DeepFMConfig",
    "FFMConfig",
    "FMConfig",
    "Gathered",
    "Linear",
    "LinearConfig",
    "Model",
    "ModelConfig",
    "ParameterSpec",
    "gather",
    "specification_logits",
]

"""anyfm: linear, FM, FFM, AFM and DeepFM models for clicks and ratings, from a raw table to a served model."""

from __future__ import annotations

__version__ = "0.1.0"

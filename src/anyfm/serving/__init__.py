"""Saved models behind HTTP: the Open Inference Protocol, predictions, rankings and explanations of raw rows."""

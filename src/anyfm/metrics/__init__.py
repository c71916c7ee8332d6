"""Metrics of predictions, by row and by group; calibration."""

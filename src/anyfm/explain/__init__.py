"""Explanations of trained models: contributions of one row, strengths over a table, similar values."""

"""Rows, settings, errors and files: what every other package builds on."""

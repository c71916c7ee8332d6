"""Ranking: the best of many items for a context."""

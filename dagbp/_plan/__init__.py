"""Topological order and edge order."""

"""Numba only: nothing here knows a graph, a label or an option; every index arrives checked."""

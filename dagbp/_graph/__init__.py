"""The graph as the user gave it, checked, as arrays in the user's own numbering.

`arrays` holds the record `GraphArrays`; `from_networkx` and `from_edges` make it, with `ports` for
inputs and outputs. `builders`, `layers` and `random_graphs` draw graphs as NetworkX graphs. May
import `_errors`, `_checks` and `_memory`.
"""

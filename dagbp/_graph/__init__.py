"""The graph as the user gave it, checked, as arrays in the user's own numbering.

`arrays` holds the record `GraphArrays`; `from_networkx` and `from_edges` make it, with `ports` for
inputs and outputs. `builders`, `layers` and `random_graphs` generate NetworkX graphs. May import
the base modules: `_errors`, `_checks`, `_locks`, `_memory`, `_machine`, `_user_functions`.
"""

"""Checks of the user's arrays: samples, targets and weights.

`problem` calls `features`, and both call `arrays`. The result is a `Problem`, which the engine
takes. Nothing is compiled here. May import `activations`, `losses`, `_plan`, `_graph` and the base
modules.
"""

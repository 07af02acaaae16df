"""Sums over edges: sparse, in dense panels, by source blocks, and rows that mix these.

Another aggregation of a node's in-edges, such as a product or a maximum, is a new module here. It
also needs a node attribute in `_graph.arrays`; that attribute in the row class (`_plan.from_graph`,
`_plan.row_class`); calls in `passes.net` and `passes.single_sample`; and a field in `NetFrame`,
which `_engine.packing` fills. `_layout` must leave its rows sparse, as explicit zeros, panels and
source blocks hold for sums only.

The modules import `_compiler`, `_machine`, `vectors`, `frames`, `signatures` and each other;
`mixed` also imports the timer of `passes`. `dense.copy_patches` copies updated weights to the order
of the forward pass.
"""

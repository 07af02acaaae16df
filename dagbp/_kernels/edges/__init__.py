"""Sums over edges: sparse, in dense panels, by source blocks, and rows that mix these.

Another aggregation of a node's in-edges (a product, a maximum) is a module here, called by
`passes.net`. The modules import `_kernels.vectors`, `frames` and `signatures`; `mixed` also the
timer in `passes`. `dense.copy_patches` copies updated weights to the order of the forward pass.
"""

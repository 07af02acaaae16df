"""Sums over edges: sparse, in dense panels, by source blocks, and rows that mix these.

To add another aggregation of a node's in-edges, such as a product or a maximum, add a module here
that `passes.net` calls. The modules import `_kernels.vectors`, `frames` and `signatures`; `mixed`
also the timer in `passes`. `dense.copy_patches` copies updated weights to the order of the forward
pass.
"""

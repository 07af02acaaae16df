"""The layout: a plan as the CPU kernels read it, for one dtype and processor.

`layout` makes it in order: `fill` (explicit zeros), `panels`, `source_blocks`, `segments`.
`refresh` copies weights between the orders of edges. May import `_plan`, `_machine`, the constants
of `_kernels.frames`, and what `_plan` may.
"""

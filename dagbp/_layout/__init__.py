"""The layout: a plan as the CPU kernels read it, for one dtype and processor.

`layout` makes it in order: `fill` (explicit zeros), `panels`, `source_blocks`, `segments`.
`refresh` copies weights between the orders of edges. The order of rows stays that of the plan;
`fill` adds slots to the order of edges. May import `_plan`, `_compiler`, `_kernels` and the base
modules.
"""

"""The plan: topological order and both orders of the edges, as integer arrays.

`plan` makes it with `edge_order` (counting sorts) and `paths` (Kahn's algorithm); `clustering`
reorders rows; `from_graph` does all for a graph; `names` finds rows and slots of labels. Nothing
here depends on a processor or a dtype. May import `_graph`, `_compiler` and the base
modules.
"""

"""The kernels: functions that Numba compiles, and the frames of addresses that they receive.

`vectors` has rows of tiles as LLVM vectors, `formulas` one row or one parameter at a time, `edges`
the sums along edges, `passes` a net, a group of tiles, a training step. `frames` states what they
receive, `signatures` the kernels that are called by address. No kernel checks bounds, and none
holds a graph, a weight or a user's function. May import the compiler, `_machine`, and nothing of
graphs or networks.
"""

"""The engine: one network's parameters and buffers, and the calls that run kernels over batches.

`protocol.Engine` states the calls. `engine.CpuEngine` implements them with compiled kernels;
`operations` is the table of its calls. A second engine would be a module beside it. An engine takes
and returns records and arrays; addresses of compiled code stay inside.

In Python only `parameters` writes weights and biases. Other modules call its methods, under the
engine's lock. During `train` these kernels write them: `formulas.update`, `formulas.regularise`,
and the copies in `passes.net` and `edges.dense`.

May import `_compiler`, `_kernels`, `_plan`, `_layout`, `_data`, the public records (activations,
losses, optimizers) and the base modules.
"""

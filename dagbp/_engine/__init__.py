"""The engine: one network's parameters and buffers, and the calls that run kernels over batches.

`protocol.Engine` states the calls. `engine.CpuEngine` implements them with compiled kernels;
`operations` is the table of its calls. A second engine would be a module beside it. An engine takes
and returns records and arrays; addresses of compiled code stay inside. May import everything below
it: the compiler, kernels, plan, layout, data, and the public records of activations, losses and
optimizers.
"""

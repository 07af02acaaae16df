"""The engine: one network's parameters and buffers, and the calls that run kernels over batches.

`protocol.Engine` states the calls; `engine.CpuEngine` is the implementation, by the table in
`operations`. It takes and returns
records and arrays; addresses of compiled code stay inside. May import everything below it:
the compiler, kernels, plan, layout, data, and the public records of activations, losses and
optimizers.
"""

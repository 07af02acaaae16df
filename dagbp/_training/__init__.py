"""Training runs: minibatches or streams of batches by an optimizer, or SciPy's solvers.

`Run` owns the clock and the loop. In each round it sets where the kernels return to Python and the
learning rates up to there (`rates`), asks its source for data (`Source.next`: `Minibatches` or
`Batches`), lets the engine take the steps (`engine.train`), and calls the callbacks (`Listeners`).
Sources do not depend on the run or the engine; callbacks get a `Progress`. `solve` runs a SciPy
solver with the same `Listeners`. For arrays, the kernel `passes.entry_points` shuffles samples and
cuts batches. For streams, a thread of `Batches` fetches them.

Ctrl-C ends a run after the step in progress. `Run` keeps the history and the state for
`resume=True`, and raises KeyboardInterrupt again. A solver keeps its last iterate, but no state.

May import `_model`, `_engine`, `_data`, `_plan`, `_graph`, `_history`, `callbacks`, the public
records and the base modules. `_network` calls this package.
"""

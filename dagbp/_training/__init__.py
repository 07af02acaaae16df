"""Training runs: minibatches or streams of batches by an optimizer, or SciPy's solvers.

`Run` owns the clock and the loop. In each round it sets where the kernels return to Python and the
learning rates up to there (`rates`), asks its source for data (`Source.next`: `Minibatches` or
`Batches`), lets the engine take the steps (`engine.train`), and calls the callbacks (`Listeners`).
Sources know neither the run nor the engine; callbacks see only a `Progress`. `solve` runs a SciPy
solver with the same `Listeners`.

May import `_model` and all packages below it, except `_kernels` and `_compiler`. The facade
(`_network`) calls this package.
"""

"""One module a suite, each with a function ``main(arguments)``."""

# The README lists the suites in this order.
SUITES = {
    "layers": "layers, from sparse to dense, and the density at which dense libraries win",
    "dags": "arbitrary DAGs: first step cold and warm, then steady; `--large`: a million neurons",
    "choices": "time of a step with dagbp's own choices of layout and tiles over the best ones",
    "blocks": "gain of dense blocks, for several orders of the nodes",
    "scaling": "time of a step by edges, batch, depth and threads",
    "latency": "one sample: forward and gradient, with the Python call",
    "startup": "import, first network and fit, a million edges",
    "limits": "limits of the machine: arithmetic, memory, row updates",
    "activations": "cost of activations relative to relu",
    "estimators": "DAGClassifier and DAGRegressor beside scikit-learn's MLPs",
    "compilers": "the fast and the plain compiler: first step cold and warm, steady steps",
    "compare": "two source trees of dagbp in turns: ratio of times, and whether results are equal",
}

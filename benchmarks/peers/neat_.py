"""neat-python: networks as lists of nodes in plain Python. It has no gradient, since it evolves."""

from neat.activations import identity_activation, relu_activation
from neat.nn import FeedForwardNetwork

from .bases.levels import make_levels


class NeatPython:
    """`neat.nn.FeedForwardNetwork`, one sample at a time; forward only."""

    name = "neat-python (forward only)"
    package = "neat-python"
    forward_only = True

    def __init__(self, case, parameters, threads):
        levels = make_levels(case)
        w, b = (a.tolist() for a in levels.from_case(case, parameters))
        ptr, source, n_inputs = levels.in_ptr.tolist(), levels.in_src.tolist(), levels.n_inputs
        outputs = levels.outputs.tolist()
        is_output = set(outputs)
        evaluations = []
        for j in range(n_inputs, levels.n_nodes):
            slots = slice(ptr[j], ptr[j + 1])
            links = list(zip(source[slots], w[slots], strict=True))
            theta = identity_activation if j in is_output else relu_activation
            evaluations.append((j, theta, sum, b[j - n_inputs], 1.0, links))
        self.network = FeedForwardNetwork(list(range(n_inputs)), outputs, evaluations)

    def set_batch(self, X, Y):
        """Store the features."""
        self.X = X

    def step(self):
        """Run the batch forward; neat-python has no backward pass."""
        self.predict(self.X)

    def predict(self, X):
        """Return the outputs, a list for each sample."""
        return [self.network.activate(features) for features in X.tolist()]

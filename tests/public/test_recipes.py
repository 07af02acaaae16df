"""The recipes of CONTRIBUTING: a new activation, loss and optimizer in a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

ACTIVATION = '''

@activation(init="lecun")
def cube(s):
    """theta(s) = s^3."""
    return s * s * s


@cube.slope
def cube_slope(s, x):
    """theta'(s) = 3 s^2."""
    return 3 * s * s
'''

LOSS = '''

@elementwise(scale=(0.5, POSITIVE))
def quartic(x, y, hyper):
    """Error: sum of h (x - y)^4, h = 1/2.

    de/dx = 4 h (x - y)^3, h = hyper[0], the scale.
    """
    r = x - y
    return hyper[0] * (r * r) * (r * r), 4 * hyper[0] * r * (r * r)
'''

RULE = '''

@update_rule("fraction", slots=1)
def creep(p, g, state, hyper, n, stride, step):
    """In place: v <- g; p -= f a v."""
    a, f = as_element(p, hyper[0]), as_element(p, hyper[2])
    for i in range(n):
        state[i] = g[i]
        p[i] -= f * a * state[i]
'''

RECORD = '''
@dataclass(frozen=True, kw_only=True)
class Creep(Optimizer):
    """A fraction of each step."""

    _rule = update.creep
    learning_rate: float = 0.25
    fraction: float = _hyper(0.5, _DECAY_RATE)


# In the order of their definition'''

USE = """
import numpy as np
import pytest

import dagbp
from dagbp import OptionError, activations, losses, optimizers
from dagbp.testing import gradcheck

# Each is in its registry, and in the tables of the documentation.
assert (activations.get("cube").init, activations.get("cube").reads_signal) == ("lecun", True)
assert "\\ncube         s^3 " in activations.__doc__
assert " 3 s^2 " in activations.__doc__
assert losses.get("quartic").hyper == (0.5,)
assert "\\nquartic " in losses.__doc__
assert optimizers.get("creep").hyper().tolist() == [0.25, 0.0, 0.5]

# The engine runs them: gradient and loss are right.
assert activations.get("cube")([2.0]).tolist() == [8.0]
assert activations.get("cube").slope([2.0]).tolist() == [12.0]
net = dagbp.compile(dagbp.layered([2, 3, 1], activation="cube", seed=0), dtype="float64", seed=0)
X, Y = np.array([[0.5, 1.0], [-1.0, 0.25]]), np.array([[1.0], [-0.5]])
assert gradcheck(net, X, Y, "quartic")
expected = 2.0 * np.mean((net.predict(X) - Y) ** 4)
assert abs(net.evaluate(X, Y, losses.Loss("quartic", (2.0,))) - expected) < 1e-12
value, gradient = net.loss_and_gradient(X, Y, "quartic")
before = net.parameters
net.fit(X, Y, loss="quartic", optimizer="creep", epochs=1, verbose=0)
assert np.allclose(net.parameters, before - 0.125 * gradient, rtol=1e-12)

# Their hyper-parameters are checked.
with pytest.raises(OptionError, match="\'quartic\': scale must be a finite number > 0, got 0"):
    net.evaluate(X, Y, losses.Loss("quartic", (0,)))
with pytest.raises(OptionError, match=r"Creep: fraction must be a number in \\[0, 1\\), got 2"):
    optimizers.Creep(fraction=2)

# The tables of the tests are not complete without an oracle for them.
import test_activations
import test_losses
import test_optimizers

with pytest.raises(AssertionError):
    test_activations.test_the_table_of_this_file_is_complete()
with pytest.raises(AssertionError):
    test_losses.test_the_table_of_this_file_is_complete()
with pytest.raises(AssertionError):
    test_optimizers.test_the_table_of_this_file_is_complete()
"""


def test_a_new_activation_loss_and_optimizer(tmp_path):
    """One place for an activation, one for a loss, two for an optimizer: kernel and record."""
    shutil.copytree(ROOT / "dagbp", tmp_path / "dagbp")
    formulas = tmp_path / "dagbp/_kernels/formulas"
    for name, text in ("activation", ACTIVATION), ("loss", LOSS), ("update", RULE):
        with (formulas / f"{name}.py").open("a") as file:
            file.write(text)
    records = tmp_path / "dagbp/optimizers.py"
    text = records.read_text()
    assert text.count("\n# In the order of their definition") == 1
    records.write_text(text.replace("\n# In the order of their definition", RECORD))
    path = [tmp_path, ROOT / "tests/public", ROOT / "tests/support"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "NUMBA_CACHE_DIR": str(tmp_path / "cache"),
    }
    done = subprocess.run(
        [sys.executable, "-c", USE], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr

"""A Hypothesis profile for compiled code, and room for more threads than the machine has cores."""

import pytest
from hypothesis import HealthCheck, settings

# A first example may compile, and CI's cores are shared: time per example says nothing.
settings.register_profile(
    "dagbp", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile("dagbp")


@pytest.fixture(autouse=True, scope="session")
def many_cores():
    """Let tests ask for more threads than a small machine has cores."""
    from dagbp import _network
    from dagbp._engine import workers as _team
    from dagbp._model import snapshot as _saved

    with pytest.MonkeyPatch.context() as patch:
        for module in (_network, _saved):
            patch.setattr(module, "available_cores", lambda: max(64, _team.available_cores()))
        yield

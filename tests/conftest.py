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
    from dagbp._engine.workers import available_cores
    from dagbp._model import model

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "available_cores", lambda: max(64, available_cores()))
        yield

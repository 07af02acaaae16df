"""A Hypothesis profile for compiled code, threads beyond the cores, no registration that stays."""

import pytest
from hypothesis import HealthCheck, settings

import dagbp

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


@pytest.fixture(autouse=True)
def no_registrations_stay():
    """Remove the activations and losses that a test registers."""
    registries = dagbp.activations.registry, dagbp.losses.registry
    before = [set(registry.names()) for registry in registries]
    yield
    for registry, names in zip(registries, before, strict=True):
        for name in set(registry.names()) - names:
            registry.remove(name)

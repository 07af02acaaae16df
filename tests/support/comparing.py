"""Comparisons of results with the oracle's, relative to the largest number."""

import naive
import numpy as np


def assert_near(found, expected, tolerance):
    """Assert equality to `tolerance` of the largest of the expected numbers, or of one."""
    expected = np.asarray(expected, np.float64)
    found = np.asarray(found, np.float64)
    assert found.shape == expected.shape
    scale = max(1.0, np.abs(expected).max(initial=0.0))
    worst = np.abs(found - expected).max(initial=0.0)
    assert worst <= tolerance * scale, f"off by {worst:.3g} at a scale of {scale:.3g}"


def assert_same_by_name(found, expected, tolerance):
    """Assert the same keys and near values in two mappings."""
    assert set(found) == set(expected)
    for key in expected:
        assert_near(found[key], expected[key], tolerance)


def oracle(case, X, Y, loss="squared_error", sample_weight=None):
    """Return the back-propagation of the oracle for a random network and a batch."""
    samples = naive.as_samples(case.inputs, X)
    return naive.backprop(case.G, samples, Y.tolist(), loss, case.outputs, sample_weight)


def assert_same_backprop(found, expected, tolerance):
    """Assert that every number of two back-propagations agrees."""
    assert_near(found.loss, expected.loss, tolerance)
    assert_same_by_name(found.s, expected.s, tolerance)
    assert_same_by_name(found.x, expected.x, tolerance)
    assert_same_by_name(found.delta, expected.delta, tolerance)
    assert_same_by_name(found.grad_weight, expected.grad_weight, tolerance)
    biases = {node: found.grad_bias[node] for node in expected.grad_bias}
    assert_same_by_name(biases, expected.grad_bias, tolerance)

"""Files of the format written by version 0.1.0, before modules and names changed, still load.

`written/0.dagbp` is a network within a run with callbacks. `written/0.json` has the losses and
parameters at the end of the run in that version.
"""

import json
from pathlib import Path

import numpy as np

import dagbp
from dagbp.callbacks import EarlyStopping, ReduceOnPlateau

FOLDER = Path(__file__).parent / "written"


def test_the_network_is_the_same():
    net = dagbp.load(FOLDER / "0.dagbp")
    assert net.inputs[:2] == ["a", ("b", 1)]
    assert (net.n_nodes, net.n_edges, net.n_threads, net.dtype) == (14, 40, 1, np.float64)
    graph = net.to_networkx()
    assert graph.graph == {"title": "of an older version"}
    assert graph.nodes[5]["activation"] == "tanh"
    assert graph.nodes[6]["bias"] is None
    assert graph.nodes[7]["colour"] == ("red", 1)
    assert sum(graph.edges[edge].get("trainable") is False for edge in graph.edges) == 1
    assert (len(net.history.loss), net.history.stopped) == (2, "half")


def test_a_resumed_run_ends_with_the_same_numbers():
    """To rounding: sums over lanes depend on the width of registers."""
    net, expected = (
        dagbp.load(FOLDER / "0.dagbp"),
        json.loads((FOLDER / "0.json").read_text()),
    )
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(30, 3)), rng.normal(size=(30, 2))
    history = net.fit(
        X,
        Y,
        optimizer="adam",
        epochs=6,
        batch_size=8,
        dropout=0.1,
        validation_data=(X, Y),
        callbacks=[EarlyStopping(patience=9), ReduceOnPlateau(patience=2)],
        resume=True,
        seed=2,
        verbose=0,
    )
    np.testing.assert_allclose(history.loss, expected["loss"], rtol=1e-9)
    np.testing.assert_allclose(history.val_loss, expected["val_loss"], rtol=1e-9)
    np.testing.assert_allclose(net.parameters, expected["parameters"], rtol=1e-8, atol=1e-12)

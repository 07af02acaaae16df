r"""The matrix recursion of back-propagation in plain NumPy, for comparison with its formulas.

The notation is that of the lecture on neural networks by Abu-Mostafa, Magdon-Ismail and Lin.

A layered, fully connected network has layers :math:`l = 0, \ldots, L` of :math:`d^{(l)}` nodes.
Layer 0 holds the features. Layer l has a matrix :math:`W^{(l)}` of shape
:math:`(d^{(l-1)} + 1,\; d^{(l)})`; its row 0 holds the biases, which multiply the constant
:math:`x^{(l-1)}_0 = 1`. For one sample with the error :math:`e = \sum (x^{(L)} - y)^2`

.. math::

    s^{(l)} &= (W^{(l)})^T x^{(l-1)}, \qquad x^{(l)} = \theta(s^{(l)})

    \delta^{(L)} &= 2\,(x^{(L)} - y) \odot \theta'(s^{(L)})

    \delta^{(l)} &= [\hat W^{(l+1)} \delta^{(l+1)}] \odot \theta'(s^{(l)})

    \partial e / \partial W^{(l)} &= x^{(l-1)} (\delta^{(l)})^T

where :math:`\hat W` is W without its row 0. Lists run over the layers in order. ``W[0]``, ``s[0]``
and ``delta[0]`` belong to layer 1, ``x[0]`` to layer 0, so ``x[l]`` is :math:`x^{(l)}`. Every
``x[l]`` except the last begins with the constant 1.

The functions ending in ``_batch`` compute the same for all rows of a matrix. This module is for
readers and tests: the library does not use it, and it does not use the library.

Examples
--------
Two features, two hidden nodes, one output:

>>> W = [np.array([[0.1, 0.2], [0.3, 0.4], [-0.5, 0.0]]), np.array([[0.2], [1.0], [-3.0]])]
>>> theta = [THETA["tanh"], THETA["identity"]]
>>> s, x = forward(W, np.array([2.0, 1.0]), theta)
>>> delta = backward(W, s, x, np.array([1.0]), theta)
>>> dW = gradient(x, delta)
>>> [layer.shape for layer in dW]
[(3, 2), (3, 1)]
>>> print(dW[1].ravel().round(4))
[-5.7748 -1.1398 -4.3981]
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import networkx as nx
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
Graph: TypeAlias = "nx.DiGraph[tuple[int, int]]"


class Theta(NamedTuple):
    """An activation and its derivative, both elementwise functions of s."""

    f: Callable[[Array], Array]
    df: Callable[[Array], Array]


def _sigmoid(s: Array) -> Array:
    # The logistic function is (1 + tanh(s / 2)) / 2, which does not overflow.
    return (1 + np.tanh(s / 2)) / 2


#: Activations by name, with the derivatives of a textbook.
THETA: dict[str, Theta] = {
    "identity": Theta(lambda s: s, np.ones_like),
    "tanh": Theta(np.tanh, lambda s: 1 - np.tanh(s) ** 2),
    "sigmoid": Theta(_sigmoid, lambda s: _sigmoid(s) * (1 - _sigmoid(s))),
    "relu": Theta(lambda s: np.where(s > 0, s, 0.0), lambda s: np.where(s > 0, 1.0, 0.0)),
    "softplus": Theta(lambda s: np.logaddexp(0, s), _sigmoid),
    "softsign": Theta(lambda s: s / (1 + abs(s)), lambda s: 1 / (1 + abs(s)) ** 2),
    "sin": Theta(np.sin, np.cos),
    "gaussian": Theta(lambda s: np.exp(-(s**2)), lambda s: -2 * s * np.exp(-(s**2))),
}


# ---------------------------------------------------------------------------- one sample


def forward(
    W: Sequence[Array], x: Array, theta: Sequence[Theta]
) -> tuple[list[Array], list[Array]]:
    r"""Propagate one sample forward.

    .. math:: s^{(l)} = (W^{(l)})^T x^{(l-1)}, \qquad x^{(l)} = \theta(s^{(l)})

    Parameters
    ----------
    W : sequence of arrays (d[l-1] + 1, d[l])
        The weights of layers 1 to L, biases in row 0.
    x : array (d[0],)
        The features, without the leading 1.
    theta : sequence of Theta
        The activation of each layer.

    Returns
    -------
    s : list of arrays (d[l],)
        The signals of layers 1 to L.
    x : list of arrays (1 + d[l],), the last (d[L],)
        The values of layers 0 to L, with the constant 1 in front of all but the last.

    Examples
    --------
    >>> s, x = forward([np.array([[1.0], [2.0]])], np.array([3.0]), [THETA["identity"]])
    >>> s, x
    ([array([7.])], [array([1., 3.]), array([7.])])
    """
    signals, values = [], [x]
    for W_l, theta_l in zip(W, theta, strict=True):
        values[-1] = np.concatenate([[1.0], values[-1]])
        signals.append(W_l.T @ values[-1])
        values.append(theta_l.f(signals[-1]))
    return signals, values


def error(x: Sequence[Array], y: Array) -> float:
    r"""Return :math:`e = \sum (x^{(L)} - y)^2` of one sample.

    Examples
    --------
    >>> error([np.array([1.0, 3.0]), np.array([7.0])], np.array([5.0]))
    4.0
    """
    return float(np.sum((x[-1] - y) ** 2))


def backward(
    W: Sequence[Array], s: Sequence[Array], x: Sequence[Array], y: Array, theta: Sequence[Theta]
) -> list[Array]:
    r"""Propagate one sample's sensitivities :math:`\delta = \partial e/\partial s` backward.

    .. math::

        \delta^{(L)} &= 2\,(x^{(L)} - y) \odot \theta'(s^{(L)})

        \delta^{(l)} &= [\hat W^{(l+1)} \delta^{(l+1)}] \odot \theta'(s^{(l)})

    Parameters
    ----------
    W, theta
        As in `forward`.
    s, x
        The result of `forward`.
    y : array (d[L],)
        The target.

    Returns
    -------
    list of arrays (d[l],)
        The sensitivities of layers 1 to L.

    Examples
    --------
    >>> W, theta = [np.array([[1.0], [2.0]])], [THETA["identity"]]
    >>> s, x = forward(W, np.array([3.0]), theta)
    >>> backward(W, s, x, np.array([5.0]), theta)
    [array([4.])]
    """
    delta = [2 * (x[-1] - y) * theta[-1].df(s[-1])]
    for layer in range(len(W) - 1, 0, -1):
        W_hat = W[layer][1:]  # of layer + 1
        delta.append((W_hat @ delta[-1]) * theta[layer - 1].df(s[layer - 1]))
    return delta[::-1]


def gradient(x: Sequence[Array], delta: Sequence[Array]) -> list[Array]:
    r"""Return one sample's gradient :math:`x^{(l-1)} (\delta^{(l)})^T` of each layer.

    Parameters
    ----------
    x, delta
        The results of `forward` and `backward`.

    Returns
    -------
    list of arrays (d[l-1] + 1, d[l])
        de/dW of layers 1 to L, the biases' in row 0.

    Examples
    --------
    >>> gradient([np.array([1.0, 3.0]), np.array([7.0])], [np.array([4.0])])
    [array([[ 4.],
           [12.]])]
    """
    return [np.outer(x_l, delta_l) for x_l, delta_l in zip(x[:-1], delta, strict=True)]


# ---------------------------------------------------------------------------- a batch
# A sample is a row, so every formula is the transpose of the formula for one sample.


def forward_batch(
    W: Sequence[Array], X: Array, theta: Sequence[Theta]
) -> tuple[list[Array], list[Array]]:
    r"""Propagate a batch forward: `forward` of each row of `X`.

    Parameters
    ----------
    W, theta
        As in `forward`.
    X : array (n_samples, d[0])
        The features, without the leading 1.

    Returns
    -------
    s : list of arrays (n_samples, d[l])
    x : list of arrays (n_samples, 1 + d[l]), the last (n_samples, d[L])

    Examples
    --------
    >>> W, theta = [np.array([[1.0], [2.0]])], [THETA["identity"]]
    >>> s, x = forward_batch(W, np.array([[3.0], [0.0]]), theta)
    >>> x[-1]
    array([[7.],
           [1.]])
    """
    signals, values = [], [X]
    for W_l, theta_l in zip(W, theta, strict=True):
        values[-1] = np.column_stack([np.ones(len(X)), values[-1]])
        signals.append(values[-1] @ W_l)
        values.append(theta_l.f(signals[-1]))
    return signals, values


def error_batch(x: Sequence[Array], Y: Array) -> float:
    """Return the error: the mean over samples of the sum over outputs.

    Examples
    --------
    >>> error_batch([np.array([[7.0], [1.0]])], np.array([[5.0], [1.0]]))
    2.0
    """
    return float(np.mean(np.sum((x[-1] - Y) ** 2, axis=1)))


def backward_batch(
    W: Sequence[Array], s: Sequence[Array], x: Sequence[Array], Y: Array, theta: Sequence[Theta]
) -> list[Array]:
    """Propagate a batch's sensitivities backward: `backward` of each row.

    A row is the sensitivity of the error of one sample. It is not divided by the batch size.

    Parameters
    ----------
    W, theta
        As in `forward`.
    s, x
        The result of `forward_batch`.
    Y : array (n_samples, d[L])
        The targets.

    Returns
    -------
    list of arrays (n_samples, d[l])

    Examples
    --------
    >>> W, theta = [np.array([[1.0], [2.0]])], [THETA["identity"]]
    >>> s, x = forward_batch(W, np.array([[3.0], [0.0]]), theta)
    >>> backward_batch(W, s, x, np.array([[5.0], [1.0]]), theta)
    [array([[4.],
           [0.]])]
    """
    delta = [2 * (x[-1] - Y) * theta[-1].df(s[-1])]
    for layer in range(len(W) - 1, 0, -1):
        W_hat = W[layer][1:]
        delta.append((delta[-1] @ W_hat.T) * theta[layer - 1].df(s[layer - 1]))
    return delta[::-1]


def gradient_batch(x: Sequence[Array], delta: Sequence[Array]) -> list[Array]:
    r"""Return the gradient of `error_batch`: the mean of the samples' gradients.

    .. math:: \frac 1 n \sum_n x_n^{(l-1)} (\delta_n^{(l)})^T

    Parameters
    ----------
    x, delta
        The results of `forward_batch` and `backward_batch`.

    Returns
    -------
    list of arrays (d[l-1] + 1, d[l])

    Examples
    --------
    >>> x = [np.array([[1.0, 3.0], [1.0, 0.0]]), np.array([[7.0], [1.0]])]
    >>> gradient_batch(x, [np.array([[4.0], [0.0]])])
    [array([[2.],
           [6.]])]
    """
    return [x_l.T @ delta_l / len(x_l) for x_l, delta_l in zip(x[:-1], delta, strict=True)]


# ---------------------------------------------------------------------------- to and from a graph


def graph_from_weights(W: Sequence[Array], activation: Sequence[str]) -> Graph:
    """Return the layered network with these weights as a graph.

    Node ``(l, i)`` is node i of layer l, both counted from 0, as in `dagbp.layered`. The lecture's
    node 0 of a layer is the constant 1. Here the attribute ``bias`` replaces it, so the lecture's
    node i of layer l >= 1 is ``(l, i - 1)``.

    Parameters
    ----------
    W : sequence of arrays (d[l-1] + 1, d[l])
        The weights of layers 1 to L, biases in row 0.
    activation : sequence of str
        The name of each layer's activation.

    Returns
    -------
    networkx.DiGraph
        Every node has the attribute ``layer``, every node except inputs also ``activation`` and
        ``bias``, and every edge ``weight``.

    Raises
    ------
    ValueError
        If the number of activations differs from the number of matrices, or a matrix does not have
        one row for the biases and one for each node of the previous layer.

    Examples
    --------
    >>> G = graph_from_weights([np.array([[1.0], [2.0], [3.0]])], ["tanh"])
    >>> G.nodes[1, 0]
    {'layer': 1, 'activation': 'tanh', 'bias': 1.0}
    >>> list(G.edges(data="weight"))
    [((0, 0), (1, 0), 2.0), ((0, 1), (1, 0), 3.0)]
    """
    if len(W) == 0 or len(activation) != len(W):
        raise ValueError(
            f"W has {len(W)} matrices and activation {len(activation)} names; each layer has one"
        )
    for layer, W_l in enumerate(W, start=1):
        rows = None if layer == 1 else 1 + np.shape(W[layer - 2])[1]
        if np.ndim(W_l) != 2 or len(W_l) < 1 or (rows is not None and len(W_l) != rows):
            need = (
                "a row for the biases and one for each feature" if rows is None else f"{rows} rows"
            )
            raise ValueError(
                f"the matrix of layer {layer} must have {need}, got shape {np.shape(W_l)}; row 0 "
                "holds the biases"
            )
    G: Graph = nx.DiGraph()
    G.add_nodes_from(((0, i) for i in range(len(W[0]) - 1)), layer=0)
    for layer, (W_l, name) in enumerate(zip(W, activation, strict=True), start=1):
        for j, (w_0j, *w_j) in enumerate(W_l.T.tolist()):
            G.add_node((layer, j), layer=layer, activation=name, bias=w_0j)
            for i, w_ij in enumerate(w_j):
                G.add_edge((layer - 1, i), (layer, j), weight=w_ij)
    return G


def weights_from_graph(G: Graph) -> list[Array]:
    """Return the weights of a layered network, the inverse of `graph_from_weights`.

    Parameters
    ----------
    G : networkx.DiGraph
        Nodes ``(l, i)``, counted from 0 without gaps, and edges from each layer to the next. The
        weight of a missing edge is 0, and so is a bias that is missing, None or False.

    Returns
    -------
    list of arrays (d[l-1] + 1, d[l])

    Raises
    ------
    ValueError
        If an edge does not join a layer to the next one.

    Examples
    --------
    >>> W = [np.array([[1.0], [2.0], [3.0]])]
    >>> weights_from_graph(graph_from_weights(W, ["tanh"]))
    [array([[1.],
           [2.],
           [3.]])]
    """
    width = Counter(layer for layer, _ in G)
    W = [np.zeros((width[layer - 1] + 1, width[layer])) for layer in range(1, len(width))]
    for (layer, j), attributes in G.nodes(data=True):
        if layer > 0:
            W[layer - 1][0, j] = attributes.get("bias") or 0.0
    for u, v, attributes in G.edges(data=True):
        (before, i), (layer, j) = u, v
        if layer != before + 1:
            raise ValueError(f"edge {u!r} -> {v!r} must join a layer to the next one")
        W[layer - 1][i + 1, j] = attributes["weight"]
    return W

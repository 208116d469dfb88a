"""The networks of RuNNer and n2p2: their settings in ``input.nn``, their weights in ``weights.ZZZ.data``."""

import numpy as np
from ase.data import atomic_numbers

from bpnumba.io.runner_lines import ACTIVATION_LETTERS, connections
from bpnumba.io.text import named, number, read_lines, whole
from bpnumba.network import Network, n_weights, views

__all__ = ["network_of", "resized"]


def network_of(settings, directory, symbol, order):
    """The network of an element, its inputs in the order of ``input.nn``.

    Parameters
    ----------
    settings : Settings
    directory : Path
        Holds ``weights.ZZZ.data``.
    symbol : str
    order : (n_s,)
        Places of the functions in the order of the files, from `file_order`.

    Raises
    ------
    ValueError
        The settings of the network do not fit together, or the weights do not fit them.
    """
    n, readings = _hidden(settings, symbol)
    activations = _activations(settings, symbol, n)
    path = directory / f"weights.{atomic_numbers[symbol]:03d}.data"
    lines = read_lines(path)
    shapes = dict.fromkeys((len(order), *hidden, 1) for hidden in readings)
    fitting = [sizes for sizes in shapes if min(sizes) > 0 and n_weights(sizes) == len(lines)]
    if len(fitting) != 1:
        expected = " or ".join(f"{n_weights(sizes)} for layers {'-'.join(map(str, sizes))}" for sizes in shapes)
        raise ValueError(f"{path}: expected as many weights as input.nn says, {expected}; found {len(lines)}")
    theta, width = np.empty(len(lines)), len(lines[0].words) - 1
    for place, (line, columns) in enumerate(zip(lines, connections(fitting[0]))):
        with named(line.where):
            # one file has the same columns on all lines, all or only the first; biases have fewer
            wanted = [str(column) for column in columns][:width]
            if line.words[1:] != wanted or width > 6:
                raise ValueError(f"expected a weight and then {' '.join(wanted) or 'nothing'}, found {line.words}")
            theta[place] = number(line.words[0])
    network = Network(fitting[0], activations, theta)
    if settings.has("normalize_nodes"):
        for W, b in network.layers:
            b /= len(W)
            W /= len(W)
    # The first layer is permuted from the order of the files to that of the lines in input.nn, and back when a
    # potential is saved.  Numbers are only moved: what was written is read with the same bits, whatever the order.
    W = network.layers[0][0]
    W[order] = W.copy()
    return without_idle(network) if settings.of_element("element_nodes_short", symbol) else network


def resized(network, width):
    """The network with so many neurons in the last hidden layer: new ones have only zeros, others are left out."""
    *sizes, _, output = network.sizes
    theta = np.zeros(n_weights((*sizes, width, output)))
    for (W, b), (W_old, b_old) in zip(views(theta, (*sizes, width, output)), network.layers):
        n_in, n_out = min(len(W), len(W_old)), min(len(b), len(b_old))
        W[:n_in, :n_out], b[:n_out] = W_old[:n_in, :n_out], b_old[:n_out]
    return Network((*sizes, width, output), network.activations, theta)


def without_idle(network):
    """The network without the neurons at the end of its last hidden layer that have only zeros."""
    if len(network.sizes) == 2:
        return network
    (W_in, b_in), (W_out, _) = network.layers[-2:]
    busy = np.flatnonzero(W_in.any(axis=0) | (b_in != 0.0) | W_out.any(axis=1))
    return resized(network, max(1, int(busy[-1]) + 1 if len(busy) else 0))


def _hidden(settings, symbol):
    """Number of hidden layers of an element, and what its numbers of neurons can be: a list of readings.

    n2p2 writes one line with one number per layer, RuNNer one line "layer number" for each layer that differs from the
    others; with two layers a line may mean either.  And n2p2 itself passes over the last number of its line (Mode.cpp,
    setupNeuralNetwork): its weights have the global number there.
    """
    own = settings.of_element("element_hidden_layers_short", symbol)
    for line in [settings.one("global_hidden_layers_short"), *own]:
        with named(line.where):
            if len(line.words) != 1 or len(own) > 1:
                raise ValueError("expected one number of hidden layers, once")
            n = whole(line.words[0])
    lines, everybody = settings.of_element("element_nodes_short", symbol), []
    if "global_nodes_short" in settings.lines or not lines:
        line = settings.one("global_nodes_short")
        with named(line.where):
            everybody = [whole(word) for word in line.words]
            if not lines and len(everybody) != n:
                raise ValueError(f"expected {n} numbers of neurons, one per hidden layer, found {len(everybody)}")
    if not lines:
        return n, [tuple(everybody)]
    with named(lines[0].where):
        found = [[whole(word) for word in line.words] for line in lines]
        readings = [tuple(found[0])] if len(found) == 1 and len(found[0]) == n else []
        if all(len(numbers) == 2 for numbers in found):
            nodes = dict(enumerate(everybody, 1)) | dict(found)
            if len(dict(found)) == len(found) and {layer for layer, _ in found} <= set(range(1, n + 1)) <= set(nodes):
                readings.append(tuple(nodes[layer] for layer in range(1, n + 1)))
        if not readings:
            raise ValueError(f"expected {n} numbers of neurons, one per hidden layer, or lines 'layer number'")
    if len(found) == 1 and 0 < n == len(found[0]) == len(everybody):
        readings.append((*found[0][:-1], everybody[-1]))
    return n, readings


def _activations(settings, symbol, n):
    """Names of the activation functions of n hidden layers and the output."""
    everybody = settings.one("global_activation_short")
    lines = settings.of_element("element_activation_short", symbol) or [everybody]
    with named(lines[-1].where):
        letters = lines[-1].words
        if len(lines) > 1 or not set(letters) <= set(ACTIVATION_LETTERS) or len(letters) != n + 1:
            raise ValueError(
                f"expected {n + 1} letters of activation functions ({' '.join(ACTIVATION_LETTERS)}), one per hidden "
                f"layer and one for the output, the same for all neurons of a layer; found {' '.join(letters)!r}"
            )
    with named(everybody.where):
        output = " ".join(everybody.words[-1:])  # n2p2 takes that of all elements from the global line
        if output not in ACTIVATION_LETTERS:
            raise ValueError(f"expected the letter of an activation function as last word, found {output!r}")
    return tuple(ACTIVATION_LETTERS[letter] for letter in (*letters[:n], output))

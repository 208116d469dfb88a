"""A potential as files of n2p2: ``input.nn``, ``scaling.data``, ``weights.ZZZ.data``.

Comes in: a `Potential`.  Goes out: a folder that n2p2 and `bpnumba.io.runner` read, or an error that names what the
format cannot express.  All numbers keep all their digits.
"""

import warnings
from pathlib import Path

import numpy as np

from bpnumba.functions import WITHOUT_ALPHA
from bpnumba.io.runner_lines import (
    ACTIVATION_LETTERS,
    CUTOFF_TYPES,
    NUMBERS,
    connections,
    file_order,
    function_words,
    with_unit,
)
from bpnumba.io.runner_networks import resized
from bpnumba.io.text import write_lines
from bpnumba.kernels.table import is_compact
from bpnumba.network import views
from bpnumba.units import NAMES, of_files

__all__ = ["save"]

RULE = "#" * 80
SCALING_HEADER = f"""{RULE}
# Symmetry function scaling data.
{RULE}
# Col  Name     Description
{RULE}
# 1    e_index  Element index.
# 2    sf_index Symmetry function index.
# 3    sf_min   Symmetry function minimum.
# 4    sf_max   Symmetry function maximum.
# 5    sf_mean  Symmetry function mean.
# 6    sf_sigma Symmetry function sigma.
{RULE}"""
WEIGHTS_HEADER = f"""{RULE}
# Neural network connection values (weights and biases).
{RULE}
# Col  Name       Description
{RULE}
# 1    connection Neural network connection value.
# 2    t          Connection type (a = weight, b = bias).
# 3    index      Index enumerating weights.
# 4    l_s        Starting point layer (end point layer for biases).
# 5    n_s        Starting point neuron in starting layer (end point neuron for biases).
# 6    l_e        End point layer.
# 7    n_e        End point neuron in end layer.
{RULE}"""


def save(potential, directory, units="atomic"):
    """Write the files of a potential; see `bpnumba.potential.Potential.save_runner`."""
    length, energy = of_files(units)
    directory = Path(directory)
    _check(potential, directory)
    rows = with_unit(potential.symmetry_functions.functions, 1.0 / length)
    files, scaling_lines, numbers = {}, [], potential.symmetry_functions.numbers
    networks = _networks(potential, directory)
    for e, (z, scaling, network) in enumerate(zip(numbers, potential.scalings, networks), 1):
        order = file_order(rows[rows["center"] == z])
        scaling_lines += _scaling_lines(e, scaling, order)
        files[f"weights.{z:03d}.data"] = [WEIGHTS_HEADER, *_weight_lines(network, order)]
    files["scaling.data"] = [SCALING_HEADER, *scaling_lines]
    files["input.nn"] = _settings_lines(potential, networks, rows, units, energy)
    directory.mkdir(parents=True, exist_ok=True)
    for name, lines in files.items():  # input.nn, by which such a folder is known, is the last
        write_lines(directory / name, lines)


def _check(potential, directory):
    """Raise ValueError for what the format cannot express."""
    functions = potential.symmetry_functions.functions
    for kind in dict.fromkeys(functions["kind"].tolist()):
        if kind not in NUMBERS:
            raise ValueError(f"{directory}: n2p2 has no symmetry function like {kind}")
    windows = _windows(functions)
    if len(windows) > 1:
        names = ", ".join(f"{cutoff} with alpha {alpha:g}" for cutoff, alpha in windows)
        raise ValueError(f"{directory}: n2p2 has one cutoff function for all symmetry functions, these have {names}")
    for cutoff, _ in windows:
        if cutoff not in CUTOFF_TYPES:
            raise ValueError(f"{directory}: n2p2 has the cutoff function {cutoff} for compact functions only")
    for symbol, scaling, network in zip(potential.species, potential.scalings, potential.networks):
        values = np.concatenate([*scaling, network.theta, [potential.reference_energies[symbol]]])
        if not np.isfinite(values).all() or (scaling.factor_s <= 0.0).any():
            raise ValueError(f"{directory}: {symbol} has a number that is not finite, or a scaling with a factor <= 0")


def _windows(rows):
    """Distinct (cutoff function, alpha) of the functions that are not compact."""
    windows = [(row["cutoff"], float(row["alpha"])) for row in rows if not is_compact(row["kind"])]
    return list(dict.fromkeys(windows))


def _networks(potential, directory):
    """The networks as n2p2 can read them.

    n2p2 (3.0) passes over the last number of neurons of an element and takes the global one, and over its output's
    activation function: narrower layers are filled up with neurons that have only zeros, which loading takes away.
    """
    if len({len(network.sizes) for network in potential.networks}) > 1:
        warnings.warn(f"{directory}: the networks differ in their number of layers, where n2p2 stops", stacklevel=4)
    if len({network.activations[-1] for network in potential.networks}) > 1:
        raise ValueError(f"{directory}: n2p2 cannot read networks with different activation functions of the output")
    widest = max((network.sizes[-2] for network in potential.networks if len(network.sizes) > 2), default=0)
    return tuple(resized(network, widest) if len(network.sizes) > 2 else network for network in potential.networks)


def _settings_lines(potential, networks, rows, units, energy):
    """Lines of ``input.nn``."""
    cutoff, alpha = (_windows(rows) or [("cosine", 0.0)])[0]
    E0_e = [float(potential.reference_energies[symbol] / energy) for symbol in potential.species]
    inner = [] if cutoff in WITHOUT_ALPHA else [repr(alpha)]
    lines = [
        RULE,
        f"# Neural network potential in {NAMES[units]}",
        RULE,
        f"number_of_elements {len(potential.species)}",
        f"elements {' '.join(potential.species)}",
        *(f"atom_energy {symbol} {E0!r}" for symbol, E0 in zip(potential.species, E0_e)),
    ]
    if potential.energy_unit != energy:  # n2p2 takes all three keywords or none
        lines += ["mean_energy 0.0", f"conv_energy {float(energy / potential.energy_unit)!r}", "conv_length 1.0"]
    lines += [
        " ".join(["cutoff_type", str(CUTOFF_TYPES.index(cutoff)), *inner]),
        "scale_symmetry_functions_sigma",
        "scale_min_short 0.0",
        "scale_max_short 1.0",
        *_network_lines(potential, networks),
        "",
        *(f"symfunction_short {' '.join(function_words(row))}" for row in rows),
    ]
    return lines


def _network_lines(potential, networks):
    """Lines on layers, neurons and activation functions; those of the first element are the global ones.

    Elements have lines of their own where the networks of the potential differ, also where filling up has made them
    alike: loading looks for idle neurons only there.
    """
    letters = {name: letter for letter, name in ACTIVATION_LETTERS.items()}
    shapes = [
        (
            str(len(network.sizes) - 2),
            " ".join(map(str, network.sizes[1:-1])),
            " ".join(letters[name] for name in network.activations),
        )
        for network in networks
    ]
    keywords = ("hidden_layers_short", "nodes_short", "activation_short")
    lines = [f"global_{keyword} {value}" for keyword, value in zip(keywords, shapes[0])]
    if len({(network.sizes[1:], network.activations) for network in potential.networks}) > 1:
        lines += [
            f"element_{keyword} {symbol} {value}"
            for symbol, shape in zip(potential.species, shapes)
            for keyword, value in zip(keywords, shape)
        ]
    return lines


def _scaling_lines(e, scaling, order):
    """Lines of ``scaling.data`` of element e.

    Scaling by sigma, x = (G - mean)/sigma, is the one mode of n2p2 that can express any shift and any factor.
    """
    shift, factor, minimum, maximum = scaling
    columns = np.array([minimum, maximum, shift, 1.0 / factor]).T[order]
    return [f"{e:10d} {s:10d} " + " ".join(f"{x:24.16E}" for x in row) for s, row in enumerate(columns, 1)]


def _weight_lines(network, order):
    """Lines of ``weights.ZZZ.data``, the inputs in the order of the files."""
    theta = network.theta.copy()
    W = views(theta, network.sizes)[0][0]
    W[:] = W[order]
    for value, (kind, index, *places) in zip(theta, connections(network.sizes), strict=True):
        yield f"{value:24.16E} {kind} {index:9d} " + " ".join(f"{place:5d}" for place in places)

"""Before a fit: frames that are sound, what counts how much, and a model with random weights."""

from dataclasses import replace

import numpy as np

from bpnumba.network import Network
from bpnumba.pairs import stress_voigt
from bpnumba.potential import Potential
from bpnumba.reference_energies import reference_energies
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.training import dataset
from bpnumba.training.settings import LABELS
from bpnumba.training.targets import baseline


def prepare_data(train, valid, settings, stream):
    """Read, report and split; labels whose weight is 0 are not looked for."""
    keys = settings.keys
    for label in LABELS:
        if getattr(settings, f"{label}_weight") == 0:
            keys = keys._replace(**dict.fromkeys(("stress", "virial") if label == "stress" else (label,)))
    train = dataset.read(train, keys, units=settings.units)
    marked = np.array([str(atoms.info.get("set")) == "test" for atoms in train.atoms])
    train, test = (train.subset(np.flatnonzero(marked == is_test)) for is_test in (False, True))
    if not len(train):
        raise ValueError(f"all {len(test)} frames are marked set=test: there is no frame to train on")
    if len(test):
        use = "used for validation" if valid is None else "left out of training"
        print(f"{len(test)} frames are marked set=test: {use}", file=stream)
    if valid is not None:
        valid = dataset.read(valid, keys, units=settings.units)
    elif len(test):
        valid = test
    else:
        train, valid = dataset.split(train, settings.valid_fraction, settings.seed)
    bonded = set(train.subset(np.flatnonzero(~train.isolated_m)).species)
    alone = [m for m, atoms in enumerate(train.atoms) if train.isolated_m[m] and not bonded.issuperset(atoms.symbols)]
    for m in alone:
        print(f"{train.source_m[m]}: left out, no other frame holds {train.atoms[m].symbols}", file=stream)
    train = train.subset(np.setdiff1d(np.arange(len(train)), alone))
    for name, part in (("training", train), ("validation", valid)):
        if len(part):
            print(f"{name}: {dataset.report(part)}", file=stream)
    if not len(valid):
        print("validation: no frames; the weights of the smallest loss in training are kept", file=stream)
    elif set(valid.species) - set(train.species):
        raise ValueError(
            f"validation frames hold {', '.join(sorted(set(valid.species) - set(train.species)))}, "
            f"which no training frame has"
        )
    return train, valid


def label_weights(train, valid, settings):
    """Factors of energies, forces and stresses in the loss; an error if they leave nothing to fit or to validate."""
    weights = []
    for label in LABELS:
        weight = getattr(settings, f"{label}_weight")
        present = bool(getattr(train, f"has_{label}_m").any())
        if weight:
            dataset.require(train, (label,))
        weights.append(float(present) if weight is None else float(weight))
    if not any(weights):
        raise ValueError("there is nothing to fit: no frame has energy, forces or stress, or all weights are 0")
    factors = settings.config_type_weights or {}
    unknown = sorted(set(factors) - {*train.config_type_m, *valid.config_type_m})
    if unknown:
        raise ValueError(
            f"weights are given for config_type {', '.join(unknown)}, which no frame has; "
            f"there are {', '.join(sorted(set(train.config_type_m)))}"
        )
    for name, part in (("training", train), ("validation", valid)):
        counted = ~part.isolated_m & np.array([factors.get(kind, 1.0) > 0 for kind in part.config_type_m], bool)
        if len(part) and not any(
            weight and (getattr(part, f"has_{label}_m") & counted).any() for weight, label in zip(weights, LABELS)
        ):
            raise ValueError(
                f"no {name} frame has a label that counts: besides isolated atoms, at least one must have one of the "
                "labels that are fitted, with a config_type whose weight is not 0"
            )
    return tuple(weights)


def untrained(train, settings, stream):
    """Model with random weights: functions, scaling, reference energies."""
    frames = [atoms for atoms, isolated in zip(train.atoms, train.isolated_m) if not isolated]
    if not frames:
        raise ValueError("the training data hold nothing but isolated atoms")
    functions = settings.symmetry_functions
    if functions is None:
        functions = SymmetryFunctions.select(frames, settings.cutoff, settings.n_functions, settings.cutoff_function)
        print("\n".join(line for line in functions.report.splitlines() if "dropped" not in line), file=stream)
    E_m = np.where(train.has_energy_m, train.energy_m, np.nan)
    energies, origin = reference_energies(
        [atoms.numbers for atoms in train.atoms], E_m, functions.species, settings.reference_energies, train.isolated_m
    )
    for symbol in functions.species:
        print(f"reference energy {symbol}: {energies[symbol]:.6f} eV ({origin[symbol]})", file=stream)
    potential = Potential.untrained(
        functions, frames, settings.hidden, settings.activation, settings.scaling, energies, settings.seed
    )
    bound = E_m[~train.isolated_m] - baseline(frames, energies)
    binding, _ = reference_energies([atoms.numbers for atoms in frames], bound, functions.species)
    for network, symbol in zip(potential.networks, functions.species):
        network.layers[-1][1][:] = binding[symbol]  # the mean binding energy is not for random weights to find
    return potential


def reseeded(potential, seed):
    """The same model with other random weights, and the same mean energy."""
    random, networks = np.random.default_rng(seed), []
    for network in potential.networks:
        other = Network.random(network.sizes, random, network.activations)
        other.layers[-1][1][:] = network.layers[-1][1]
        networks.append(other)
    return replace(potential, networks=tuple(networks))


def without_terms(data, terms):
    """The same frames with the share of terms, such as a core repulsion, taken off the labels."""
    for term in terms:
        prediction = term.evaluate(list(data.atoms)) if len(data) else None
        if prediction is None:
            continue
        has_forces_a = np.repeat(data.has_forces_m, data.n_atoms_m)[:, None]
        volume_m = np.where(data.has_stress_m, prediction.volume_m, 1.0)
        stress_mv = stress_voigt(prediction.virial_mcc, volume_m)
        data = replace(
            data,
            energy_m=np.where(data.has_energy_m, data.energy_m - prediction.energy_m, 0.0),
            forces_ac=np.where(has_forces_a, data.forces_ac - prediction.forces_ac, 0.0),
            stress_mv=np.where(data.has_stress_m[:, None], data.stress_mv - stress_mv, 0.0),
        )
    return data

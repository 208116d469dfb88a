"""The model: atoms in, energy, forces and virial out.  The only file that knows the whole chain.

    E = sum_i [ E0(element of i) + NN_element(x_i) ],   x_i = scaled symmetry functions G_i

J. Behler and M. Parrinello, Phys. Rev. Lett. 98, 146401 (2007), eq. 1.  `Potential.predict` is the theory on one
screen.

>>> from ase.build import bulk
>>> silicon = bulk("Si", cubic=True)
>>> silicon.rattle(0.1)
>>> from bpnumba.symmetry import SymmetryFunctions
>>> functions = SymmetryFunctions(["Si"], r_cut=4.0, g2_params=[[0.5, 0.0], [0.5, 2.0]])
>>> potential = Potential.untrained(functions, [silicon], hidden=(5,), seed=0)
>>> potential.evaluate(silicon).forces_ac.shape
(8, 3)
"""

from dataclasses import dataclass, field, replace

import numpy as np

from bpnumba.extrapolation import outside
from bpnumba.network import Network, n_weights
from bpnumba.prediction import Prediction, batches, evaluate_frames
from bpnumba.scaling import Scaling
from bpnumba.symmetry import SymmetryFunctions


@dataclass(frozen=True, eq=False)
class Potential:
    """A Behler-Parrinello neural network potential.

    Parameters
    ----------
    symmetry_functions : SymmetryFunctions
    scalings, networks : tuple
        One entry per species.
    reference_energies : dict
        Chemical symbol -> E0 in eV.
    info : dict
        What is worth knowing of its making (training errors, versions ...): plain values that JSON can hold.
    energy_unit : float
        Energy in eV of one unit of the networks' output: 1 for potentials fitted here, another number for those of
        codes whose networks speak Hartree or a normalized energy.
    """

    symmetry_functions: SymmetryFunctions
    scalings: tuple
    networks: tuple
    reference_energies: dict
    info: dict = field(default_factory=dict)
    energy_unit: float = 1.0

    def __post_init__(self):
        for symbol, width, scaling, network in zip(
            self.species, self.symmetry_functions.table.n_functions, self.scalings, self.networks, strict=True
        ):
            if not len(scaling.shift_s) == len(scaling.factor_s) == network.sizes[0] == width:
                raise ValueError(
                    f"{symbol} has {width} symmetry functions, but a scaling of {len(scaling.shift_s)} and a "
                    f"network with {network.sizes[0]} inputs"
                )
            if symbol not in self.reference_energies:
                raise ValueError(f"no reference energy for {symbol}")
        if not (np.isfinite(self.energy_unit) and self.energy_unit > 0.0):
            raise ValueError(f"the energy unit of the networks must be a positive number of eV, not {self.energy_unit}")

    @classmethod
    def untrained(
        cls,
        symmetry_functions,
        frames,
        hidden=(15, 15),
        activation="tanh",
        scaling="standard",
        reference_energies=None,
        seed=0,
    ):
        """Random weights, and the scaling that suits `frames`.

        Parameters
        ----------
        symmetry_functions : SymmetryFunctions
        frames : list of ase.Atoms
        hidden : tuple of int, or dict of symbol -> tuple
            Neurons of the hidden layers.
        activation : str
            Of the hidden layers; the output is linear.
        scaling : str
            A key of `bpnumba.scaling.MODES`.
        reference_energies : dict, optional
            Symbol -> E0 in eV; zero by default.
        seed : int
        """
        G_e = values(symmetry_functions, frames)
        species, rng = symmetry_functions.species, np.random.default_rng(seed)
        missing = [symbol for symbol, G in zip(species, G_e) if not len(G)]
        if missing:
            raise ValueError(f"no atom of {', '.join(missing)} in the frames: its symmetry functions cannot be scaled")
        scalings = tuple(Scaling.from_values(G, scaling) for G in G_e)
        networks = []
        for symbol, G in zip(species, G_e):
            layers = tuple(hidden[symbol] if isinstance(hidden, dict) else hidden)
            networks.append(Network.random((G.shape[1], *layers, 1), rng, (activation,) * len(layers) + ("identity",)))
        return cls(symmetry_functions, scalings, tuple(networks), reference_energies or dict.fromkeys(species, 0.0))

    # ---- the road: r -> G -> x -> e, and back ------------------------------------------------------------------------

    def predict(self, pairs):
        """Energy, forces and virial of a pair list: `Prediction`."""
        descriptors = self.symmetry_functions.describe(pairs)  # r -> G
        energy_a, forces_ac, virial_mcc = self.energies_and_forces(descriptors, self.inputs(descriptors))  # and back
        energy_m = np.bincount(pairs.structure_a[: pairs.n_centers], energy_a, minlength=pairs.n_structures)
        extrapolation = outside(descriptors, self.scalings, self.species)
        return Prediction(energy_m, energy_a, forces_ac, virial_mcc, pairs.volume_m, extrapolation)

    def energies(self, pairs):
        """Total energies (n_structures) in eV alone, for less than half the cost of `predict`."""
        descriptors = self.symmetry_functions.describe(pairs)
        energy_a = self.atomic_energies(descriptors.layout, self.inputs(descriptors))
        return np.bincount(pairs.structure_a[: pairs.n_centers], energy_a, minlength=pairs.n_structures)

    def inputs(self, descriptors):
        """Scaled symmetry functions, the inputs of the networks, per element."""
        return tuple(scaling.apply(G) for scaling, G in zip(self.scalings, descriptors.values))

    def atomic_energies(self, layout, x_e):
        """Atomic energies (n_centers) with their reference energies, from the inputs of the networks."""
        energy_a = np.empty(layout.n_centers)
        for atoms, x, network, symbol in zip(layout.atoms_e, x_e, self.networks, self.species):
            energy_a[atoms] = self.energy_unit * network.energy(x) + self.reference_energies[symbol]
        return energy_a

    def energies_and_forces(self, descriptors, x_e):
        """Atomic energies (n_centers) with their reference energies, forces (n_atoms, 3), virial (n_structures, 3, 3).
        """
        layout = descriptors.layout
        energy_a, dE_dG = self.energies_and_slopes(layout, x_e)  # x -> e, and back
        for atoms, symbol in zip(layout.atoms_e, self.species):
            energy_a[atoms] += self.reference_energies[symbol]
        return energy_a, *descriptors.forces(dE_dG)  # through one vector per pair, dE/dr

    def energies_and_slopes(self, layout, x_e):
        """Atomic energies without reference energies (n_centers), and dE/dG per element."""
        energy_a, dE_dG = np.empty(layout.n_centers), []
        for atoms, x, scaling, network in zip(layout.atoms_e, x_e, self.scalings, self.networks):
            e, dE_dx = network.energy_and_slope(x)
            energy_a[atoms] = self.energy_unit * e
            dE_dG.append(scaling.pullback(self.energy_unit * dE_dx))
        return energy_a, tuple(dE_dG)

    def evaluate(self, atoms, pair_list=None):
        """Energy, atomic energies, forces, virial and stress of one structure or of a list.

        Parameters
        ----------
        atoms : ase.Atoms or list of ase.Atoms
            Any cell, any periodicity.
        pair_list : optional
            One of ``symmetry_functions.pair_list(skin)``, to be used again for the same atoms after they moved.

        Returns
        -------
        Prediction
            Of all structures; arrays per atom lie one structure after the other.

        Raises
        ------
        ValueError
            For an element without a network, positions or cells that are not finite, atoms at one place (see
            `Pairs.from_atoms`), and if a result is not finite, which names the structure.
        """
        return evaluate_frames(self, atoms, pair_list or self.symmetry_functions.pair_list())

    # ---- weights: one flat vector ------------------------------------------------------------------------------------

    @property
    def theta(self):
        """All weights, one element after the other (a copy)."""
        return np.concatenate([network.theta for network in self.networks])

    def with_weights(self, theta, **changes):
        """The same model with other weights; the layers are views into `theta`."""
        ends = np.cumsum([n_weights(network.sizes) for network in self.networks])
        pieces = np.split(theta, ends[:-1])
        networks = tuple(network.with_weights(piece) for network, piece in zip(self.networks, pieces))
        return replace(self, networks=networks, **changes)

    def save_runner(self, directory, units="atomic"):
        """Write files of n2p2: ``input.nn``, ``scaling.data`` and one ``weights.ZZZ.data`` per element.

        They serve ``pair_style hdnnp`` of LAMMPS, too.  Each file is replaced only by a complete one;
        `bpnumba.load_runner` reads them back, with the same weights to the last bit.

        Parameters
        ----------
        directory : str or Path
            Made if it is not there.
        units : str
            Of the files: "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).

        Raises
        ------
        ValueError
            For what n2p2 cannot express: symmetry functions WG5, several cutoff functions or alphas in one potential,
            asymmetric cutoff functions, different activation functions of the output.
        OSError
            A file cannot be written; it is as it was.

        Warns
        -----
        UserWarning
            The networks differ in their number of layers: `bpnumba.load_runner` reads that, n2p2 stops.
        """
        from bpnumba.io.runner_save import save

        save(self, directory, units)

    @property
    def species(self):
        """Chemical symbols, by atomic number."""
        return self.symmetry_functions.species

    @property
    def cutoff(self):
        """Largest cutoff radius in Angstrom."""
        return self.symmetry_functions.cutoff

    def __str__(self):
        layers = {
            symbol: "-".join(map(str, network.sizes)) + " " + " ".join(network.activations)
            for symbol, network in zip(self.species, self.networks)
        }
        lines = [
            f"Behler-Parrinello potential for {', '.join(self.species)}, cutoff {self.cutoff:g} Angstrom, "
            f"{len(self.theta):,} weights"
        ]
        for symbol in self.species:
            lines.append(f"   {symbol}: network {layers[symbol]}, E0 {self.reference_energies[symbol]:.6f} eV")
        return "\n".join(lines)


def values(symmetry_functions, frames, first_frame=0):
    """Symmetry functions of all atoms of all frames, per element; messages count frames from `first_frame`."""
    pair_list = symmetry_functions.pair_list()
    parts = [
        symmetry_functions.describe(pair_list.pairs(frames[first:last], first_frame + first)).values
        for first, last in batches([len(frame) for frame in frames])
    ]
    return [np.concatenate(blocks) for blocks in zip(*parts)]

"""What a fit can be told: one record, which the Python function, the command line and the checkpoint share.

>>> Settings.of({"cutoff": 5.0}).cutoff
5.0
"""

import json
from dataclasses import dataclass, fields

from bpnumba.activations import ACTIVATIONS
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.functions import DEFAULT_CUTOFF
from bpnumba.scaling import MODES
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.training import dataset
from bpnumba.training.memory import JACOBIANS, in_bytes
from bpnumba.training.optimizers import OPTIMIZERS
from bpnumba.units import UNITS

LABELS = ("energy", "forces", "stress")
WEIGHTS, SCALES = (tuple(f"{label}_{what}" for label in LABELS) for what in ("weight", "scale"))
NOT_NEGATIVE = ("max_iterations", "l2", "seed", "valid_fraction", *WEIGHTS, "config_type_weights")
AT_LEAST_ONE = ("patience", "checkpoint_every", "n_functions", "hidden", "max_epochs", "committee")
POSITIVE = ("cutoff", "max_seconds", *SCALES)
NOT_OF_THE_RESULT = ("max_iterations", "max_epochs", "max_seconds", "checkpoint_every", "patience", "committee",
                     "memory", "jacobian")  # fmt: skip
CHOICES = {
    "activation": ACTIVATIONS,
    "scaling": MODES,
    "cutoff_function": CUTOFFS,
    "units": UNITS,
    "optimizer": ("auto", *OPTIMIZERS),
    "repulsion": (None, "zbl"),
    "jacobian": JACOBIANS,
    "precision": ("float32", "float64"),
}


@dataclass(frozen=True)
class Settings:
    """What a fit can be told; every value has a default that suits most data.

    Parameters
    ----------
    symmetry_functions : SymmetryFunctions, optional
        By default `SymmetryFunctions.select` chooses them for the training frames.
    cutoff : float
        Cutoff radius of the chosen functions in Angstrom.
    n_functions : int, optional
        Largest number of chosen functions per element.
    cutoff_function : str
        Name of the cutoff function of the chosen functions.
    hidden : tuple of int, or dict of symbol -> tuple
        Neurons of the hidden layers.
    activation : str
        Activation function of the hidden layers.
    scaling : str
        How symmetry functions are scaled: "standard", "minmax", "center" or "none".
    reference_energies : dict, optional
        Chemical symbol -> E0 in eV.  By default from isolated atoms in the data, else by least squares.
    keys : Keys
        Names of the labels in the data.
    units : str
        Units of RuNNer and n2p2 files among the data: "atomic" (bohr, Hartree) or "metal" (Angstrom, eV).
    energy_weight, forces_weight, stress_weight : float, optional
        Factors of the three parts of the loss.  By default 1 where there are labels; 0 leaves a part out; a positive
        number requests it, and it is an error if no frame has such a label.
    config_type_weights : dict, optional
        config_type -> factor of its frames in the loss.
    energy_scale, forces_scale, stress_scale : float, optional
        Errors that count as noise, in eV/atom, eV/Angstrom and eV/Angstrom^3; by default `Scales.from_data`.
    l2 : float, optional
        Factor of the squared weights in the loss of L-BFGS; by default chosen on the validation frames, about 0.01.
    seed : int
        Of the random weights and of the choice of validation frames.
    optimizer : str
        "kalman+gn-lbfgs", "kalman", "gn-lbfgs" or "lbfgs" (`bpnumba.training.optimizers`); "auto" chooses by the number
        of weights.
    max_iterations : int
        Of all phases; a pass of the Kalman filter counts as one.
    max_epochs : int
        Passes of the Kalman filter over the training frames.
    max_seconds : float, optional
        The fit of a potential ends when this time is over, set-up not counted.
    committee : int
        Number of potentials that are fitted, which differ in their random weights; more than one make a
        `bpnumba.Committee`.
    repulsion : str, optional
        "zbl": the potential learns what the labels have beyond the repulsion of nuclei by Ziegler, Biersack and
        Littmark (`bpnumba.ZBL`), which becomes a part of the model.
    memory : str or int, optional
        Most memory that the fit may use, such as "4GB"; by default what is free on this machine.
        Under MPI, that of each process.
    jacobian : str
        Where the Jacobian of the symmetry functions is kept: "memory", "disk" or "recompute"; "auto": what fits.
    precision : str
        Type of its numbers, "float32" or "float64".
    valid_fraction : float
        Part of the training frames set aside for validation if none are given or marked ``set=test``.
    patience : int
        Iterations of plain L-BFGS without a better validation error after which it stops.
    checkpoint_every : int
        Iterations between two checkpoints.
    """

    symmetry_functions: SymmetryFunctions | None = None
    cutoff: float = 6.0
    n_functions: int | None = None
    cutoff_function: str = DEFAULT_CUTOFF
    hidden: tuple | dict = (15, 15)
    activation: str = "tanh"
    scaling: str = "standard"
    reference_energies: dict | None = None
    keys: dataset.Keys = dataset.Keys()
    units: str = "atomic"
    energy_weight: float | None = None
    forces_weight: float | None = None
    stress_weight: float | None = None
    config_type_weights: dict | None = None
    energy_scale: float | None = None
    forces_scale: float | None = None
    stress_scale: float | None = None
    l2: float | None = None
    seed: int = 0
    optimizer: str = "auto"
    max_iterations: int = 1500
    max_epochs: int = 8
    max_seconds: float | None = None
    committee: int = 1
    repulsion: str | None = None
    memory: str | int | None = None
    jacobian: str = "auto"
    precision: str = "float32"
    valid_fraction: float = 0.1
    patience: int = 300
    checkpoint_every: int = 100

    def __post_init__(self):
        hidden = self.hidden.values() if isinstance(self.hidden, dict) else [self.hidden]
        single = {f.name: [getattr(self, f.name)] for f in fields(self)}
        several = {
            "hidden": [size for layers in hidden for size in layers],
            "config_type_weights": (self.config_type_weights or {}).values(),
        }
        for names, good, words in (
            (NOT_NEGATIVE, lambda number: number >= 0, "at least 0"),
            (AT_LEAST_ONE, lambda number: number >= 1, "at least 1"),
            (POSITIVE, lambda number: number > 0, "positive"),
        ):
            for name in names:
                for number in (single | several)[name]:
                    if number is not None and not (good(number) and number < float("inf")):
                        raise ValueError(f"{name} must be {words}, not {number}")
        if self.valid_fraction >= 1:
            raise ValueError(f"valid_fraction must be below 1, not {self.valid_fraction}")
        for name, table in CHOICES.items():
            if getattr(self, name) not in table:
                names = ", ".join(filter(None, table))
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; there are {names}")
        if self.memory is not None:
            in_bytes(self.memory)

    @classmethod
    def of(cls, settings):
        """Settings from keywords, with an error that names an unknown one."""
        known = [f.name for f in fields(cls)]
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise TypeError(f"fit has no setting {', '.join(unknown)}; there are {', '.join(known)}")
        return cls(**settings)

    def plain(self):
        """All settings that change the result, as JSON can hold them; not those about time and place."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for name in NOT_OF_THE_RESULT:
            del values[name]
        if self.symmetry_functions is not None:
            values["symmetry_functions"] = self.symmetry_functions.functions.tolist()
        return json.loads(json.dumps(values, default=lambda value: value.tolist()))

"""Behler-Parrinello neural network potentials with Numba and NumPy.

>>> import bpnumba
>>> functions = bpnumba.SymmetryFunctions(["Si"], r_cut=6.0, g2_params=[[0.1, 0.0]])

The front door: a name is imported when it is first asked for, so that ``import bpnumba`` is fast.
"""

from importlib import import_module

__version__ = "0.1.0"

ROOMS = {
    "fit": "bpnumba.training.fit",
    "Dataset": "bpnumba.training.dataset",
    "Keys": "bpnumba.io.keys",
    "load": "bpnumba.io.model_file",
    "save": "bpnumba.io.model_file",
    "load_runner": "bpnumba.io.runner",
    "Potential": "bpnumba.potential",
    "Prediction": "bpnumba.prediction",
    "Committee": "bpnumba.committee",
    "Composite": "bpnumba.composite",
    "ZBL": "bpnumba.repulsion",
    "BPCalculator": "bpnumba.calculator",
    "SymmetryFunctions": "bpnumba.symmetry",
    "G1": "bpnumba.functions",
    "G2": "bpnumba.functions",
    "G4": "bpnumba.functions",
    "G5": "bpnumba.functions",
    **dict.fromkeys(("C2", "C4", "C5", "WG2", "WG4", "WG5", "WC2", "WC4", "WC5"), "bpnumba.functions"),
    "ExtrapolationWarning": "bpnumba.extrapolation",
    "ExtrapolationError": "bpnumba.extrapolation",
    "evaluate": "bpnumba.evaluation",
    "examine": "bpnumba.doctor",
    "Calibration": "bpnumba.calibration",
    "select_frames": "bpnumba.active_learning",
    "relax": "bpnumba.elasticity",
    "cubic_elastic_constants": "bpnumba.elasticity",
    "elastic_constants": "bpnumba.elasticity",
    "equation_of_state": "bpnumba.properties.crystal",
    "vacancy_energy": "bpnumba.properties.crystal",
    "phonon_bands": "bpnumba.properties.vibrations",
    "thermalize": "bpnumba.properties.dynamics",
    "energy_conservation": "bpnumba.properties.dynamics",
    "radial_distribution": "bpnumba.properties.dynamics",
}
"""Public name -> the module where it lives."""

__all__ = ["__version__", *ROOMS]


def __getattr__(name):
    if name not in ROOMS:
        raise AttributeError(f"module 'bpnumba' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(ROOMS[name]), name)
    return value


def __dir__():
    return sorted({*globals(), *__all__})

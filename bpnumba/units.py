"""Units: inside the library there are eV, Angstrom and the elementary charge, nothing else.

``BOHR`` and ``HARTREE`` bring numbers from files into the library; ``GPA`` and ``MEV`` turn results into what people
read. One multiplies by all four. The values are those of :mod:`ase.units`. Files of RuNNer and n2p2 do not tell their
units; ``UNITS`` lists those in use.

>>> round(0.01 * GPA, 3)                 # a stress of 0.01 eV/Angstrom^3 in GPa
1.602
>>> round(1.0 * HARTREE / BOHR, 3)       # a force of 1 Hartree/bohr in eV/Angstrom
51.422
"""

from ase import units

BOHR = units.Bohr  #: 1 bohr in Angstrom
HARTREE = units.Hartree  #: 1 Hartree in eV
GPA = 1.0 / units.GPa  #: 1 eV/Angstrom^3 in GPa (160.2)
MEV = 1000.0  #: 1 eV in meV
COULOMB = 14.3996454784255  #: e^2 / (4 pi epsilon_0) in eV Angstrom (CODATA 2018): what models remember hangs on it

UNITS = {"atomic": (BOHR, HARTREE), "metal": (1.0, 1.0)}
"""Units of files of RuNNer and n2p2: name -> (length in Angstrom, energy in eV)."""

NAMES = {"atomic": "bohr and Hartree", "metal": "Angstrom and eV"}
"""The same in words."""


def of_files(name):
    """Length in Angstrom and energy in eV of the units of that name; ValueError lists the names that there are."""
    if name not in UNITS:
        raise ValueError(f"unknown units {name!r}; there are {', '.join(UNITS)}")
    return UNITS[name]

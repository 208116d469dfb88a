"""Units: inside the library there are eV, Angstrom and the elementary charge, nothing else.

``BOHR`` and ``HARTREE`` bring numbers from files into the library; ``GPA`` and ``MEV`` turn results into what people
read. One multiplies by all four. The values are those of :mod:`ase.units`.

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

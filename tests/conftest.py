"""What the tests share: systems that hurt, a set of functions that hurts, and differences."""

import os

import numpy as np
import pytest
from ase import Atoms
from ase.neighborlist import neighbor_list

os.environ.setdefault("BPNUMBA_KERNELS", "plain")
"""Most tests look at many small sets of functions, and fast kernels would be compiled for each of them.  Tests of the
fast kernels, and of how potentials are used, ask for them."""


@pytest.fixture
def fast_kernels(monkeypatch):
    """The kernels that users get on this machine."""
    monkeypatch.delenv("BPNUMBA_KERNELS")


# ---- systems that hurt ----

RADII = (3.0, 3.7, 4.2)
"""Cutoff radii in Angstrom that the fixture `functions` uses."""

INNER = (1.5, 2.1)
"""Other distances where its windows begin: alpha rc, or rl."""

MIDDLES = (2.25, 2.6, 1.35)
"""Middles of its compact functions: between 1.5 and 3.0, 1.5 and 3.7, -1.5 and 4.2."""

ANGLES = (47.5, 111.0)
"""Ends in degrees of its angular windows, besides 0 and 180.

No distance and no angle in a system is near one of all these, because differences go wrong where a second derivative
jumps (cosine, poly1)."""

CELL = np.array([[2.9, 0.2, 0.4], [0.5, 3.3, -0.3], [0.6, -0.7, 3.1]])  # triclinic, smaller than the largest radius
MIRROR = np.diag([1.0, 1.0, -1.0])


def scattered(random, symbols, cell, pbc, outside=0):
    """Atoms anywhere in the cell, or up to `outside` cells beyond it."""
    fraction = random.uniform(0, 1, (len(symbols), 3)) + random.integers(-outside, outside + 1, (len(symbols), 3))
    return Atoms(symbols, fraction @ cell, cell=cell, pbc=pbc)


def tiny(random):
    """One atom among its images: the cell is less than a third of the cutoff."""
    return Atoms("C", cell=1.38 * np.eye(3) + random.uniform(-0.04, 0.04, (3, 3)), pbc=True)


def isolated(random):
    """A molecule, and an atom that nobody sees."""
    atoms = scattered(random, ["O", "H", "H", "C"], 2.5 * np.eye(3), False)
    return atoms + Atoms("O", [[30.0, 0.0, 0.0]])


def straight(random):
    """CO2 along an axis and an image of it: cosines of exactly 1 and -1."""
    return Atoms("CO2", [[0, 0, 0], [0, 0, 1.2], [0, 0, -1.2]], cell=[9, 9, random.uniform(3.8, 4.1)], pbc=[0, 0, 1])


SYSTEMS = {
    "cell a third of the cutoff": tiny,
    "triclinic": lambda random: scattered(random, ["H", "C", "O"], CELL, True),
    "left-handed": lambda random: scattered(random, ["O", "C", "C"], CELL @ MIRROR, True),
    "slab": lambda random: scattered(random, ["H", "O", "H", "O"], CELL, [True, False, True]),
    "wire": lambda random: scattered(random, ["C", "H", "O", "O"], CELL, [False, True, False]),
    "atoms outside the cell": lambda random: scattered(random, ["C", "O", "H"], CELL, True, outside=2),
    "molecule": lambda random: scattered(random, ["C", "O", "H", "H", "C", "O"], 3 * np.eye(3), False),
    "isolated atom": isolated,
    "straight": straight,
    "no neighbors": lambda random: Atoms("H"),
}


def well_placed(atoms):
    """No two atoms on top of each other, no distance within 0.004 Angstrom of an end, no angle within 0.1 degrees."""
    i_p, distance_p, r_p = neighbor_list("idD", atoms, max(RADII) + 0.1)
    kinks = np.abs(distance_p[:, None] - (*INNER, *MIDDLES, *RADII))
    if distance_p.min(initial=np.inf) < 0.7 or kinks.min(initial=np.inf) < 0.004:
        return False
    for i in range(len(atoms)):
        unit = r_p[i_p == i] / distance_p[i_p == i, None]
        angles = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))
        if np.abs(angles[..., None] - ANGLES).min(initial=np.inf) < 0.1:
            return False
    return True


def placed(name):
    """The system of the first seed that is well placed."""
    for seed in range(10_000):
        atoms = SYSTEMS[name](np.random.default_rng(seed))
        if well_placed(atoms):
            return atoms
    raise AssertionError(f"no seed places the system {name!r} well")


@pytest.fixture(scope="session")
def systems():
    """All of them by name."""
    return {name: placed(name) for name in SYSTEMS}


@pytest.fixture(params=SYSTEMS)
def atoms(request, systems):
    """Each of them, with elements among H, C and O."""
    return systems[request.param].copy()


# ---- a set of functions that hurts ----


@pytest.fixture(scope="session")
def functions():
    """Radii, cutoff functions, kinds, shifts and powers mixed, shared and unshared pair factors, in no useful order."""
    from bpnumba.functions import C2, C4, C5, G1, G2, G4, G5, WC2, WC4, WC5, WG2, WG4, WG5
    from bpnumba.symmetry import SymmetryFunctions

    first, second, third = RADII
    return SymmetryFunctions.from_functions([
        G4("C", "O", "H", 0.2, 4, 1, first, rs=0.5, cutoff="tanh"),
        G1("H", "O", third, "cosine"),
        G2("H", "H", 0.5, 0.0, first, "tanh"),
        G2("C", "O", 0.2, 0.5, first, "tanh"),  # shares its pair factor with angular functions of C
        G2("H", "C", 2.0, 1.1, second, "poly2"),
        G2("H", "C", 2.0, 1.1, second, "exp"),  # differs from the one before by its cutoff function only
        G5("H", "O", "O", 0.1, 2.5, -1, first, rs=0.8, cutoff="poly3"),
        G4("H", "C", "O", 0.05, 1, 1, second),
        G5("H", "H", "C", 0.05, 2, 0.5, second),
        G2("C", "C", 4.0, 1.4, third, "poly1"),
        G2("C", "C", 4.0, 1.4, first, "poly1"),
        G2("C", "H", 0.0, 0.0, second, "poly4"),
        G4("C", "H", "O", 0.2, 1, -1, first, rs=0.5, cutoff="tanh"),
        G4("C", "C", "C", 0.05, 1.5, 1, second, cutoff="exp"),
        G4("C", "C", "C", 0.05, 1, -1, first, cutoff="cosine"),
        G4("C", "C", "C", 0.3, 2, 1, first, cutoff="tanh"),  # the cutoff function of r_jk changes, its radius does not
        G4("C", "C", "C", 0.6, 1, 1, first, cutoff="tanh"),  # and here neither
        G5("C", "C", "C", 0.05, 16, 1, first, cutoff="cosine"),
        G5("C", "C", "O", 0.3, 3, -1, third, rs=1.0, cutoff="cosine"),
        G4("C", "O", "O", 0.01, 1, 1, third, cutoff="poly4"),
        G5("C", "H", "H", 0.3, 1, 1, third),
        G2("O", "H", 1.0, 0.3, second, "poly3"),
        G4("O", "O", "O", 0.02, 1, 1, third, cutoff="poly1"),
        G5("O", "O", "O", 0.02, 2, -1, third, cutoff="poly1"),
        G5("O", "H", "C", 0.1, 4, -1, first, cutoff="exp"),
        G4("O", "H", "H", 0.1, 1, 1, first, cutoff="exp"),
        # inner radii
        G2("H", "H", 0.5, 0.3, first, "tanh_normalized"),
        G2("H", "O", 0.0, 0.0, first, "poly2", alpha=0.5),
        G4("C", "C", "C", 0.02, 2, -1, first, cutoff="cosine", alpha=0.5),
        G4("C", "C", "C", 0.02, 2, -1, third, cutoff="poly2", alpha=0.5),
        G5("O", "H", "O", 0.1, 1.5, 1, third, cutoff="exp", alpha=0.5),
        # compact: support from rl > 0, about the origin, and from behind it
        C2("H", "O", 1.5, second, "poly3"),
        C5("H", "C", "O", -first, first, 47.5, 180, "poly1"),
        C2("C", "C", -first, first, "poly1"),
        C2("C", "C", 1.5, second, "poly4a"),
        C4("C", "C", "C", 1.5, second, 0, 180, "poly4a"),  # shares its window with the function before
        C5("C", "C", "C", 1.5, second, 0, 180, "poly4a"),  # and its angle, too
        C5("C", "C", "C", -1.5, third, 47.5, 111, "exp"),
        C4("C", "C", "C", -1.5, third, 47.5, 111, "exp"),
        C4("C", "C", "C", -first, first, 111, 249, "poly2"),  # angles about 180 degrees
        C5("C", "O", "H", -first, first, -47.5, 47.5, "poly2"),  # and about 0
        C5("C", "O", "O", -1.5, third, 111, 249, "poly3"),
        C4("O", "C", "O", -first, first, 0, 111, "poly1a"),
        C5("O", "O", "O", -first, first, 0, 111, "poly1"),
        C4("O", "O", "O", -1.5, third, 0, 180, "poly3a"),
        # weighted
        WG2("H", 0.3, 0.7, second, "poly2"),
        WG4("H", 0.05, 2.5, -1, second, rs=0.4, cutoff="poly3"),
        WC2("H", -1.5, third, "poly2a"),
        WC4("H", -1.5, third, 111, 249, "poly2a"),  # shares its window with the function before
        WG5("C", 0.05, 2, 0.5, first, cutoff="poly1", alpha=0.5),
        WC5("C", -1.5, third, 47.5, 111, "exp"),  # as C5 above, over all elements
        WC2("O", 1.5, first, "poly1a"),
        WG2("O", 1.0, 0.3, second, "poly3"),  # as G2 above
        WC4("O", 1.5, second, 47.5, 180, "poly2"),
    ])  # fmt: skip


# ---- differences ----


@pytest.fixture(scope="session")
def difference():
    """The derivative at 0 of a function of one number, by central differences of fourth order."""

    def of(f, h=2e-4):
        return (8 * (f(h) - f(-h)) - (f(2 * h) - f(-2 * h))) / (12 * h)

    return of

"""Fast kernels that look up at run time what a triangle of elements needs, against the plain kernels."""

import numpy as np
import pytest
from ase import Atoms

from bpnumba.functions import C4, G2, G4, WG2, WG4
from bpnumba.kernels import table_triangles
from bpnumba.kernels.machine import Machine, this_machine
from bpnumba.kernels.packed import LANES
from bpnumba.kernels.plan import make_plans
from bpnumba.kernels.slots import BITS, flags, table_plan
from bpnumba.packed_descriptors import PackedDescriptors, Part
from bpnumba.packed_pairs import PackedPairs
from bpnumba.pairs import Pairs
from bpnumba.symmetry import SymmetryFunctions

SPECIES, NUMBERS = ("H", "C", "N", "O", "S", "Cl"), (1, 6, 7, 8, 16, 17)
HERE = this_machine("")
MACHINES = [HERE, Machine(2, False, "any processor")] if HERE.lanes else []
CELLS = {
    "large": np.diag([9.0, 10.0, 11.0]),
    "tiny": np.array([[2.9, 0.2, 0.4], [0.5, 3.3, -0.3], [0.6, -0.7, 3.1]]),
    "left-handed": np.array([[0.5, 7.3, -0.3], [6.9, 0.2, 0.4], [0.6, -0.7, 7.1]]),
}


def mixed(species=SPECIES):
    """Few slots, but not the same for all elements: two radii, kinds of cutoff, whole and broken powers, a shift."""
    rows = []
    for c, center in enumerate(species):
        for e, first in enumerate(species):
            rows.append(G2(center, first, 0.02 * (c % 2), 0.0, 4.5, "tanh"))
            for second in species[e:]:
                if (c + e) % 2:
                    rows += [G4(center, first, second, 0.02, 1.0, lam, 4.5, cutoff="tanh") for lam in (1.0, -1.0)]
                elif first != second:
                    rows.append(G4(center, first, second, 0.06, 2.5, -1.0, 4.0, rs=0.5))
        rows += [WG2(center, 0.3, 1.0, 4.0), C4(center, species[0], species[c], 0.5, 3.5, 60.0, 150.0)]
    rows.append(WG4(species[0], 0.02, 3.0, 1.0, 4.5, cutoff="tanh"))
    return SymmetryFunctions.from_functions(rows)


def structure(name, species=SPECIES, seed=1):
    random, cell = np.random.default_rng(seed), CELLS[name]
    n = max(2, int(abs(np.linalg.det(cell)) / 12.0))
    grid = np.stack(np.meshgrid(*[np.arange(5)] * 3), axis=-1).reshape(-1, 3)[random.permutation(125)[:n]] / 5.0
    symbols = [species[0]] * (n // 3) + list(random.choice(species, n - n // 3))
    return Atoms(symbols, (grid + 0.06 * random.random((n, 3))) @ cell, cell=cell, pbc=name != "large")


def part_of(functions, machine):
    (plan, matrices), (wide, _) = make_plans(functions.functions, functions.numbers, functions.numbers, machine)
    assert wide is None
    plan = table_plan(plan)
    width = (plan.width + LANES - 1) // LANES * LANES
    return Part(table_triangles, plan, matrices, *table_triangles.rooms(plan), width)


def both(functions, atoms, machine):
    """Plain and fast descriptors, and a function that brings blocks of the plain ones into the order of the others."""
    plain = functions.describe(Pairs.from_atoms(atoms, functions.cutoff))
    pairs = PackedPairs.from_atoms(atoms, functions.cutoff, functions.numbers, half=True, full=False)
    fast = PackedDescriptors.of(pairs, (part_of(functions, machine), None), functions.table.n_functions)

    def sort(blocks):
        orders = [np.searchsorted(b, a) for a, b in zip(fast.layout.atoms_e, plain.layout.atoms_e, strict=True)]
        return [block[order] for block, order in zip(blocks, orders, strict=True)]

    return plain, fast, sort


def assert_close(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12 * max(np.abs(x).max(initial=0.0) for x in expected))


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: f"{machine.lanes} lanes")
@pytest.mark.parametrize("name", CELLS)
def test_all_verbs_agree_with_the_plain_kernels(name, machine):
    plain, fast, sort = both(mixed(), structure(name), machine)
    random = np.random.default_rng(2)
    dE_dG = [random.normal(size=block.shape) for block in plain.values]
    assert_close(fast.values, sort(plain.values))
    forces, virial = fast.forces(sort(dE_dG))
    assert_close([forces], [plain.forces(dE_dG)[0]])
    assert_close([virial], [plain.forces(dE_dG)[1]])
    x_dot, strain_dot = random.normal(size=forces.shape), random.normal(size=virial.shape)
    tangents = fast.tangents(x_dot, strain_dot)
    assert_close(tangents, sort(plain.tangents(x_dot, strain_dot)))
    products = np.concatenate([(a * b).ravel() for a, b in zip(tangents, sort(dE_dG), strict=True)])
    assert abs(products.sum() + (forces * x_dot).sum() - (virial * strain_dot).sum()) < 1e-13 * np.abs(products).sum()


@pytest.mark.skipif(not HERE.lanes, reason=HERE.reason)
@pytest.mark.parametrize("kinds", ["radial", "angular"])
def test_one_kind_of_function_alone(kinds):
    """Windows of triangles are computed where there are no radial functions, and the other way around."""
    everything = mixed(("H", "O"))
    rows = everything.functions[[(kind[-1] == "2") == (kinds == "radial") for kind in everything.functions["kind"]]]
    functions = SymmetryFunctions.from_functions(rows)
    plain, fast, sort = both(functions, structure("left-handed", ("H", "O")), MACHINES[-1])
    assert_close(fast.values, sort(plain.values))
    assert_close([fast.forces(sort(plain.values))[0]], [plain.forces(plain.values)[0]])


def test_machine_code_depends_on_the_slots_only():
    machine, few, many = Machine(8, True, ""), ("H", "O"), SPECIES

    def usual(species, eta):
        functions = SymmetryFunctions(species, 6.0, [[0.0, 0.0], [0.1, 0.0]], [[eta, 2.0, 1.0]])
        return table_plan(make_plans(functions.functions, functions.numbers, functions.numbers, machine)[0][0])

    assert usual(few, 0.01).slots == usual(many, 0.01).slots
    assert usual(few, 0.01).slots.digest != usual(few, 0.02).slots.digest
    slots, tables, _ = usual(many, 0.01)
    assert (len(slots.pairs), len(slots.triangles)) == (2, 1)
    # the column of the corner H between C and O
    place, place_exchanged = 1 * 6 + 3, 3 * 6 + 1
    columns = [tables.triangles.column[tables.triangles.begin[p]] for p in (place, place_exchanged)]
    assert columns[0] == columns[1]


def test_flags_take_as_many_words_as_needed():
    rows = flags(list(range(2 * BITS)), [{0, BITS - 1}, {BITS + 3}])
    assert rows.tolist() == [[1 | 1 << BITS - 1, 0, 0], [0, 8, 0]]

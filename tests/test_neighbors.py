"""The neighbor list against brute force, ASE and matscipy, in cells that hurt."""

import itertools

import ase.neighborlist
import numpy as np
import pytest
import reference
from ase import Atoms

from bpnumba.kernels import neighbors
from bpnumba.kernels.neighbors import neighbor_list

CUTOFF = 2.0
PERIODIC, OPEN = [True] * 3, [False] * 3
ALL_PBC = list(itertools.product([False, True], repeat=3))


def random_cell(random, edge, handed=1):
    """A triclinic cell with edges up to sqrt(3) `edge`, not flatter than 0.3; left-handed for handed = -1."""
    while True:
        cell = edge * random.uniform(-1, 1, (3, 3))
        if handed * np.linalg.det(cell) > 0.3 * np.linalg.norm(cell, axis=1).prod():
            return cell


def assert_same_pairs(found, expected):
    """Two lists (i, j, shift, r) are equal, pair by pair."""
    for name, ours, theirs in zip(("i_p", "j_p", "shift_pc"), found, expected, strict=False):
        np.testing.assert_array_equal(ours, theirs, err_msg=name)
    np.testing.assert_allclose(found[3], expected[3], rtol=0, atol=1e-12)


def brute_force(positions, cell, pbc, cutoff):
    pairs = reference.neighbors(np.asarray(positions).tolist(), np.asarray(cell).tolist(), pbc, cutoff)
    columns = zip(*pairs, strict=True) if pairs else [[]] * 4
    i_p, j_p, shift_pc, r_pc = map(np.array, columns)
    return i_p, j_p, shift_pc.reshape(-1, 3), r_pc.reshape(-1, 3)


def in_order(i_p, j_p, shift_pc, r_pc):
    """Another list in the order of ours: i, j, shift."""
    order = np.lexsort((*shift_pc.T[::-1], j_p, i_p))
    return i_p[order], j_p[order], shift_pc[order], r_pc[order]


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize(("edge", "n"), [(0.5, 1), (0.8, 2), (1.5, 4), (5.0, 8)])
def test_brute_force(pbc, handed, edge, n):
    """Any periodicity, triclinic cells of both hands, smaller and larger than the cutoff, atoms inside and outside."""
    random = np.random.default_rng([n, handed + 1, *pbc])
    cell = random_cell(random, edge, handed)
    positions = random.uniform(-0.7, 1.7, (n, 3)) @ cell
    assert_same_pairs(neighbor_list(positions, cell, pbc, CUTOFF), brute_force(positions, cell, pbc, CUTOFF))


@pytest.mark.parametrize("edges", [(0.2, 5, 5), (5, 0.2, 5), (5, 5, 0.2), (0.67, 0.2, 5), (0.3, 0.2, 0.4)])
def test_cell_of_a_tenth_of_the_cutoff(edges):
    """One atom among its own images."""
    cell = np.diag(edges) @ [[1.0, 0.2, 0.0], [-0.3, 1.0, 0.1], [0.1, 0.2, 1.0]]
    found = neighbor_list([[0.3, -0.1, 7.0]], cell, PERIODIC, CUTOFF)
    assert_same_pairs(found, brute_force([[0.3, -0.1, 7.0]], cell, PERIODIC, CUTOFF))


def test_many_images():
    """Integer points inside a sphere of radius 20: 33401 (OEIS A000605) less 30 on its surface and the atom itself."""
    i_p, *_ = neighbor_list([[0.0, 0.0, 0.0]], 0.125 * np.eye(3), PERIODIC, 20 * 0.125)
    assert len(i_p) == 33401 - 30 - 1


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
def test_strongly_sheared_cell(axes):
    """The same lattice by other vectors: the same pairs, shifts translated."""
    random = np.random.default_rng(3)
    compact = random_cell(random, 1.5)
    vectors = np.array([[1, 0, 0], [11, 1, 0], [-6, 7, 1]])[list(axes)]
    positions = random.uniform(-2, 2, (3, 3))
    i_p, j_p, shift_pc, r_pc = neighbor_list(positions, vectors @ compact, PERIODIC, CUTOFF)
    assert_same_pairs(in_order(i_p, j_p, shift_pc @ vectors, r_pc), neighbor_list(positions, compact, PERIODIC, CUTOFF))


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize(("edge", "n"), [(2.0, 7), (8.0, 200)])
def test_ase(pbc, edge, n):
    """Many bins; positions as given, not wrapped."""
    random = np.random.default_rng([n, *pbc])
    cell = random_cell(random, edge)
    atoms = Atoms(n * "H", random.uniform(-0.2, 1.2, (n, 3)) @ cell, cell=cell, pbc=pbc)
    i_p, j_p, shift_pc, distance_p = ase.neighborlist.neighbor_list("ijSd", atoms, CUTOFF)
    r_pc = atoms.positions[j_p] - atoms.positions[i_p] + shift_pc @ cell
    np.testing.assert_allclose(np.linalg.norm(r_pc, axis=1), distance_p, rtol=0, atol=1e-12)
    assert_same_pairs(neighbor_list(atoms.positions, cell, pbc, CUTOFF), in_order(i_p, j_p, shift_pc, r_pc))


@pytest.mark.parametrize("pbc", ALL_PBC)
@pytest.mark.parametrize(("edge", "n"), [(2.0, 7), (8.0, 200)])
def test_matscipy(pbc, edge, n):
    matscipy = pytest.importorskip("matscipy.neighbours")
    random = np.random.default_rng([n, *pbc])
    cell = random_cell(random, edge)
    atoms = Atoms(n * "H", random.uniform(0, 1, (n, 3)) @ cell, cell=cell, pbc=pbc)
    expected = in_order(*matscipy.neighbour_list("ijSD", atoms, CUTOFF))
    assert_same_pairs(neighbor_list(atoms.positions, cell, pbc, CUTOFF), expected)


def test_vectors_belong_to_the_positions_as_given():
    random = np.random.default_rng(5)
    cell = random_cell(random, 4.0)
    positions = random.uniform(-20, 20, (30, 3)) @ cell
    i_p, j_p, shift_pc, r_pc = neighbor_list(positions, cell, PERIODIC, CUTOFF)
    assert np.abs(shift_pc).max() > 10
    np.testing.assert_allclose(positions[j_p] + shift_pc @ cell - positions[i_p], r_pc, rtol=0, atol=1e-12)


def test_reverse_pairs_are_exactly_opposite():
    random = np.random.default_rng(6)
    cell = random_cell(random, 4.0)
    i_p, j_p, shift_pc, r_pc = neighbor_list(random.uniform(-2, 2, (40, 3)) @ cell, cell, [True, False, True], CUTOFF)
    reverse = in_order(j_p, i_p, -shift_pc, -r_pc)
    for ours, theirs in zip((i_p, j_p, shift_pc, r_pc), reverse, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_permutation():
    random = np.random.default_rng(7)
    cell = random_cell(random, 3.0)
    positions = random.uniform(-1, 2, (50, 3)) @ cell
    order = random.permutation(50)
    expected = neighbor_list(positions, cell, PERIODIC, CUTOFF)
    i_p, j_p, shift_pc, r_pc = neighbor_list(positions[order], cell, PERIODIC, CUTOFF)
    assert_same_pairs(in_order(order[i_p], order[j_p], shift_pc, r_pc), expected)


def test_the_cutoff_itself_is_outside():
    cubic = np.eye(3)
    assert len(neighbor_list([[0.5, 0.5, 0.5]], cubic, PERIODIC, 1.0)[0]) == 0
    assert len(neighbor_list([[0.5, 0.5, 0.5]], cubic, PERIODIC, np.nextafter(1.0, 2.0))[0]) == 6


@pytest.mark.parametrize("pbc", [PERIODIC, [False, True, False], OPEN])
def test_no_atoms(pbc):
    i_p, j_p, shift_pc, r_pc = neighbor_list(np.empty((0, 3)), np.eye(3), pbc, CUTOFF)
    assert i_p.shape == j_p.shape == (0,)
    assert shift_pc.shape == r_pc.shape == (0, 3)


def test_atoms_at_one_place_are_a_pair():
    """Also across a face of the cell; only an atom itself is left out."""
    for other in ([0.0, 0.0, 0.0], [3.0, 0.0, 0.0], [0.0, -3.0, 6.0]):
        i_p, j_p, _, r_pc = neighbor_list([[0.0, 0.0, 0.0], other], 3 * np.eye(3), PERIODIC, CUTOFF)
        assert (i_p.tolist(), j_p.tolist()) == ([0, 1], [1, 0])
        np.testing.assert_array_equal(r_pc, 0.0)


def test_everything_in_one_bin():
    """Nothing is truncated, however dense."""
    positions = np.random.default_rng(8).uniform(0, 0.1, (300, 3))
    assert len(neighbor_list(positions, np.zeros((3, 3)), OPEN, CUTOFF)[0]) == 300 * 299


@pytest.mark.parametrize("pbc", ALL_PBC)
def test_open_directions_need_no_cell(pbc):
    """Their cell vectors are not even read."""
    random = np.random.default_rng([9, *pbc])
    cell = random_cell(random, 4.0)
    positions = random.uniform(-1, 2, (20, 3)) @ cell
    expected = neighbor_list(positions, cell, pbc, CUTOFF)
    for filling in (0.0, np.nan):
        other = np.where(np.array(pbc)[:, None], cell, filling)
        assert_same_pairs(neighbor_list(positions, other, pbc, CUTOFF), expected)


@pytest.mark.parametrize("pbc", [OPEN, [False, True, False]])
def test_far_fragments(pbc):
    """Distance costs neither memory nor time: fragments see the bins that they would see side by side."""
    random = np.random.default_rng(10)
    cell, fragment = 5 * np.eye(3), 3e4 + random.uniform(0, 5, (100, 3))
    positions = np.concatenate([fragment, fragment + np.array([1e6, 0, 1e7]), [[-1e8, 3.0, 0.0]]])
    i_p, j_p, _, r_pc = neighbor_list(positions, cell, pbc, CUTOFF)
    one = neighbor_list(fragment, cell, pbc, CUTOFF)
    np.testing.assert_array_equal(i_p[j_p < 200], np.concatenate([one[0], one[0] + 100]))
    np.testing.assert_allclose(r_pc[j_p < 100], one[3], rtol=0, atol=1e-12)
    assert (i_p == 200).sum() == (2 * int(CUTOFF // 5) if pbc[1] else 0)

    grid = neighbors.sort_into_bins(positions, neighbors.complete_cell(cell, np.array(pbc)), np.array(pbc), CUTOFF)
    assert grid.bins.prod() <= neighbors.BINS_PER_ATOM * (len(positions) + 8)
    assert np.diff(grid.starts).max() < 20  # atoms in a bin


def test_long_chain():
    """A chain along the diagonal of its box: few bins, and every bond found."""
    positions = np.arange(2000)[:, None] * np.array([1.1, 1.0, -0.9])
    i_p, j_p, _, _ = neighbor_list(positions, np.zeros((3, 3)), OPEN, CUTOFF)
    np.testing.assert_array_equal(np.abs(j_p - i_p), 1)
    assert len(i_p) == 2 * 1999


@pytest.mark.parametrize("n", [1, 2, 40])
def test_kinds_of_input(n):
    """Integers, float32, Fortran order and strides: the same list, in the promised types."""
    positions = np.random.default_rng(11).permutation(64)[:n, None] // np.array([1, 4, 16]) % 4
    cell = np.array([[4, 0, 0], [1, 4, 0], [0, 0, -4]])
    expected = neighbor_list(positions.astype(float), cell.astype(float), PERIODIC, CUTOFF)
    spread = np.zeros((2 * n, 6))
    spread[::2, ::2] = positions
    for same in (positions, positions.astype(np.float32), np.asfortranarray(positions, float), spread[::2, ::2],
                 positions.tolist()):  # fmt: skip
        found = neighbor_list(same, np.asfortranarray(cell), (1, 1, 1), int(CUTOFF))
        assert_same_pairs(found, expected)
        assert [array.dtype for array in found] == [np.int32, np.int32, np.int32, np.float64]
        assert all(array.flags.c_contiguous for array in found)


def test_input_is_left_alone():
    positions, cell = np.array([[9.0, -9.0, 0.5]]), np.zeros((3, 3))
    neighbor_list(positions, cell, OPEN, CUTOFF)
    assert positions.tolist() == [[9.0, -9.0, 0.5]]
    assert not cell.any()

"""Packed lists against the plain list: the same pairs, each triangle once, forces and their transpose, small moves."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from bpnumba.kernels import packed as kernels
from bpnumba.kernels.gradients import gather, scatter
from bpnumba.kernels.packed import FAR, LANES
from bpnumba.packed_pairs import PackedPairs, VerletList, compact
from bpnumba.pairs import SAME_PLACE, Pairs

CUTOFF = 4.2
SHORT = 2.9  # for triangles
NUMBERS = (1, 6, 8)
CELL = np.array([[2.9, 0.2, 0.4], [0.5, 3.3, -0.3], [0.6, -0.7, 3.1]])


def crystal(repeats=(3, 3, 3), seed=0):
    """A disordered crystal of three elements, atoms up to a cell outside."""
    random = np.random.default_rng(seed)
    atoms = bulk("C", cubic=True) * repeats
    atoms.numbers[:] = random.choice(NUMBERS, len(atoms))
    atoms.rattle(0.1, seed=seed)
    atoms.positions += random.integers(-1, 2, (len(atoms), 3)) @ atoms.cell.array
    return atoms


def batch_of(systems):
    return [*systems.values(), Atoms(), molecule("CH3CH2OH"), crystal((1, 1, 2))]


def pullback(pairs, dE_dr, map=map):
    """Forces and virial from the gradients of half and full list, chunk by chunk."""
    forces_qc, virial_mcc = np.zeros((pairs.n_atoms, 3)), np.zeros((pairs.n_structures, 3, 3))
    lists = (pairs.half, pairs.half_chunks), (pairs.full, pairs.full_chunks)
    for (packed, chunks), gradient in zip(lists, dE_dr, strict=True):
        if gradient is None:
            continue

        def of_chunk(chunk, packed=packed, gradient=gradient):
            forces, virial = np.zeros((pairs.n_atoms, 3)), np.zeros((pairs.n_structures, 3, 3))
            if chunk.last > chunk.first:
                rest = tuple(g[packed.begin_qe[chunk.first, 0] :] for g in gradient)
                scatter(packed, rest, chunk.first, chunk.last, pairs.structure_q, forces, virial)
            return forces, virial

        for chunk, (forces, virial) in zip(chunks, map(of_chunk, chunks), strict=True):
            virial_mcc += virial
            untouched = np.ones(len(forces), bool)
            for rows in chunk.arcs(pairs.n_atoms):
                forces_qc[rows] += forces[rows]
                untouched[rows] = False
            assert not forces[untouched].any()
    forces_ac = np.empty_like(forces_qc)
    forces_ac[pairs.order] = forces_qc
    return forces_ac, virial_mcc


def pushforward(pairs, x_dot_ac, strain_dot_mcc, map=map):
    """Tangents of the pair vectors of half and full list, chunk by chunk."""

    def of_list(packed, chunks):
        if packed is None:
            return None
        r_dot = tuple(np.empty_like(x) for x in packed[-3:])

        def of_chunk(chunk):
            if chunk.last > chunk.first:
                rest = tuple(x[packed.begin_qe[chunk.first, 0] :] for x in r_dot)
                gather(packed, rest, chunk.first, chunk.last, pairs.structure_q, x_dot_ac[pairs.order], strain_dot_mcc)

        list(map(of_chunk, chunks))
        return r_dot

    return of_list(pairs.half, pairs.half_chunks), of_list(pairs.full, pairs.full_chunks)


def pairs_of(packed, order):
    """Center, neighbor and vector of every pair, in the caller's order of atoms; checks fillings on the way."""
    i_p, place_p = [], []
    n = len(packed.element_q)
    vectors = np.stack(packed[4:], axis=1)
    for q, (begin_e, count_e) in enumerate(zip(packed.begin_qe, packed.count_qe, strict=True)):
        fillings = []
        for e, (begin, count) in enumerate(zip(begin_e, count_e, strict=True)):
            assert begin % LANES == 0
            real, end = slice(begin, begin + count), -(-(begin + count) // LANES) * LANES
            assert (packed.element_q[packed.neighbor[real]] == e).all()
            assert (packed.neighbor[begin + count : end] == n).all()
            fillings.extend(vectors[begin + count : end])
            i_p += [q] * count
            place_p += range(begin, begin + count)
        for f, g in itertools.combinations([np.zeros(3), *fillings], 2):
            assert np.linalg.norm(f - g) >= FAR
    i_p, place_p = np.array(i_p, int), np.array(place_p, int)
    return order[i_p], order[packed.neighbor[place_p]], vectors[place_p]


def sorted_pairs(i_p, j_p, r_pc):
    """In one order, for comparison; rounding of vectors does not matter."""
    order = np.lexsort((*np.round(r_pc, 6).T, j_p, i_p))
    return i_p[order], j_p[order], r_pc[order]


def assert_same_pairs(found, expected, atol=1e-12):
    for ours, theirs in zip(sorted_pairs(*found), sorted_pairs(*expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


def mirrored(i_p, j_p, r_pc):
    return np.concatenate([i_p, j_p]), np.concatenate([j_p, i_p]), np.concatenate([r_pc, -r_pc])


def assert_lists_of(packed, plain):
    """Half list with its mirror image, and full list: those of Pairs."""
    expected = plain.i_p, plain.j_p, plain.r_pc
    assert_same_pairs(pairs_of(packed.full, packed.order), expected)
    half = pairs_of(packed.half, packed.order)
    assert 2 * len(half[0]) == len(plain.i_p)
    assert_same_pairs(mirrored(*half), expected)


def triangles(i_p, j_p, r_pc, cutoff):
    """What a half list sees: corners i, j, k with all edges within the cutoff; a sorted list of comparable rows.

    A row is (atom, atom, atom) and edges (two vectors), from the corner that makes it smallest: the same for any corner
    that saw the triangle.
    """
    rows = []
    for i in np.unique(i_p):
        of_i = np.flatnonzero(i_p == i)
        for p, q in itertools.combinations(of_i, 2):
            if np.linalg.norm(r_pc[q] - r_pc[p]) < cutoff:
                rows.append(canonical((i, j_p[p], j_p[q]), np.array([np.zeros(3), r_pc[p], r_pc[q]])))
    return sorted(rows)


def canonical(atoms, places):
    """One name for a triangle, whichever corner it is seen from and wherever it lies."""
    choices = []
    for a, b, c in itertools.permutations(range(3)):
        edges = np.concatenate([places[b] - places[a], places[c] - places[a]])
        choices.append((atoms[a], atoms[b], atoms[c], *(np.round(edges, 5) + 0.0).tolist()))
    return min(choices)


# ---- lists ----


def test_pairs(atoms):
    packed = PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, True, True)
    assert_lists_of(packed, Pairs.from_atoms(atoms, CUTOFF))


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("handed", [1, -1])
@pytest.mark.parametrize(("scale", "n"), [(0.5, 1), (0.5, 3), (2.0, 30), (5.0, 300)])
def test_any_cell_and_periodicity(pbc, handed, scale, n):
    random = np.random.default_rng([n, handed + 1, *pbc])
    cell = scale * CELL @ np.diag([1.0, 1.0, handed])
    atoms = Atoms(random.choice(NUMBERS, n), random.uniform(-0.7, 1.7, (n, 3)) @ cell, cell=cell, pbc=pbc)
    assert_lists_of(PackedPairs.from_atoms(atoms, 3.0, NUMBERS, True, True), Pairs.from_atoms(atoms, 3.0))


def test_exactly_the_vectors_of_the_plain_list():
    """Sums of the same numbers in the same order: pairs at the cutoff are decided alike, forwards and backwards."""
    atoms = crystal()
    expected = Pairs.from_atoms(atoms, CUTOFF)
    packed = PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, False, True)
    found = sorted_pairs(*pairs_of(packed.full, packed.order))
    for ours, theirs in zip(found, sorted_pairs(expected.i_p, expected.j_p, expected.r_pc), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_cutoff_itself_is_outside():
    atoms = Atoms("C", [[0.5, 0.5, 0.5]], cell=np.eye(3), pbc=True)
    for cutoff, count in ((1.0, 0), (np.nextafter(1.0, 2.0), 6)):
        packed = PackedPairs.from_atoms(atoms, cutoff, NUMBERS, True, True)
        assert (packed.half.count_qe.sum(), packed.full.count_qe.sum()) == (count // 2, count)


@pytest.mark.parametrize("axis", range(3))
def test_a_very_low_cell(axis):
    """Half an Angstrom against a cutoff of 6: more images than four or eight bits count, on each axis."""
    edges = np.full(3, 5.0)
    edges[axis] = 0.5
    atoms = Atoms("CO", [[0.3, -0.1, 7.0], [1.3, 2.4, 5.1]], cell=np.diag(edges) @ (np.eye(3) + 0.05 * CELL), pbc=True)
    assert_lists_of(PackedPairs.from_atoms(atoms, 6.0, NUMBERS, True, True), Pairs.from_atoms(atoms, 6.0))


def test_many_images():
    """Integer points inside a sphere of radius 20, as in tests/test_neighbors.py."""
    atoms = Atoms("C", cell=0.5 * np.eye(3), pbc=True)
    packed = PackedPairs.from_atoms(atoms, 20 * 0.5, NUMBERS, True, True)
    assert packed.full.count_qe.sum() == 2 * packed.half.count_qe.sum() == 33401 - 30 - 1


def test_a_strongly_sheared_cell_is_replaced():
    """The same lattice by other vectors: the list is that of the compact cell."""
    random = np.random.default_rng(3)
    compact_cell, positions = 0.8 * CELL, random.uniform(-2, 2, (3, 3))
    cell = np.array([[1, 0, 0], [11, 1, 0], [-6, 7, 1]]) @ compact_cell
    atoms = Atoms("CHO", positions, cell=cell, pbc=True)
    assert np.abs(compact(atoms, CUTOFF)).max() < np.abs(cell).max() / 5
    assert_lists_of(PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, True, True), Pairs.from_atoms(atoms, CUTOFF))
    wire = Atoms("CHO", positions, cell=cell, pbc=[True, True, False])
    assert_lists_of(PackedPairs.from_atoms(wire, CUTOFF, NUMBERS, True, True), Pairs.from_atoms(wire, CUTOFF))


def test_batch(systems):
    frames = batch_of(systems)
    packed, plain = PackedPairs.from_atoms(frames, CUTOFF, NUMBERS, True, True), Pairs.from_atoms(frames, CUTOFF)
    assert_lists_of(packed, plain)
    assert (packed.n_centers, packed.n_atoms, packed.n_structures) == (plain.n_centers, plain.n_atoms, len(frames))
    for name in ("number_a", "structure_a", "volume_m"):
        np.testing.assert_array_equal(getattr(packed, name), getattr(plain, name))
    np.testing.assert_array_equal(packed.structure_q, packed.structure_a[packed.order])
    assert [packed.named(a) for a in range(20)] == [plain.named(a) for a in range(20)]


def test_types(atoms):
    packed = PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, True, True)
    for one in (packed.half, packed.full):
        assert one.element_q.dtype == one.begin_qe.dtype == one.count_qe.dtype == np.int64
        assert one.neighbor.dtype == np.int32
        assert all(x.dtype == np.float64 and x.ctypes.data % 64 == 0 and x.flags.c_contiguous for x in one[4:])


def test_neighbors_of_other_elements_are_not_asked_for():
    """Elements that no atom has leave empty groups."""
    packed = PackedPairs.from_atoms(molecule("H2O"), CUTOFF, (1, 3, 6, 8), True, False).half
    assert packed.count_qe[:, [1, 2]].sum() == 0
    assert packed.count_qe.sum() == 3


@pytest.mark.parametrize("half", [True, False])
def test_too_little_room(half, monkeypatch):
    """Searching counts on where room ends, and is repeated with enough."""
    atoms = crystal()
    expected = PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, half, not half)
    tried = []

    def small(*arguments):
        bins = sort_entries(*arguments)
        return bins._replace(expected=0.0)

    def search(*arguments):
        tried.append(arguments[-2:])
        return find_chunk(*arguments)

    sort_entries, find_chunk = kernels.sort_entries, kernels.find_chunk
    monkeypatch.setattr("bpnumba.packed_pairs.sort_entries", small)
    monkeypatch.setattr(kernels, "find_chunk", search)
    found = PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, half, not half)
    assert len(tried) == 2
    one, other = (pairs.half or pairs.full for pairs in (found, expected))
    assert_same_pairs(pairs_of(one, found.order), pairs_of(other, expected.order), atol=0)


# ---- each triangle once ----


def test_triangles(atoms):
    """Every triangle of the full list, which has each three times, is seen from one corner of the half list."""
    packed = PackedPairs.from_atoms(atoms, SHORT, NUMBERS, True, False)
    plain = Pairs.from_atoms(atoms, SHORT)
    found = triangles(*pairs_of(packed.half, packed.order), SHORT)
    expected = triangles(plain.i_p, plain.j_p, plain.r_pc, SHORT)
    assert [row for row in found for _ in range(3)] == expected


def test_triangles_of_packed_plain_lists(atoms):
    plain = Pairs.from_atoms(atoms, SHORT)
    packed = PackedPairs.from_pairs(plain, NUMBERS, True, True)
    found = triangles(*pairs_of(packed.half, packed.order), SHORT)
    assert [row for row in found for _ in range(3)] == triangles(plain.i_p, plain.j_p, plain.r_pc, SHORT)


def with_ghosts(atoms, cutoff):
    """The structure as a cluster: images of atoms are atoms of their own; also which atom each one is."""
    pairs = Pairs.from_atoms(atoms, cutoff)
    images = sorted({(j, *shift) for j, shift in zip(pairs.j_p.tolist(), pairs.shift_pc.tolist(), strict=True)
                     if any(shift)})  # fmt: skip
    owner_a = np.array([*range(len(atoms)), *(j for j, *_ in images)])
    place = {image: len(atoms) + n for n, image in enumerate(images)}
    j_p = [place.get((j, *shift), j) for j, shift in zip(pairs.j_p.tolist(), pairs.shift_pc.tolist(), strict=True)]
    return Pairs.from_arrays(pairs.i_p, j_p, pairs.r_pc, atoms.numbers[owner_a], len(atoms)), owner_a


def test_triangles_with_ghosts(atoms):
    """Each triangle that has a center among its corners, once; it may have one, two or three."""
    ghosts, _ = with_ghosts(atoms, SHORT)
    packed = PackedPairs.from_pairs(ghosts, NUMBERS, True, False)
    assert packed.half.begin_qe.shape == (len(atoms), len(NUMBERS))
    expected = set(triangles(ghosts.i_p, ghosts.j_p, ghosts.r_pc, SHORT))  # once for each center
    assert triangles(*pairs_of(packed.half, packed.order), SHORT) == sorted(expected)


# ---- plain lists, packed ----


def test_packed_plain_list(atoms):
    plain = Pairs.from_atoms(atoms, CUTOFF)
    packed = PackedPairs.from_pairs(plain, NUMBERS, True, True)
    assert_lists_of(packed, plain)
    for one, pair in ((packed.half, packed.half_pair), (packed.full, packed.full_pair)):
        real = np.flatnonzero(one.neighbor < plain.n_atoms)
        real = real[pair[real] >= 0]
        np.testing.assert_array_equal(np.stack(one[4:], axis=1)[real], plain.r_pc[pair[real]])
        np.testing.assert_array_equal(one.neighbor[real], plain.j_p[pair[real]])
        assert len(real) == one.count_qe.sum()


def test_packed_batch(systems):
    plain = Pairs.from_atoms(batch_of(systems), CUTOFF)
    assert_lists_of(PackedPairs.from_pairs(plain, NUMBERS, True, True), plain)


# ---- forces and virial ----


def tangents(pairs, seed):
    """Random motion of atoms and strain, which is not symmetric."""
    random = np.random.default_rng(seed)
    return random.normal(size=(pairs.n_atoms, 3)), random.normal(size=(pairs.n_structures, 3, 3))


def gradients(packed, seed):
    """Random numbers for every place of a list; nonsense where there is no pair."""
    random = np.random.default_rng(seed)
    return tuple(random.normal(size=len(packed.x)) for _ in range(3))


def real_places(packed):
    groups = zip(packed.begin_qe.ravel(), packed.count_qe.ravel(), strict=True)
    return np.concatenate([np.arange(begin, begin + count) for begin, count in groups] + [[]]).astype(int)


@pytest.mark.parametrize("which", ["half", "full", "both"])
def test_adjoint_identity(systems, which):
    """<r_dot, g> = -<x_dot, forces> + <strain_dot, virial>."""
    for atoms in (*systems.values(), batch_of(systems), crystal((4, 4, 5))):
        packed = PackedPairs.from_atoms(atoms, CUTOFF, NUMBERS, which != "full", which != "half")
        x_dot_ac, strain_dot_mcc = tangents(packed, 1)
        lists = packed.half, packed.full
        dE_dr = tuple(one and gradients(one, 2) for one in lists)
        forces_ac, virial_mcc = pullback(packed, dE_dr)
        left = 0.0
        for one, g, r_dot in zip(lists, dE_dr, pushforward(packed, x_dot_ac, strain_dot_mcc), strict=True):
            if one is not None:
                at = real_places(one)
                left += sum(np.sum(g[c][at] * r_dot[c][at]) for c in range(3))
        right = np.sum(strain_dot_mcc * virial_mcc) - np.sum(x_dot_ac * forces_ac)
        assert left == pytest.approx(right, rel=1e-11, abs=1e-9)


@pytest.mark.parametrize("wanted", [(True, False), (False, True), (True, True)])
def test_forces_and_motion_of_the_plain_list(systems, wanted):
    """A half list gets the gradient of both directions of a pair; with both lists each may carry a share."""
    for frames in (*systems.values(), batch_of(systems)):
        plain = Pairs.from_atoms(frames, CUTOFF)
        packed = PackedPairs.from_pairs(plain, NUMBERS, *wanted)
        random = np.random.default_rng(2)
        share_p = random.normal(size=(2, *plain.r_pc.shape))
        ids = zip(plain.i_p.tolist(), plain.j_p.tolist(), plain.shift_pc.tolist(), strict=True)
        by_pair = {(i, j, *shift): p for p, (i, j, shift) in enumerate(ids)}
        back = [(j, i, *(-np.array(shift)).tolist()) for i, j, *shift in by_pair]
        reverse_p = np.array([by_pair[key] for key in back], int)
        g_half, g_full = share_p[0] - share_p[0][reverse_p], share_p[1]
        dE_dr, total = [], np.zeros_like(plain.r_pc)
        for one, pair, g_pc, share in ((packed.half, packed.half_pair, g_half, share_p[0]),
                                       (packed.full, packed.full_pair, g_full, share_p[1])):  # fmt: skip
            if one is None:
                dE_dr.append(None)
                continue
            total += share
            dE_dr.append(tuple(np.where(pair < 0, np.nan, g_pc[pair, c]) for c in range(3)))
        expected, found = plain.pullback(total), pullback(packed, tuple(dE_dr))
        np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-11)
        np.testing.assert_allclose(found[1], expected[1], rtol=0, atol=1e-10)

        motion = tangents(plain, 3)
        expected = plain.pushforward(*motion)
        for part, pair in zip(pushforward(packed, *motion), (packed.half_pair, packed.full_pair), strict=True):
            if part is None:
                assert pair is None
            else:
                ours = np.stack(part, axis=1)
                np.testing.assert_allclose(ours[pair >= 0], expected[pair[pair >= 0]], rtol=0, atol=1e-12)
                assert (ours[pair < 0] == 0).all()


def test_forces_in_the_callers_order(systems):
    """A spring between neighbors, E = sum over pairs of r^2 / 2."""
    frames = batch_of(systems)
    plain = Pairs.from_atoms(frames, CUTOFF)
    forces_ac, virial_mcc = plain.pullback(plain.r_pc / 2)
    packed = PackedPairs.from_atoms(frames, CUTOFF, NUMBERS, True, True)
    for dE_dr in ((packed.half[4:], None), (None, tuple(x / 2 for x in packed.full[4:]))):
        found = pullback(packed, dE_dr)
        np.testing.assert_allclose(found[0], forces_ac, rtol=0, atol=1e-10)
        np.testing.assert_allclose(found[1], virial_mcc, rtol=0, atol=1e-10)


def test_ghosts_have_forces_of_their_own():
    atoms = Atoms("CHO", np.random.default_rng(4).uniform(0, 1, (3, 3)) @ CELL, cell=CELL, pbc=True)
    ghosts, owner_a = with_ghosts(atoms, CUTOFF)
    packed = PackedPairs.from_pairs(ghosts, NUMBERS, False, True)
    g_pc = np.random.default_rng(5).normal(size=ghosts.r_pc.shape)
    found = pullback(packed, (None, tuple(g_pc[packed.full_pair].T.copy())))
    for ours, theirs in zip(found, ghosts.pullback(g_pc), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-11)
    assert (len(found[0]), packed.n_centers) == (len(owner_a), 3)


# ---- chunks and threads ----


def test_chunks_cover_what_their_pairs_touch():
    """Of a long bar a chunk touches a slab."""
    packed = PackedPairs.from_atoms(crystal((40, 2, 2)), CUTOFF, NUMBERS, True, True)
    n = packed.n_atoms
    for one, chunks in ((packed.half, packed.half_chunks), (packed.full, packed.full_chunks)):
        assert [chunk.first for chunk in chunks[1:]] == [chunk.last for chunk in chunks[:-1]]
        assert (len(chunks), chunks[0].first, chunks[-1].last) == (n // 256, 0, n)
        for chunk in chunks:
            begin, count = one.begin_qe[chunk.first : chunk.last], one.count_qe[chunk.first : chunk.last]
            neighbors = [one.neighbor[b : b + c] for b, c in zip(begin.ravel(), count.ravel(), strict=True)]
            touched = np.unique(np.concatenate([np.arange(chunk.first, chunk.last), *neighbors]))
            rows = (touched - chunk.start) % n
            assert rows.min() == 0
            assert rows.max() == chunk.rows - 1
            assert chunk.rows < n / 2


def test_chunks_of_a_batch():
    """Between the pairs of two structures there may be room without meaning."""
    frames = [crystal((3, 3, 2), seed) for seed in range(8)]
    packed = PackedPairs.from_atoms(frames, CUTOFF, NUMBERS, True, True)
    n = packed.n_atoms
    for one, chunks in ((packed.half, packed.half_chunks), (packed.full, packed.full_chunks)):
        assert len(chunks) == n // 256 > 3
        for chunk in chunks:
            begin, count = one.begin_qe[chunk.first : chunk.last], one.count_qe[chunk.first : chunk.last]
            neighbors = [one.neighbor[b : b + c] for b, c in zip(begin.ravel(), count.ravel(), strict=True)]
            rows = (np.concatenate([np.arange(chunk.first, chunk.last), *neighbors]) - chunk.start) % n
            assert (rows.min(), rows.max()) == (0, chunk.rows - 1)


def test_threads_give_the_same_bits():
    atoms = crystal((10, 4, 4))
    with ThreadPoolExecutor(4) as pool:
        lists = [VerletList(CUTOFF, NUMBERS, True, True, 0.5, map=map) for map in (map, pool.map)]
        results = []
        for step in range(3):
            atoms.rattle(0.05, seed=step)
            for list_, map_ in zip(lists, (map, pool.map), strict=True):
                packed = list_.pairs(atoms)
                assert len(packed.half_chunks) > 4
                some = gradients(packed.half, 1), gradients(packed.full, 2)
                places = [real_places(one) for one in (packed.half, packed.full)]
                moved = pushforward(packed, atoms.positions, np.ones((1, 3, 3)), map=map_)
                moved = (x[at] for xs, at in zip(moved, places, strict=True) for x in xs)
                results.append((*pullback(packed, some, map=map_), *moved))
    for serial, threaded in zip(results[::2], results[1::2], strict=True):
        for one, other in zip(serial, threaded, strict=True):
            np.testing.assert_array_equal(one, other)


# ---- small moves ----


def test_refresh_is_a_fresh_list(systems):
    """After random moves within the skin, of every system and of all in one batch: the same sets of pairs."""
    for frames in (*([atoms] for atoms in systems.values()), batch_of(systems), [crystal()]):
        frames = [frame.copy() for frame in frames]
        moving = VerletList(CUTOFF, NUMBERS, True, True, skin=0.6)
        start = [frame.positions.copy() for frame in frames]
        random = np.random.default_rng(6)
        for _ in range(4):
            for frame, positions in zip(frames, start, strict=True):
                frame.positions = positions + random.uniform(-0.17, 0.17, positions.shape)
            if moving.rebuilds == 0:
                frames[0].positions[0] = start[0][0]
                start = [frame.positions.copy() for frame in frames]
            assert_lists_of(moving.pairs(frames), Pairs.from_atoms(frames, CUTOFF))
        assert moving.rebuilds == 1


def test_rebuilt_when_an_atom_moves_too_far():
    atoms = crystal((2, 2, 2))
    moving = VerletList(CUTOFF, NUMBERS, True, True, skin=0.6)
    moving.pairs(atoms)
    for move, rebuilds in ((0.299, 1), (-0.298, 1), (0.298, 1), (0.002, 2), (0.0, 2), (-0.31, 3)):
        atoms.positions[5, 1] += move
        assert_lists_of(moving.pairs(atoms), Pairs.from_atoms(atoms, CUTOFF))
        assert moving.rebuilds == rebuilds, move


def test_all_pairs_that_two_moves_can_bring_in():
    """Two atoms that come nearer by nearly a skin together, from just outside of the wide list."""
    atoms = Atoms("CO", [[0, 0, 0], [0, 0, CUTOFF + 0.6]])
    moving = VerletList(CUTOFF, NUMBERS, True, False, skin=0.6)
    moving.pairs(atoms)
    atoms.positions[:, 2] += [np.nextafter(0.3, 1), -0.3]
    assert moving.pairs(atoms).half.count_qe.sum() == len(Pairs.from_atoms(atoms, CUTOFF).i_p) / 2
    assert moving.rebuilds == 2


@pytest.mark.parametrize("change", ["cell", "pbc", "numbers", "length", "frames"])
def test_rebuilt_when_something_else_changes(change):
    atoms, moving = crystal((2, 2, 2)), VerletList(CUTOFF, NUMBERS, True, True, skin=0.6)
    moving.pairs(atoms)
    moving.pairs(atoms)
    assert moving.rebuilds == 1
    if change == "cell":
        atoms.cell[0, 0] = np.nextafter(atoms.cell[0, 0], 100)
    elif change == "pbc":
        atoms.pbc = [True, False, True]
    elif change == "numbers":
        atoms.numbers[3] = 1 if atoms.numbers[3] != 1 else 6
    elif change == "length":
        atoms = atoms[:-1]
    frames = [atoms, atoms[:7]] if change == "frames" else atoms
    packed = moving.pairs(frames)
    assert_lists_of(packed, Pairs.from_atoms(frames, CUTOFF))
    np.testing.assert_array_equal(np.array(NUMBERS)[packed.half.element_q], packed.number_a[packed.order])
    assert moving.rebuilds == 2


def test_without_a_skin_every_move_counts():
    atoms, moving = crystal((2, 2, 2)), VerletList(CUTOFF, NUMBERS, True, True)
    moving.pairs(atoms)
    moving.pairs(atoms)
    assert moving.rebuilds == 1
    atoms.positions[0, 0] += 1e-9
    assert_lists_of(moving.pairs(atoms), Pairs.from_atoms(atoms, CUTOFF))
    assert moving.rebuilds == 2


# ---- what is refused ----


def message_of(function):
    with pytest.raises(ValueError) as caught:  # noqa: PT011, the message is compared
        function()
    return str(caught.value)


def bad_structures():
    def changed(change):
        atoms = molecule("CH3CH2OH")
        change(atoms)
        return atoms

    yield changed(lambda atoms: atoms.positions.__setitem__((1, 2), np.nan))
    yield changed(lambda atoms: atoms.positions.__setitem__((1, 2), -np.inf))
    yield changed(lambda atoms: atoms.positions.__setitem__((1, 2), 2e7))
    yield changed(lambda atoms: atoms.positions.__setitem__(3, atoms.positions[5]))
    yield changed(lambda atoms: atoms.positions.__setitem__(3, atoms.positions[5] + [0, 0, 0.9 * SAME_PLACE]))
    yield Atoms("HO", [[0, 0, 0], [0, 0, 5.0]], cell=[4, 4, 5], pbc=True)
    yield Atoms("H", cell=np.diag([3.0, 3.0, 0.0]), pbc=True)
    yield Atoms("H", cell=np.diag([3.0, 3.0, np.inf]), pbc=True)
    yield Atoms("H", cell=np.diag([3.0, 3.0, 0.2]), pbc=True)


@pytest.mark.parametrize("bad", list(bad_structures()))
@pytest.mark.parametrize("lists", [(True, False), (False, True)])
def test_same_messages_as_the_plain_list(bad, lists):
    """Also when a good structure has become bad since the list was made."""
    for frames in (bad, [molecule("H2O"), bad]):
        expected = message_of(lambda frames=frames: Pairs.from_atoms(frames, CUTOFF, first_frame=3))
        found = message_of(lambda frames=frames: PackedPairs.from_atoms(frames, CUTOFF, NUMBERS, *lists, first_frame=3))
        assert found == expected
    moving = VerletList(CUTOFF, NUMBERS, *lists, skin=10.0)
    good = bad.copy()
    good.set_cell(10 * np.eye(3))
    good.pbc = False
    good.positions = np.arange(3.0 * len(good)).reshape(-1, 3)
    for again in (good, bad, good, bad):
        if again is good:
            moving.pairs(good)
        else:
            assert message_of(lambda: moving.pairs(bad)) == message_of(lambda: Pairs.from_atoms(bad, CUTOFF))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300, -2e7])
def test_positions_that_become_bad_during_reuse(bad):
    atoms = molecule("CH3CH2OH")
    moving = VerletList(CUTOFF, NUMBERS, True, False, skin=1.0)
    moving.pairs(atoms)
    good = atoms.positions[4, 1]
    atoms.positions[4, 1] = bad
    assert message_of(lambda: moving.pairs(atoms)) == message_of(lambda: Pairs.from_atoms(atoms, CUTOFF))
    atoms.positions[4, 1] = good
    moving.pairs(atoms)
    assert moving.rebuilds == 1


def test_atoms_that_come_to_one_place_during_reuse():
    atoms = molecule("CH3CH2OH")
    moving = VerletList(CUTOFF, NUMBERS, True, False, skin=9.0)
    moving.pairs(atoms)
    atoms.positions[3] = atoms.positions[5]
    assert message_of(lambda: moving.pairs(atoms)) == message_of(lambda: Pairs.from_atoms(atoms, CUTOFF))
    assert moving.rebuilds == 1
    atoms.positions[3, 0] += 1.0
    moving.pairs(atoms)
    assert moving.rebuilds == 1


def test_unknown_elements():
    from bpnumba.symmetry import SymmetryFunctions

    functions = SymmetryFunctions(["H", "O"], r_cut=CUTOFF, g2_params=[[1.0, 0.0]])
    frames = [molecule("H2O"), molecule("CO2"), molecule("CH4")]
    for some in (frames, frames[1]):
        expected = message_of(lambda some=some: functions.describe(Pairs.from_atoms(some, CUTOFF, first_frame=2)))
        arguments = CUTOFF, functions.numbers, True, False
        assert message_of(lambda some=some, a=arguments: PackedPairs.from_atoms(some, *a, first_frame=2)) == expected
        plain = Pairs.from_atoms(some, CUTOFF, first_frame=2)
        assert message_of(lambda plain=plain: PackedPairs.from_pairs(plain, functions.numbers, True, False)) == expected


@pytest.mark.parametrize("cutoff", [0, -1.0, np.nan, np.inf])
def test_bad_cutoff(cutoff):
    expected = message_of(lambda: Pairs.from_atoms(Atoms("H"), cutoff))
    assert message_of(lambda: PackedPairs.from_atoms(Atoms("H"), cutoff, NUMBERS, True, False)) == expected


@pytest.mark.parametrize("skin", [-0.1, np.nan, np.inf])
def test_bad_skin(skin):
    with pytest.raises(ValueError, match=f"^the skin must be 0 or a positive number, not {skin}"):
        VerletList(CUTOFF, NUMBERS, True, False, skin)


def test_nothing():
    with pytest.raises(ValueError, match="no structure is given"):
        PackedPairs.from_atoms([], CUTOFF, NUMBERS, True, False)
    for pbc in (True, False):
        packed = PackedPairs.from_atoms(Atoms(cell=np.eye(3), pbc=pbc), CUTOFF, NUMBERS, True, True)
        assert (packed.n_atoms, packed.half.count_qe.shape, packed.full.count_qe.shape) == (0, (0, 3), (0, 3))
        forces_ac, virial_mcc = pullback(packed, (packed.half[4:], packed.full[4:]))
        assert forces_ac.shape == (0, 3)
        assert not virial_mcc.any()
    PackedPairs.from_pairs(Pairs.from_atoms(Atoms(), CUTOFF), NUMBERS, True, True)

"""Selection: what the pool holds, what the choice drops and keeps, and what the report says."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from bpnumba import selection
from bpnumba.functions import G4
from bpnumba.pairs import Pairs
from bpnumba.selection import choose, condition, pool, standardized
from bpnumba.symmetry import SymmetryFunctions

RC = 5.0


def rattled(atoms, n, stdev, seed=0):
    """Copies with random displacements and strains."""
    random = np.random.default_rng(seed)
    frames = []
    for _ in range(n):
        frame = atoms.copy()
        frame.set_cell(frame.cell.array @ (np.eye(3) + random.normal(0, 0.02, (3, 3))), scale_atoms=True)
        frame.positions += random.normal(0, stdev, (len(frame), 3))
        frames.append(frame)
    return frames


@pytest.fixture(scope="module")
def silicon():
    return rattled(bulk("Si", cubic=True), 12, 0.12)


@pytest.fixture(scope="module")
def carbide():
    return rattled(bulk("SiC", "zincblende", a=4.36, cubic=True), 10, 0.1)


@pytest.fixture(scope="module")
def G_silicon(silicon):
    """Rows of the pool and their values for silicon."""
    rows = pool(14, [14], RC, {14: 1.9})
    return rows, np.concatenate(SymmetryFunctions.from_functions(rows).create(silicon))


# ---- the pool ----


@pytest.mark.parametrize(("rc", "shortest"), [(6.0, 2.2), (5.0, 0.95), (2.5, 2.2)])
def test_radial_functions_of_the_pool(rc, shortest):
    rows = pool(14, [8], rc, {8: shortest}, "tanh")
    radial = rows[rows["kind"] == "G2"]
    first = min(shortest, rc / 2)
    grid = np.linspace(first, max(rc - 0.3, 0.9 * rc), 10)
    spacing = grid[1] - grid[0]
    expected = [(8 ** (m / 4) / rc**2, 0.0) for m in range(9)]  # (8^(m/8)/rc)^2
    expected += [(spacing**-2, rs) for rs in grid] + [(spacing**-2 / 4, rs) for rs in grid[::2]]
    np.testing.assert_allclose([(row["eta"], row["rs"]) for row in radial], expected, rtol=1e-12)
    assert set(radial["first"]) == {8}
    assert set(rows["center"]) == {14}
    assert set(rows["rc"]) == {rc}
    assert set(rows["cutoff"]) == {"tanh"}


def test_angular_functions_of_the_pool():
    rows = pool(14, [6, 14], RC, {6: 1.8, 14: 2.2})
    assert set(rows["kind"]) == {"G2", "G4", "G5"}
    angular, wide = rows[rows["kind"] == "G4"], rows[rows["kind"] == "G5"]
    np.testing.assert_array_equal(angular[list(rows.dtype.names[1:])], wide[list(rows.dtype.names[1:])])
    found = {(*row.tolist()[2:4], round(np.sqrt(row["eta"]) * RC, 12), row["lam"], row["zeta"]) for row in angular}
    expected = {
        (*couple, x, lam, zeta) for couple in [(6, 6), (6, 14), (14, 14)] for x in (0.3, 0.71, 1.69, 4.0)
        for lam, zeta in [(1, 1), (-1, 1), (1, 2), (1, 4), (-1, 4), (1, 8), (-1, 8), (1, 16), (-1, 16)]
    }  # fmt: skip
    assert found == expected
    assert len(angular) == len(expected)


def test_no_function_of_the_pool_comes_twice():
    rows = pool(14, [1, 6, 14], RC, {1: 1.4, 6: 1.8, 14: 2.2}).tolist()
    assert len(set(rows)) == len(rows) == 3 * 24 + 2 * 6 * 36
    numbers = np.array([row[1:9] for row in rows if row[0] != "G5"])  # center ... rc
    distance = np.abs(numbers[:, None] - numbers[None]).max(-1) + np.eye(len(numbers))
    assert distance.min() > 1e-6


def test_rows_of_the_pool_are_functions():
    SymmetryFunctions.from_functions(pool(14, [14], RC, {14: 2.2}))  # raises if one is out of range


def test_the_identity_that_the_pool_leaves_out(silicon):
    """(1 + c)^2 - (1 - c)^2 = 2 [(1 + c) - (1 - c)]: with the norms 2^(1-zeta), G+2 - G-2 = G+1 - G-1."""
    rows = [G4("Si", "Si", "Si", 0.1, zeta, lam, RC) for zeta in (1, 2) for lam in (1, -1)]
    plus1, minus1, plus2, minus2 = np.concatenate(SymmetryFunctions.from_functions(rows).create(silicon)).T
    np.testing.assert_allclose(plus2 - minus2, plus1 - minus1, rtol=1e-10)


# ---- the choice ----


@pytest.fixture
def columns():
    """Values of five functions: independent random numbers."""
    return np.random.default_rng(5).uniform(0.1, 1.0, (200, 5))


def test_independent_functions_are_all_kept(columns):
    choice = choose(columns, 10, np.zeros(5, int))
    assert choice.kept.tolist() == [0, 1, 2, 3, 4]
    assert choice.reasons == ("",) * 5
    assert choice.residual < 1e-6
    expected = pytest.approx(np.linalg.cond(standardized(columns)))
    assert choice.condition_before == expected
    assert choice.condition_after == expected


def test_functions_that_hardly_vary_are_dropped(columns):
    columns[:, 1] = 0.7
    columns[:, 3] = 0.7 + 1e-9 * columns[:, 3]
    choice = choose(columns, 10, np.zeros(5, int))
    assert choice.kept.tolist() == [0, 2, 4]
    assert [bool(reason) for reason in choice.reasons] == [False, True, False, True, False]
    assert choice.reasons[1] == choice.reasons[3] == "hardly varies in the data"
    assert choice.condition_before > 1e12


def test_a_small_range_counts_by_the_largest(columns):
    """A range of 1e-5 is fine beside 1, but not beside 100."""
    columns[:, 2] *= 1e-5
    assert 2 in choose(columns, 10, np.zeros(5, int)).kept
    columns[:, 0] *= 100
    assert 2 not in choose(columns, 10, np.zeros(5, int)).kept


def test_functions_that_are_seldom_non_zero_are_dropped(columns):
    columns[9:, 4] = 0.0
    columns[10:, 0] = 0.0
    choice = choose(columns, 10, np.zeros(5, int))
    assert choice.kept.tolist() == [0, 1, 2, 3]
    assert choice.reasons[4] == "non-zero in fewer than 10 environments"


def test_an_exact_linear_dependency_is_dropped(columns):
    columns[:, 3] = 0.3 * columns[:, 0] + 0.9 * columns[:, 1] - 0.2 * columns[:, 2]
    choice = choose(columns, 10, np.zeros(5, int))
    assert len(choice.kept) == 4
    assert 4 in choice.kept
    assert choice.condition_before > 1e12
    assert choice.condition_after < 100
    dropped = ({0, 1, 2, 3} - set(choice.kept.tolist())).pop()
    assert choice.reasons[dropped] == "left out: the kept ones describe 100.00 % of its variance"


def test_the_identity_of_zeta_1_and_2_is_found(silicon):
    rows = [G4("Si", "Si", "Si", 0.1, zeta, lam, RC) for zeta in (1, 2) for lam in (1, -1)]
    G = np.concatenate(SymmetryFunctions.from_functions(rows).create(silicon))
    choice = choose(G, 10, np.zeros(4, int), residual=1e-8)
    assert len(choice.kept) == 3
    assert choice.condition_before > 1e10
    assert choice.condition_after < 1e6


def test_the_function_of_largest_leverage_comes_first(columns):
    """Three nearly equal columns hold the leading singular vector; one is kept, and the others come next."""
    columns[:, 1:3] = columns[:, :1] + 1e-3 * columns[:, 1:3]
    assert choose(columns, 1, np.zeros(5, int)).kept[0] in (0, 1, 2)
    kept = set(choose(columns, 3, np.zeros(5, int)).kept.tolist())
    assert kept >= {3, 4}
    assert len(kept & {0, 1, 2}) == 1


def test_one_radial_function_per_neighbor_element_comes_first(columns):
    """The strongest, though other columns have all the leverage."""
    columns[:, [0, 1, 3]] *= [[1e-3, 3e-3, 2e-3]]
    radial_of = np.array([8, 8, 0, 1, 0])
    assert choose(columns, 2, radial_of).kept.tolist() == [1, 3]
    assert set(choose(columns, 3, radial_of).kept.tolist()) > {1, 3}


def test_a_radial_function_that_another_one_describes_is_no_seed(columns):
    columns[:, 3] = 2 * columns[:, 1]
    assert choose(columns, 10, np.array([0, 8, 0, 1, 0])).kept.tolist() == [0, 2, 3, 4]  # element 1 came first


def test_at_most_n(G_silicon):
    rows, G = G_silicon
    radial_of = np.where(rows["kind"] == "G2", rows["first"], 0)
    sizes = [len(choose(G, n, radial_of).kept) for n in (1, 2, 5, 12)]
    assert sizes == [1, 2, 5, 12]
    # one after the other: a smaller choice is part of a larger one, and leaves more undescribed
    few, many = choose(G, 5, radial_of), choose(G, 12, radial_of)
    assert set(few.kept) < set(many.kept)
    assert few.residual > many.residual


def test_residual_is_what_a_linear_fit_leaves(G_silicon):
    rows, G = G_silicon
    choice = choose(G, 8, np.where(rows["kind"] == "G2", rows["first"], 0))
    usable = [not reason or reason.startswith("left out") for reason in choice.reasons]
    Z, C = standardized(G[:, usable]), standardized(G[:, choice.kept])
    left = Z - C @ np.linalg.lstsq(C, Z, rcond=None)[0]
    assert choice.residual == pytest.approx(np.linalg.norm(left) / np.linalg.norm(Z), rel=1e-6)
    for s, reason in enumerate(np.array(choice.reasons)[usable]):
        if reason:
            described = 100 * (1 - np.sum(left[:, s] ** 2) / np.sum(Z[:, s] ** 2))
            assert float(reason.split()[-5]) == pytest.approx(described, abs=0.006)


@pytest.mark.parametrize(("residual", "most"), [(1e-3, 1e4), (1e-4, 1e5)])
def test_the_choice_has_a_condition_number_to_live_with(G_silicon, residual, most):
    """The less is left undescribed, the worse the condition; the pool is singular to rounding."""
    rows, G = G_silicon
    choice = choose(G, 40, np.where(rows["kind"] == "G2", rows["first"], 0), residual)
    kept = G[:, choice.kept]
    assert choice.condition_before > 1e6
    assert choice.condition_after < most
    assert choice.condition_after == pytest.approx(np.linalg.cond(standardized(kept)), rel=1e-6)
    assert condition(kept) == pytest.approx(choice.condition_after, rel=1e-6)
    assert choice.residual <= 1e-3
    correlation = np.abs(np.corrcoef(kept, rowvar=False) - np.eye(len(choice.kept))).max()
    assert choice.largest_correlation == pytest.approx(correlation, rel=1e-9)
    assert choice.largest_correlation < 1
    assert (np.diff(choice.kept) > 0).all()


def test_nothing_to_choose_from():
    with pytest.raises(ValueError, match=r"no symmetry function varies in the data \(20 environments\)"):
        choose(np.ones((20, 3)), 5, np.zeros(3, int))


@pytest.mark.parametrize(("n", "fewest"), [(200, 10), (50, 10), (49, 9), (20, 4), (9, 1), (5, 1)])
def test_of_few_environments_a_fifth_will_do(columns, n, fewest):
    G = columns[:n]
    G[fewest:, 0] = 0.0
    G[fewest - 1 :, 3] = 0.0
    choice = choose(G, 10, np.zeros(5, int))
    assert choice.reasons[3] == (f"non-zero in fewer than {fewest} environments" if fewest > 1 else choice.reasons[3])
    assert choice.reasons[3]
    assert 0 in choice.usable


def test_condition_is_infinite_where_columns_depend_on_each_other(columns):
    assert condition(columns) < 10
    columns[:, 4] = columns[:, :4] @ [0.3, 0.2, -0.7, 1.1]
    assert condition(columns) == np.inf
    columns[:, 4] += 1e-9 * np.random.default_rng(0).normal(size=200)
    assert 1e7 < condition(columns) < 1e11
    assert condition(columns[:4]) == np.inf


def test_standardized(columns):
    Z = standardized(columns * [1e-3, 1, 10, 1, 1])
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-14)
    np.testing.assert_allclose(np.ptp(Z, axis=0), 1, rtol=1e-13)
    np.testing.assert_array_equal(standardized(np.ones((5, 2))), 0.0)


# ---- from frames to a set ----


def test_silicon(silicon):
    functions = SymmetryFunctions.select(silicon, cutoff=RC, n=20)
    assert functions.species == ("Si",)
    assert 5 < len(functions.functions) <= 20
    assert set(functions.functions["kind"]) == {"G2", "G4", "G5"}
    again = SymmetryFunctions.select(silicon, cutoff=RC, n=20)
    np.testing.assert_array_equal(again.functions, functions.functions)
    assert again.report == functions.report
    assert np.linalg.cond(standardized(np.concatenate(functions.create(silicon)))) < 1e4


def test_a_binary(carbide):
    functions = SymmetryFunctions.select(carbide, cutoff=4.5, n=12, cutoff_function="poly3")
    assert functions.species == ("C", "Si")
    assert set(functions.functions["cutoff"]) == {"poly3"}
    assert functions.cutoff == 4.5
    for symbol in functions.species:
        rows = functions.functions_of(symbol)
        assert len(rows) <= 12
        assert set(rows[rows["kind"] == "G2"]["first"]) == {6, 14}  # every neighbor element has a radial function


def test_the_report_names_reasons_and_numbers(carbide):
    functions = SymmetryFunctions.select(carbide, cutoff=4.5, n=12)
    text = functions.report
    for symbol in ("C", "Si"):
        n, n_pool = len(functions.functions_of(symbol)), 2 * 24 + 2 * 3 * 36
        part = text[text.index(f"{symbol}: kept {n} of {n_pool} functions") :]
        lines = part.splitlines()
        end = next((at for at, line in enumerate(lines[1:], 1) if not line.startswith("   ")), len(lines))
        lines = lines[:end]
        assert "condition number" in lines[1]
        assert "largest correlation" in lines[2]
        assert "not described" in lines[3]
        dropped = [line for line in lines if line.startswith("   dropped ")]
        assert len(dropped) == n_pool - n
        assert all(": " in line and line.split(": ", 1)[1] for line in dropped)


def test_environments_that_the_choice_does_not_see(silicon):
    """A sixth of the environments is held out where there are many; a linear fit describes them nearly as well."""
    functions = SymmetryFunctions.select(silicon, cutoff=RC, n=20)
    lines = functions.report.splitlines()
    before, after = (next(line for line in lines if text in line) for text in ("not described", "did not see"))
    assert "chosen on 80 environments" in lines[0]
    assert "on 16 environments" in after  # of 96
    seen, unseen = float(before.split()[-3]), float(after.split()[-2])
    assert 0 < seen < unseen < 3 * seen


def test_what_is_not_described_elsewhere_is_measured_with_the_same_functions(columns):
    """Functions that hardly vary here but do there say nothing about the choice."""
    columns[:, 3] = columns[:, 0] + 0.5 * columns[:, 1]
    columns[:, 4] = 0.3 + 1e-7 * columns[:, 4]
    choice = choose(columns, 10, np.zeros(5, int))
    assert choice.usable.tolist() == [0, 1, 2, 3]
    unseen = np.random.default_rng(6).uniform(0.1, 1.0, (50, 5))
    unseen[:, 3] = unseen[:, 0] + 0.5 * unseen[:, 1]
    assert selection.undescribed(columns, unseen, choice) < 1e-10
    unseen[:, 3] += np.where(np.arange(50) < 25, 0.1, -0.1)
    mean, extent = columns[:, :4].mean(0), np.ptp(columns[:, :4], axis=0)
    whole = np.linalg.norm((unseen[:, :4] - mean) / extent)
    dropped = ({0, 1, 2, 3} - set(choice.kept.tolist())).pop()
    # the dropped column is a combination of the others; the shift comes in with its weight there
    weight = {3: 1.0, 0: 1.0, 1: 2.0}[dropped]
    expected = weight * 0.1 * np.sqrt(50) / extent[dropped] / whole
    assert selection.undescribed(columns, unseen, choice) == pytest.approx(expected, rel=1e-6)


def test_values_of_few_environments_are_those_of_all(silicon):
    """Selection looks at some atoms of a frame only; their rows are those of the whole frame."""
    from bpnumba.symmetry import _environments

    functions = SymmetryFunctions.from_functions(pool(14, [14], RC, {14: 1.9})[::9])
    seen, unseen = _environments(functions, silicon, RC, 25)
    G = np.concatenate(functions.create(silicon))
    assert (len(seen[0]), len(unseen[0])) == (30, 0)
    for row in seen[0]:
        assert np.abs(G - row).max(axis=1).min() < 1e-12


def test_frames_without_neighbors(silicon):
    lonely = silicon[0][:1]
    lonely.pbc = False
    with pytest.raises(ValueError, match="no Si atom has a neighbor within 5 Angstrom"):
        SymmetryFunctions.select(lonely, cutoff=RC)


def test_one_structure_will_do(silicon):
    big = silicon[0].repeat(2)
    big.rattle(0.1, seed=3)
    functions = SymmetryFunctions.select(big, cutoff=RC, n=6)
    assert len(functions.functions) == 6
    shortest = np.linalg.norm(Pairs.from_atoms(big, RC).r_pc, axis=1).min()
    grid = functions.functions["rs"][functions.functions["rs"] > 0]
    assert len(grid)
    assert (grid >= shortest - 1e-12).all()


# ---- few environments ----


@pytest.mark.parametrize("atoms", [
    bulk("Si"),  # two equivalent atoms
    bulk("Cu"),  # one
    bulk("Si", cubic=True).repeat(2),  # a perfect supercell
    molecule("H2O"),
    [molecule("H2O")] * 20,
], ids=lambda atoms: "the same again" if isinstance(atoms, list) else str(atoms.symbols))  # fmt: skip
def test_functions_for_few_environments_tell_small_changes_apart(atoms):
    """One frame is enough: what happens to its atoms next is known beforehand."""
    functions = SymmetryFunctions.select(atoms, cutoff=RC)
    again = SymmetryFunctions.select(atoms, cutoff=RC)
    np.testing.assert_array_equal(again.functions, functions.functions)
    random = np.random.default_rng(5)
    one = atoms[0] if isinstance(atoms, list) else atoms
    moved = one.copy()
    moved.set_cell(one.cell.array * 1.01, scale_atoms=True)
    moved.positions += random.normal(0, 0.02, moved.positions.shape)
    change = np.abs(functions.create(moved) - functions.create(one))
    for symbol in functions.species:
        assert len(functions.functions_of(symbol)) >= 5
        assert "G2" in functions.functions_of(symbol)["kind"]
        assert {"G4", "G5"} & set(functions.functions_of(symbol)["kind"])
        assert (change[one.symbols == symbol].max(axis=1) > 1e-3).all()
        (line,) = (line for line in functions.report.splitlines() if line.startswith(f"{symbol}: kept"))
        assert "of shaken copies: the data have" in line


def test_an_element_that_occurs_once(silicon):
    frames = [atoms.copy() for atoms in silicon]
    frames[3].symbols[2] = "Ge"
    functions = SymmetryFunctions.select(frames, cutoff=RC, n=15)
    assert functions.species == ("Si", "Ge")
    assert len(functions.functions_of("Ge")) > 5
    silicon_line, ge_line = (line for line in functions.report.splitlines() if ": kept" in line)
    assert "shaken" not in silicon_line
    assert ge_line.endswith("of shaken copies: the data have 1, too few or too much alike")


def test_fifteen_dimers():
    frames = [Atoms("CO", [[0, 0, 0], [0, 0, d]]) for d in np.linspace(0.9, 8.0, 15)]
    functions = SymmetryFunctions.select(frames, cutoff=6.0)
    assert "shaken" not in functions.report
    for symbol in "CO":
        assert 5 < len(functions.functions_of(symbol)) <= 15
        assert set(functions.functions_of(symbol)["kind"]) == {"G2"}


def test_what_cannot_be_chosen_names_the_element(monkeypatch):
    monkeypatch.setattr("bpnumba.symmetry._shaken", lambda frames: frames)
    with pytest.raises(ValueError, match=r"^Si: no symmetry function varies in the data \(2 environments\): give more"):
        SymmetryFunctions.select(bulk("Si"), cutoff=RC)


def test_no_atoms_to_choose_for():
    for nothing in ([], Atoms(), [Atoms()]):
        with pytest.raises(ValueError, match="there are no atoms to choose symmetry functions for"):
            SymmetryFunctions.select(nothing)


def test_bad_arguments_of_select(silicon):
    with pytest.raises(ValueError, match="no cutoff function 'cosine_made_up'; there are cosine"):
        SymmetryFunctions.select(silicon, cutoff_function="cosine_made_up")
    bad = silicon[2].copy()
    bad.positions[4, 0] = np.nan
    with pytest.raises(ValueError, match=r"^frame 2: the position of atom 4 \(Si\) is not finite"):
        SymmetryFunctions.select([*silicon[:2], bad])

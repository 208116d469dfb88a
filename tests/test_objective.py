"""The loss and its gradient, against differences; and that chunks, labels and weights do what they say."""

from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from bpnumba.potential import Potential
from bpnumba.symmetry import SymmetryFunctions
from bpnumba.training import objective
from bpnumba.training.dataset import Dataset
from bpnumba.training.objective import Objective
from bpnumba.training.settings import Settings
from bpnumba.training.storage import Memory
from bpnumba.training.targets import Factors, Scales

SCALES = Scales(0.01, 0.1, 0.005)
L2 = 1e-3


def frames():
    """Crystals of two elements, a slab and a molecule with random labels; some labels are absent."""
    rng, result = np.random.default_rng(5), []
    for m in range(6):
        atoms = bulk("SiC", "zincblende", a=4.4, cubic=m % 2 == 0)
        atoms.rattle(0.1, seed=m)
        if m == 4:
            atoms.pbc = (True, True, False)
        if m == 5:
            atoms = Atoms("SiC2", rng.normal(size=(3, 3)) * 1.5)
        if m != 1:
            atoms.info["REF_energy"] = rng.normal()
        if m != 2:
            atoms.arrays["REF_forces"] = rng.normal(size=(len(atoms), 3))
        if m < 4:
            atoms.info["REF_stress"] = 0.05 * rng.normal(size=6)
        atoms.info["config_type"] = "molecule" if m == 5 else "crystal"
        result.append(atoms)
    return result


@pytest.fixture(scope="module")
def potential():
    functions = SymmetryFunctions(["Si", "C"], 4.0, g2_params=[[0.5, 0.0], [1.0, 1.5]], g4_params=[[0.05, 2.0, 1.0]])
    return Potential.untrained(
        functions, frames(), hidden={"Si": (4, 3), "C": (5,)}, reference_energies={"Si": 0.3, "C": -0.2}
    )


@pytest.fixture(scope="module")
def data():
    return Dataset.from_frames(frames())


def prepare(potential, data, scales=SCALES, weights=(1.0, 1.0, 1.0), config_type_weights=None, l2=L2):
    factors = Factors(scales, weights, config_type_weights or {})
    return Objective.prepare(potential, data, factors, keep=Memory(np.float64)).with_l2(l2)


def by_hand(potential, data, scales, weights, factors):
    """The loss of the module docstring, frame by frame, from `Potential.evaluate` alone."""
    total, count, first = 0.0, 0, 0
    for m, atoms in enumerate(data.atoms):
        prediction, last = potential.evaluate(atoms), first + len(atoms)
        factor = factors.get(data.config_type_m[m], 1.0)
        if data.has_energy_m[m]:
            total += (
                weights[0] * factor * ((prediction.energy_m[0] - data.energy_m[m]) / len(atoms) / scales.energy) ** 2
            )
            count += weights[0] > 0
        if data.has_forces_m[m]:
            total += (
                weights[1] * factor * (((prediction.forces_ac - data.forces_ac[first:last]) / scales.forces) ** 2).sum()
            )
            count += 3 * len(atoms) * (weights[1] > 0)
        if data.has_stress_m[m]:
            total += weights[2] * factor * (((prediction.stress_mv[0] - data.stress_mv[m]) / scales.stress) ** 2).sum()
            count += 6 * (weights[2] > 0)
        first = last
    return total / count + L2 * (potential.theta @ potential.theta)


@pytest.mark.parametrize(
    "weights", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 2.0, 0.0), (0.0, 0.0, 1.0), (0.5, 1.0, 3.0)]
)
@pytest.mark.parametrize("energy_unit", [1.0, 27.2])
def test_loss_is_the_formula(potential, data, weights, energy_unit):
    potential, factors = replace(potential, energy_unit=energy_unit), {"molecule": 3.0}
    loss, _ = prepare(potential, data, weights=weights, config_type_weights=factors).loss_and_gradient(potential.theta)
    assert loss == pytest.approx(by_hand(potential, data, SCALES, weights, factors), rel=1e-12)


@pytest.mark.parametrize("energy_unit", [1.0, 27.2])
@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)])
def test_gradient_of_every_part_against_differences(potential, data, weights, energy_unit):
    potential = replace(potential, energy_unit=energy_unit)
    function = prepare(potential, data, weights=weights).loss_and_gradient
    theta, h, worst = potential.theta, 1e-3, 0.0
    _, gradient = function(theta)
    for k, unit in enumerate(np.eye(len(theta))):
        by = [function(theta + step * h * unit)[0] for step in (-2, -1, 1, 2)]
        worst = max(worst, abs((by[0] - 8 * by[1] + 8 * by[2] - by[3]) / (12 * h) - gradient[k]))
    assert worst < 1e-7 * np.abs(gradient).max()


def test_a_float32_jacobian_has_an_exact_gradient_too(potential, data):
    function = Objective.prepare(potential, data, Factors(SCALES)).loss_and_gradient
    direction = np.random.default_rng(0).normal(size=len(potential.theta))
    by = [function(potential.theta + step * 1e-4 * direction)[0] for step in (-2, -1, 1, 2)]
    slope = function(potential.theta)[1] @ direction
    assert (by[0] - 8 * by[1] + 8 * by[2] - by[3]) / 12e-4 == pytest.approx(slope, rel=1e-9)


def test_chunks_do_not_matter(potential, data, monkeypatch):
    whole = prepare(potential, data)
    monkeypatch.setattr(objective, "ATOMS_IN_CHUNK", 5)
    parts = prepare(potential, data)
    assert len(whole.chunks) == 1
    assert len(parts.chunks) > 3
    for one, other in zip(whole.evaluate(potential.theta)[:2], parts.evaluate(potential.theta)[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-11)


def test_errors_are_those_of_evaluate(potential, data):
    from bpnumba.evaluation import evaluate

    total = evaluate(potential, data).total
    problem = prepare(potential, data)
    for errors in (problem.evaluate(potential.theta)[2], problem.validate(potential.theta)[1]):
        assert 1e3 * errors.energy == pytest.approx(total.energy_rmse_mev_per_atom, rel=1e-10)
        assert errors.forces == pytest.approx(total.forces_rmse_ev_per_angstrom, rel=1e-10)
        assert 160.2176634 * errors.stress == pytest.approx(total.stress_rmse_gpa, rel=1e-7)


def test_validation_counts_small_residuals_like_the_loss_and_large_ones_little(potential, data):
    wide = Scales(1e4, 1e5, 1e4)  # all residuals are small in these units, where the robust loss is r^2
    problem = prepare(potential, data, scales=wide, l2=0.0)
    assert problem.validate(potential.theta)[0] == pytest.approx(
        problem.loss_and_gradient(potential.theta)[0], rel=1e-6
    )
    problem = prepare(potential, data)
    wrong = replace(data, energy_m=data.energy_m + np.array([1e9, 0, 0, 0, 0, 0]))
    difference = prepare(potential, wrong).validate(potential.theta)[0] - problem.validate(potential.theta)[0]
    assert difference * problem.n_residuals == pytest.approx(2 * 1e9 / len(data.atoms[0]) / SCALES.energy, rel=1e-6)


def test_scales_come_from_the_forces_and_ignore_a_few_extreme_ones():
    atoms = bulk("Si", cubic=True) * (4, 4, 4)
    atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 2.0)
    normal = Scales.from_data(Dataset.from_frames([atoms]), Settings())
    assert normal[:3] == pytest.approx((0.01 * 0.14, 0.14, 0.05 * 0.14))
    atoms.arrays["REF_forces"][0] = 50.0
    assert Scales.from_data(Dataset.from_frames([atoms]), Settings()) == pytest.approx(normal)


def test_frames_with_extreme_forces_count_less(potential, data):
    """As the square of what the largest force of the frame is beyond the bound; with all their labels."""
    first = np.cumsum([0, *data.n_atoms_m])
    largest = [np.sqrt((data.forces_ac[a:b] ** 2).sum(axis=1).max()) for a, b in zip(first[:-1], first[1:])]
    bound = float(np.median(largest))
    named = replace(data, config_type_m=np.array([str(m) for m in range(len(data))]))
    factors = {str(m): min(1.0, (bound / size) ** 2) if size else 1.0 for m, size in enumerate(largest)}
    assert sum(factor < 1 for factor in factors.values()) > 1
    loss, _ = prepare(potential, named, scales=SCALES._replace(extreme=bound)).loss_and_gradient(potential.theta)
    assert loss == pytest.approx(by_hand(potential, named, SCALES, (1.0, 1.0, 1.0), factors), rel=1e-12)


def test_extreme_forces_are_ten_times_the_usual_ones():
    atoms = bulk("Si", cubic=True) * (4, 4, 4)
    atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 2.0)
    assert Scales.from_data(Dataset.from_frames([atoms]), Settings()).extreme == pytest.approx(20.0)


def test_scales_can_be_given_and_need_no_forces():
    atoms = bulk("Si")
    atoms.info["REF_energy"] = 1.0
    data = Dataset.from_frames([atoms])
    assert Scales.from_data(data, Settings())[:3] == pytest.approx((0.0007, 0.07, 0.0035))
    settings = Settings(energy_scale=1.0, forces_scale=2.0, stress_scale=3.0)
    assert Scales.from_data(data, settings)[:3] == (1.0, 2.0, 3.0)


def test_weights_that_are_not_contiguous_are_taken(potential, data):
    problem, theta = prepare(potential, data), potential.theta
    assert problem.loss_and_gradient(np.repeat(theta, 2)[::2])[0] == problem.loss_and_gradient(theta)[0]


def test_the_regularization_is_the_square_of_the_weights(potential, data):
    theta, function = potential.theta, prepare(potential, data)
    loss, gradient = function.with_l2(0.0).loss_and_gradient(theta)
    for l2 in (0.5, 2.0):
        more, slope = function.with_l2(l2).loss_and_gradient(theta)
        assert more - loss == pytest.approx(l2 * (theta**2).sum(), rel=1e-9)
        np.testing.assert_allclose(slope - gradient, 2 * l2 * theta, atol=1e-9 * np.abs(gradient).max())


def test_shards_are_parts_of_the_whole(potential, data, monkeypatch):
    """Some shards alone have the sums that they have among all, to the last bit."""
    monkeypatch.setattr(objective, "ATOMS_IN_CHUNK", 5)
    monkeypatch.setattr(objective, "SHARDS", 3)
    whole = dict(prepare(potential, data).sums_of_shards("gradient", potential.theta))
    assert sorted(whole) == [0, 1, 2]
    factors, found = Factors(SCALES), {}
    for only in ({0, 2}, {1}):
        part = Objective.prepare(potential, data, factors, Memory(np.float64), only=only)
        assert part.n_residuals == prepare(potential, data).n_residuals
        found |= dict(part.sums_of_shards("gradient", potential.theta))
    for number, one in whole.items():
        for mine, other in zip(one, found[number], strict=True):
            np.testing.assert_array_equal(mine, other)


def test_factors_in_words_have_units(data):
    text = str(Factors(SCALES))
    for words in ("energy 10 meV/atom", "forces 100 meV/Angstrom", "stress 0.801 GPa"):
        assert words in text


# ---- a few frames at a time ------------------------------------------------------------------------------------------


def test_pieces_are_all_frames_once(potential, data, monkeypatch):
    monkeypatch.setattr(objective, "ATOMS_IN_CHUNK", 10)
    problem, found = prepare(potential, data), []
    first = np.cumsum([0, *(len(chunk.targets.energy_m) for chunk in problem.chunks)])
    numbers = {(s, c): k for k, (s, c) in enumerate(
        (s, c) for s, shard in enumerate(problem.shards) for c in range(len(shard)))}  # fmt: skip
    for piece in problem.pieces(20):
        begin = first[numbers[piece.shard, piece.chunk]]
        found += range(begin + piece.first, begin + piece.last)
    assert found == list(range(len(data)))


def test_all_pieces_together_are_the_loss_and_its_gradient(potential, data):
    """With all rows: sum r^2 / N is the loss, 2 R^T r / N its gradient."""
    problem, theta = prepare(potential, data, l2=0.0), potential.theta
    loss, gradient, total = 0.0, 0.0, None
    for piece in problem.pieces(30):
        R, r, partial = problem.linearize(theta, piece, 10_000, seed=0)
        loss, gradient = loss + (r**2).sum(), gradient + 2 * R.T.astype(float) @ r
        total = partial if total is None else total + partial
    n = problem.n_residuals
    expected = problem.loss_and_gradient(theta)
    assert loss / n == pytest.approx(expected[0], rel=1e-10)
    assert total.loss / n == pytest.approx(expected[0], rel=1e-10)
    np.testing.assert_allclose(gradient / n, expected[1], atol=1e-5 * np.abs(expected[1]).max())


def test_few_rows_are_fair_to_forces_and_energies(potential, data):
    """On the average over random choices, squares of residuals keep their shares; the loss has all forces."""
    problem, theta = prepare(potential, data, l2=0.0), potential.theta
    (whole,) = problem.pieces(10**6)
    _, all_r, partial = problem.linearize(theta, whole, 10**6, seed=0)
    n_forces, shares = 3 * data.n_atoms_m[data.has_forces_m].sum(), []
    for seed in range(400):
        R, r, again = problem.linearize(theta, whole, 30, seed)
        assert (len(R), len(r)) == (len(all_r) - n_forces + 30,) * 2
        assert again.loss == partial.loss
        shares.append([(r[: data.has_energy_m.sum()] ** 2).sum(), (r**2).sum()])
    share = 30 / n_forces
    energies, everything = np.mean(shares, axis=0) / share
    assert energies == pytest.approx((all_r[: data.has_energy_m.sum()] ** 2).sum(), rel=1e-9)
    assert everything == pytest.approx((all_r**2).sum(), rel=0.05)


@pytest.mark.parametrize("weights", [(1.0, 0.0, 0.0), (0.0, 0.0, 1.0)])
def test_labels_that_do_not_count_have_no_rows(potential, data, weights):
    """Nor do they take anything from those that count."""
    problem, theta = prepare(potential, data, weights=weights, l2=0.0), potential.theta
    (piece,) = problem.pieces(problem.n_residuals)  # labels without a weight do not make pieces small
    R, r, partial = problem.linearize(theta, piece, 30, seed=0)
    assert len(R) == len(r) == problem.n_residuals
    assert (r**2).sum() == pytest.approx(partial.loss, rel=1e-12)


def test_frames_whose_labels_do_not_count_have_no_rows(potential, data):
    problem = prepare(potential, data, config_type_weights={"crystal": 0.0, "molecule": 0.0})
    (piece,) = problem.pieces(10)
    R, r, partial = problem.linearize(potential.theta, piece, 30, seed=0)
    assert (R.shape, r.shape, partial.loss) == ((0, len(potential.theta)), (0,), 0.0)


def test_forces_that_vanish_by_symmetry_say_nothing_about_the_others():
    """Perfect crystals and a displaced atom: the noise is not that of rounding."""
    frames = []
    for m in range(30):
        atoms = bulk("Cu", a=3.5 + 0.01 * m, cubic=True)
        atoms.arrays["REF_forces"] = np.full((4, 3), 1e-14)
        if m == 0:
            atoms.arrays["REF_forces"] = np.full((4, 3), 0.5)
        frames.append(atoms)
    scales = Scales.from_data(Dataset.from_frames(frames), Settings())
    assert scales.forces == pytest.approx(0.07 * 0.5)
    assert scales.extreme == 5.0
    assert Scales.from_data(Dataset.from_frames(frames[1:]), Settings()).forces == pytest.approx(0.07)


def test_curvature_by_elements_is_that_of_all(potential, data):
    problem = prepare(potential, data, l2=0.0)
    whole, begin = problem.curvature(potential.theta) * problem.n_residuals, 0
    for block in problem.curvature_of_elements(potential.theta):
        end = begin + len(block)
        np.testing.assert_allclose(block, whole[begin:end, begin:end], rtol=1e-5, atol=1e-5 * np.abs(whole).max())
        begin = end
    assert begin == len(potential.theta)

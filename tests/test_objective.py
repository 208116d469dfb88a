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
from bpnumba.training.objective import Objective, Scales, in_memory
from bpnumba.training.settings import Settings

SCALES = Scales(0.01, 0.1, 0.005, 1e-3)


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


def prepare(potential, data, **options):
    return Objective.prepare(potential, data, options.pop("scales", SCALES), describe=in_memory(np.float64), **options)


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
    return total / count + scales.l2 * (potential.theta @ potential.theta)


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
    function = Objective.prepare(potential, data, SCALES).loss_and_gradient
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
    wide = Scales(1e4, 1e5, 1e4, 0.0)  # all residuals are small in these units, where log(1 + r^2) = r^2
    problem = prepare(potential, data, scales=wide)
    assert problem.validate(potential.theta)[0] == pytest.approx(
        problem.loss_and_gradient(potential.theta)[0], rel=1e-6
    )
    problem = prepare(potential, data)
    wrong = replace(data, energy_m=data.energy_m + np.array([1e9, 0, 0, 0, 0, 0]))
    difference = prepare(potential, wrong).validate(potential.theta)[0] - problem.validate(potential.theta)[0]
    assert 0 < difference * problem.n_residuals < 2 * np.log(1e9 / SCALES.energy)


def test_scales_come_from_the_forces_and_ignore_a_few_extreme_ones():
    atoms = bulk("Si", cubic=True) * (4, 4, 4)
    atoms.arrays["REF_forces"] = np.full((len(atoms), 3), 2.0)
    normal = Scales.from_data(Dataset.from_frames([atoms]), Settings())
    assert normal[:3] == pytest.approx((0.01 * 0.14, 0.14, 0.05 * 0.14))
    atoms.arrays["REF_forces"][0] = 50.0
    assert Scales.from_data(Dataset.from_frames([atoms]), Settings()) == pytest.approx(normal)


def test_scales_can_be_given_and_need_no_forces():
    atoms = bulk("Si")
    atoms.info["REF_energy"] = 1.0
    data = Dataset.from_frames([atoms])
    assert Scales.from_data(data, Settings())[:3] == pytest.approx((0.0007, 0.07, 0.0035))
    settings = Settings(energy_scale=1.0, forces_scale=2.0, stress_scale=3.0, l2=4.0)
    assert Scales.from_data(data, settings) == (1.0, 2.0, 3.0, 4.0)


def test_weights_that_are_not_contiguous_are_taken(potential, data):
    problem, theta = prepare(potential, data), potential.theta
    assert problem.loss_and_gradient(np.repeat(theta, 2)[::2])[0] == problem.loss_and_gradient(theta)[0]
    assert replace(problem, weights=(1.0, 0.0, 0.0)).loss_and_gradient(theta)[0] != problem.loss_and_gradient(theta)[0]

"""The factor between spread and error, found again where it is known: synthetic Gaussian members and labels."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
from ase import Atoms

from bpnumba import plots_calibration
from bpnumba.calibration import Calibration, Match
from bpnumba.training.dataset import read

N_ATOMS = 8


def prediction_of(energy_m, forces_ac, energy_std_m, forces_std_ac):
    """What `Calibration` looks at of a prediction."""
    spread = SimpleNamespace(energy_std_m=energy_std_m, forces_std_ac=forces_std_ac)
    return SimpleNamespace(energy_m=energy_m, forces_ac=forces_ac, spread=spread)


def labelled(energy_m, forces_ac):
    frames = []
    for m, (energy, forces) in enumerate(zip(energy_m, np.split(forces_ac, len(energy_m)))):
        atoms = Atoms(f"H{len(forces)}", (3.0 + 0.01 * m) * np.arange(len(forces))[:, None] * [1, 0, 0])
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = energy, forces
        frames.append(atoms)
    return read(frames)


def gaussian(ratio, n_frames=200, n_members=None, seed=0):
    """Prediction and labels whose error is `ratio` times the width of the members.

    Without members the spread is that width; with them it is the standard deviation of so many draws, and the
    prediction their mean.
    """
    random = np.random.default_rng(seed)
    shapes = {"energy": (n_frames,), "forces": (n_frames * N_ATOMS, 3)}
    widths = {"energy": random.uniform(0.02, 0.4, n_frames),
              "forces": random.uniform(0.02, 0.4, (n_frames * N_ATOMS, 1)) * np.ones(3)}  # fmt: skip
    labels = {kind: random.normal(0.0, ratio * widths[kind]) for kind in shapes}
    if n_members is None:
        mean, spread = {kind: np.zeros(shape) for kind, shape in shapes.items()}, widths
    else:
        members = {kind: widths[kind] * random.normal(size=(n_members, *shape)) for kind, shape in shapes.items()}
        mean = {kind: values.mean(axis=0) for kind, values in members.items()}
        spread = {kind: values.std(axis=0, ddof=1) for kind, values in members.items()}
    return prediction_of(mean["energy"], mean["forces"], *spread.values()), labelled(*labels.values())


@pytest.mark.parametrize("ratio", [0.4, 1.0, 2.5])
def test_known_ratio_and_coverage(ratio):
    """Known widths: alpha is the ratio, and the errors of a Gaussian lie where they must."""
    calibration = Calibration.of(*gaussian(ratio))
    for match, n in ((calibration.energy, 200), (calibration.forces, 1600)):
        tolerance = 4.0 / math.sqrt(n)  # relative error of alpha: 1/sqrt(2 n); coverage: below 0.5/sqrt(n)
        assert match.n == n
        assert match.alpha == pytest.approx(ratio, rel=tolerance)
        assert match.within_1 == pytest.approx(math.erf(1 / math.sqrt(2)), abs=tolerance)
        assert match.within_2 == pytest.approx(math.erf(2 / math.sqrt(2)), abs=tolerance)
        assert match.error / match.spread == pytest.approx(ratio, rel=2 * tolerance)
        assert 0.2 < match.spearman < 0.8
        assert match.alpha_committee is None
        for one in match.bins:
            assert one.error / one.spread == pytest.approx(ratio, rel=5 / math.sqrt(one.n))
        assert sum(one.n for one in match.bins) == n
        spreads = [one.spread for one in match.bins]
        assert spreads == sorted(spreads)


@pytest.mark.parametrize("n_members", [4, 8])
@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_few_members(ratio, n_members):
    """The correction finds the width of the truth behind few members, which the plain factor overestimates."""
    random = np.random.default_rng(4)
    width_a = random.uniform(0.02, 0.4, 30_000)[:, None]
    members = width_a * random.normal(size=(n_members, 30_000, 3))
    label = ratio * width_a * random.normal(size=(30_000, 3))
    spread = np.sqrt(np.mean(members.var(axis=0, ddof=1), axis=1))
    forces = Match.of(spread, members.mean(axis=0) - label, n_members)
    assert forces.alpha_committee == pytest.approx(ratio, rel=0.03)
    freedom = 3 * (n_members - 1)  # of the variance of an atom; <1/chi^2> = 1/(freedom - 2)
    assert forces.alpha**2 == pytest.approx((ratio**2 + 1 / n_members) * freedom / (freedom - 2), rel=0.05)


def test_the_published_correction():
    """For one component it is that of Imbalzano et al.; it needs four members, and errors beyond those of the mean."""
    spread, error_c = np.ones(50), np.full((50, 1), 3.0)
    match = Match.of(spread, error_c, 8)
    assert match.alpha == 3.0
    assert match.alpha_committee**2 == pytest.approx((8 - 3) / (8 - 1) * 9.0 - 1 / 8)
    assert Match.of(spread, error_c, 3).alpha_committee is None
    assert Match.of(spread, error_c / 30, 8).alpha_committee is None  # 1/M alone is larger


def test_the_likelihood_has_its_maximum_at_alpha():
    random = np.random.default_rng(1)
    spread, error_c = random.uniform(0.1, 1.0, 60), random.normal(size=(60, 3))
    alpha = Match.of(spread, error_c).alpha

    def log_likelihood(factor):
        sigma = factor * spread[:, None]
        return np.sum(-0.5 * (error_c / sigma) ** 2 - np.log(sigma))

    assert all(log_likelihood(alpha) > log_likelihood(alpha * near) for near in (0.99, 1.01))


def test_a_spread_that_tells_nothing():
    """Errors that do not follow the spread: no rank correlation, and bins far from the diagonal."""
    random = np.random.default_rng(2)
    spread, error_c = 10.0 ** random.uniform(-3, 0, 2000), 0.1 * random.normal(size=(2000, 3))
    match = Match.of(spread, error_c)
    assert abs(match.spearman) < 0.1
    assert match.bins[0].error / match.bins[0].spread > 30
    assert match.bins[-1].error / match.bins[-1].spread < 0.5
    assert match.within_1 > 0.8  # the small spreads blow up alpha


def test_axes_do_not_matter():
    """Turned axes: the same alpha, spread and error of forces."""
    random = np.random.default_rng(3)
    members, label = random.normal(size=(4, 30, 3)), random.normal(size=(30, 3))
    turn, _ = np.linalg.qr(random.normal(size=(3, 3)))
    found = []
    for axes in (np.eye(3), turn):
        turned, mean = members @ axes, members.mean(axis=0) @ axes
        spread = np.sqrt(np.mean(turned.var(axis=0, ddof=1), axis=1))
        found.append(Match.of(spread, mean - label @ axes))
    for name in ("alpha", "spread", "error", "spearman"):
        assert getattr(found[0], name) == pytest.approx(getattr(found[1], name))


def test_values_without_a_spread_are_left_out():
    """Where symmetry forbids a force, there is neither spread nor error."""
    spread, error_c = np.array([0.0, 1e-16, 0.5, 0.5]), np.array([[0.0], [1e-15], [1.0], [-1.0]])
    match = Match.of(spread, error_c)
    assert (match.n, match.alpha) == (2, 2.0)
    assert match.spearman is None
    assert Match.of(np.zeros(3), np.zeros((3, 1))) is None
    assert Match.of(np.zeros(0), np.zeros((0, 3))) is None
    exact = Match.of(np.ones(3), np.zeros((3, 1)))
    assert (exact.alpha, exact.within_1) == (0.0, 1.0)


def test_only_labels_count():
    """Frames without a label and isolated atoms are left out; energies are per atom."""
    prediction, dataset = gaussian(1.0, n_frames=20)
    alone = read(Atoms("H", info={"REF_energy": 1e3}))
    bare = read(Atoms("H8", 3.0 * np.arange(8)[:, None] * [1, 0, 0]))
    dataset = type(dataset).join(dataset, alone, bare)
    spread = prediction.spread
    prediction = prediction_of(
        *(np.concatenate([values, np.zeros((n, *values.shape[1:]))])
          for values, n in ((prediction.energy_m, 2), (prediction.forces_ac, 9))),
        np.concatenate([spread.energy_std_m, [1.0, 1.0]]), np.concatenate([spread.forces_std_ac, np.ones((9, 3))]),
    )  # fmt: skip
    calibration = Calibration.of(prediction, dataset)
    assert (calibration.energy.n, calibration.forces.n) == (20, 160)
    error_m = (prediction.energy_m - dataset.energy_m)[:20] / N_ATOMS
    assert calibration.energy.error == pytest.approx(np.sqrt(np.mean(error_m**2)))


def test_single_potentials_are_refused():
    prediction, dataset = gaussian(1.0, n_frames=3)
    prediction.spread = None
    with pytest.raises(ValueError, match="has no spread"):
        Calibration.of(prediction, dataset)


def test_table_and_json():
    prediction, dataset = gaussian(2.0, n_frames=100, n_members=4)
    calibration = Calibration.of(prediction, dataset, 4)
    text = str(calibration)
    assert "spread of the committee of 4 members against errors" in text
    assert "energy (meV/atom)     forces (eV/A)" in text
    assert f"{1000 * calibration.energy.error:.3f}" in text
    assert f"{calibration.forces.alpha:.3f}" in text
    assert "% (68.3)" in text
    plain = json.loads(json.dumps(calibration.to_json()))
    assert Calibration.from_json(plain) == calibration
    nothing = Calibration(None, None)
    assert Calibration.from_json(json.loads(json.dumps(nothing.to_json()))) == nothing
    assert nothing.forces_factor == 1.0
    assert "values" in str(nothing)


@pytest.mark.parametrize("n_frames", [1, 30, 500])
def test_plot(tmp_path, n_frames):
    prediction, dataset = gaussian(2.0, n_frames=n_frames)
    plots_calibration.calibration(prediction, dataset, tmp_path / "one.png", title="data")
    assert (tmp_path / "one.png").read_bytes().startswith(b"\x89PNG")


def test_plot_without_labels(tmp_path):
    prediction, _ = gaussian(2.0, n_frames=1)
    bare = read(Atoms("H8", 3.0 * np.arange(8)[:, None] * [1, 0, 0]))
    plots_calibration.calibration(prediction, bare, tmp_path / "none.png")
    assert (tmp_path / "none.png").read_bytes().startswith(b"\x89PNG")

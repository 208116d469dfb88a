"""Fits that make more than one potential: with a repulsion of nuclei, as a committee, and both."""

import io

import numpy as np
import pytest
from ase.calculators.emt import EMT
from test_fit import SMALL, copper

import bpnumba
from bpnumba import ZBL, Committee, Composite, Potential, plots
from bpnumba.training import checkpoint, run
from bpnumba.training.dataset import Dataset
from bpnumba.training.objective import Objective
from bpnumba.training.preparation import reseeded, without_terms

QUICK = SMALL | {"optimizer": "kalman", "max_epochs": 8}


@pytest.fixture(autouse=True, scope="module")
def quick():
    """Without pictures, which take seconds and are tested elsewhere; all passes, whatever validation says."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("parity", "learning_curves"):
            patch.setattr(plots, name, lambda *_, **__: None)
        patch.setattr(run, "PATIENCE", {"kalman": 99})
        yield


def fitted(train, valid=None, stream=None, **settings):
    return bpnumba.fit(train, valid, stream=io.StringIO() if stream is None else stream, **QUICK | settings)


def near(n, seed=0):
    """Copper of the effective medium theory, squeezed until nuclei feel each other."""
    frames = copper(n, seed)
    for atoms in frames[::2]:
        atoms.set_cell(0.86 * atoms.cell.array, scale_atoms=True)
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy() - 3.5 * len(atoms)
        atoms.arrays["REF_forces"], atoms.info["REF_stress"] = atoms.get_forces(), atoms.get_stress()
        atoms.calc = None
    return frames


KINDS = {
    "repulsion": {"repulsion": "zbl"},
    "committee": {"committee": 2},
    "committee and repulsion": {"committee": 2, "repulsion": "zbl"},
}


@pytest.fixture(scope="module")
def frames():
    return near(12), near(3, seed=1)


@pytest.fixture(scope="module")
def results(frames, tmp_path_factory):
    """A fit of each kind, with files, and what it said."""
    found = {}
    for kind, settings in KINDS.items():
        stream, folder = io.StringIO(), tmp_path_factory.mktemp("models")
        found[kind] = fitted(*frames, stream, output=folder / "cu.npz", **settings), stream.getvalue()
    return found


@pytest.fixture(params=KINDS)
def result(request, results):
    return results[request.param]


# ---- labels without the share of terms -------------------------------------------------------------------------------


def test_labels_are_the_rest_and_the_term(frames):
    """Energies, forces and stresses of ZBL alone by ASE's strain: none of them by the code that is tested."""
    data, term = Dataset.from_frames(frames[0]), ZBL.for_species(["Cu"])
    rest, h = without_terms(data, (term,)), 1e-4
    share = term.evaluate(list(data.atoms))
    assert share.energy_m.max() > 0.1
    np.testing.assert_allclose(rest.energy_m + share.energy_m, data.energy_m, rtol=0, atol=1e-12)
    np.testing.assert_allclose(rest.forces_ac + share.forces_ac, data.forces_ac, rtol=0, atol=1e-12)
    m = int(np.argmax(share.energy_m))
    for v, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        energies = []
        for step in (-2, -1, 1, 2):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * step * h
            strain[j, i] += 0.5 * step * h
            atoms = data.atoms[m].copy()
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            energies.append(term.evaluate(atoms).energy_m[0])
        slope = (energies[0] - 8 * energies[1] + 8 * energies[2] - energies[3]) / (12 * h)
        expected = data.stress_mv[m, v] - slope / data.atoms[m].cell.volume
        assert rest.stress_mv[m, v] == pytest.approx(expected, abs=1e-7)


def test_labels_that_are_absent_stay_absent():
    frames = near(4)
    del frames[0].info["REF_energy"], frames[2].arrays["REF_forces"], frames[1].info["REF_stress"]
    del frames[2].info["REF_stress"]
    frames[2].pbc = (True, True, False)
    data = Dataset.from_frames(frames)
    rest = without_terms(data, (ZBL.for_species(["Cu"]),))
    for name in ("has_energy_m", "has_forces_m", "has_stress_m"):
        np.testing.assert_array_equal(getattr(rest, name), getattr(data, name))
    assert rest.energy_m[0] == 0.0
    assert not rest.forces_ac[8:12].any()
    assert not rest.stress_mv[[1, 2]].any()
    assert rest.energy_m[2] != data.energy_m[2]
    assert without_terms(data, ()) is data
    assert len(without_terms(data.subset([]), (ZBL.for_species(["Cu"]),))) == 0


# ---- the models ------------------------------------------------------------------------------------------------------


def test_kind_of_the_model(results):
    kinds = {name: type(fitted.potential) for name, (fitted, _) in results.items()}
    assert kinds == {"repulsion": Composite, "committee": Committee, "committee and repulsion": Composite}
    assert type(results["repulsion"][0].potential.short_range) is Potential
    assert type(results["committee and repulsion"][0].potential.short_range) is Committee


def test_predicts_labels_and_not_what_is_left_of_them(result, frames):
    """Errors are far below the share of the repulsion, which nobody learned."""
    errors, share = bpnumba.evaluate(result[0].potential, frames[0]).total, ZBL.for_species(["Cu"]).evaluate(frames[0])
    sizes = [np.sqrt(np.mean(np.square(of))) for of in (share.energy_m / 4, share.forces_ac, share.stress_mv)]
    assert errors.energy_rmse_mev_per_atom < 1000 * 0.1 * sizes[0]
    assert errors.forces_rmse_ev_per_angstrom < 0.4 * sizes[1]
    assert errors.stress_rmse_gpa < 160.2 * 0.2 * sizes[2]


def test_forces_are_slopes_of_the_energy(result, difference):
    model, atoms = result[0].potential, near(1, seed=4)[0]
    forces, random = model.evaluate(atoms).forces_ac, np.random.default_rng(0)
    for direction in random.normal(size=(3, *atoms.positions.shape)):

        def energy(t, direction=direction):
            moved = atoms.copy()
            moved.positions += t * direction
            return model.evaluate(moved).energy_m[0]

        assert -difference(energy) == pytest.approx((forces * direction).sum(), abs=1e-5)


def test_round_trip_of_the_file(result, frames):
    fitted, _ = result
    model, again = fitted.potential, bpnumba.load(fitted.files["model"])
    assert type(again) is type(model)
    for name in ("energy_m", "forces_ac", "virial_mcc"):
        one, two = (getattr(of.evaluate(frames[1]), name) for of in (model, again))
        np.testing.assert_array_equal(one, two)
    training = getattr(again, "short_range", again).info["training"]
    assert training["errors"]["validation"]["n_energies"] == 3
    assert training["settings"]["repulsion"] == ("zbl" if isinstance(model, Composite) else None)


def test_errors_in_the_file_are_those_of_the_whole_model(result, frames):
    model = result[0].potential
    stored = getattr(model, "short_range", model).info["training"]["errors"]["validation"]
    errors = bpnumba.evaluate(model, frames[1]).to_json()
    assert stored["energy_rmse_mev_per_atom"] == pytest.approx(errors["energy_rmse_mev_per_atom"], rel=1e-9)
    assert stored["forces_rmse_ev_per_angstrom"] == pytest.approx(errors["forces_rmse_ev_per_angstrom"], rel=1e-9)


# ---- committees ------------------------------------------------------------------------------------------------------


def test_members_share_functions_and_differ(results, frames):
    committee, text = results["committee"][0].potential, results["committee"][1]
    one, two = committee.members
    assert one.symmetry_functions is two.symmetry_functions
    assert not np.array_equal(one.theta, two.theta)
    spread = committee.evaluate(frames[1]).spread
    assert (spread.energy_std_m > 0).all()
    for words in ("member 1 of 2\n", "member 2 of 2\n", "spread of the committee, validation frames\n"):
        assert words in text
    training = committee.info["training"]
    assert len(training["best_iterations"]) == 2
    assert training["calibration"]


def test_members_are_the_fits_of_their_seeds(results, frames):
    """The first member is the fit without a committee; the second starts at the weights of the next seed."""
    members = results["committee"][0].potential.members
    alone = fitted(*frames)
    np.testing.assert_array_equal(alone.potential.theta, members[0].theta)
    potential = alone.potential
    assert not np.array_equal(reseeded(potential, 3).theta, reseeded(potential, 4).theta)
    np.testing.assert_array_equal(reseeded(potential, 4).theta, reseeded(potential, 4).theta)
    bias = potential.networks[0].layers[-1][1]
    assert reseeded(potential, 9).networks[0].layers[-1][1] == bias


def test_files_of_every_member(results):
    files = results["committee"][0].files
    assert [path.name for path in files["checkpoints"]] == ["cu.checkpoint.npz", "cu-2.checkpoint.npz"]
    assert [path.name for path in files["histories"]] == ["cu.csv", "cu-2.csv"]
    assert all(path.exists() for path in (*files["checkpoints"], *files["histories"]))
    assert not (files["model"].parent / "cu-3.csv").exists()


@pytest.mark.parametrize("kind", ["committee", "committee and repulsion"])
def test_a_committee_goes_on_where_a_checkpoint_is_missing(results, frames, tmp_path, kind):
    """The members that are done stay as they are, the missing one is fitted anew, to the same bits."""
    settings, expected = KINDS[kind], results[kind][0].potential
    output, saved = tmp_path / "cu.npz", []
    first = fitted(*frames, output=output, **settings)
    first.files["checkpoints"][1].unlink()
    (tmp_path / "cu-2.checkpoint.npz.previous").unlink()
    with pytest.MonkeyPatch.context() as patch:
        real = checkpoint.save
        patch.setattr(checkpoint, "save", lambda path, *rest: saved.append(path.name) or real(path, *rest))
        second = fitted(*frames, output=output, resume=True, **settings)
    assert set(saved) == {"cu.checkpoint.npz", "cu-2.checkpoint.npz"}
    assert saved.count("cu.checkpoint.npz") == 1
    for one, two in zip(getattr(second.potential, "short_range", second.potential).members,
                        getattr(expected, "short_range", expected).members, strict=True):  # fmt: skip
        np.testing.assert_array_equal(one.theta, two.theta)


def test_one_potential_may_become_the_first_of_a_committee(frames, tmp_path):
    alone = fitted(*frames, output=tmp_path / "cu.npz")
    committee = fitted(*frames, output=tmp_path / "cu.npz", committee=2, resume=True).potential
    np.testing.assert_array_equal(committee.members[0].theta, alone.potential.theta)
    assert not np.array_equal(committee.members[1].theta, alone.potential.theta)


@pytest.mark.parametrize(("stop", "kind"), [(5, Potential), (16, Committee)])
def test_ctrl_c_leaves_the_members_that_there_are(frames, tmp_path, monkeypatch, stop, kind):
    calls, real = [], Objective.linearize

    def interrupted(self, *given):
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        return real(self, *given)

    monkeypatch.setattr(Objective, "linearize", interrupted)
    result = fitted(*frames, committee=2, output=tmp_path / "cu.npz")
    assert result.reason == "interrupted"
    assert type(result.potential) is kind
    monkeypatch.undo()
    resumed = fitted(*frames, committee=2, output=tmp_path / "cu.npz", resume=True)
    assert len(resumed.potential.members) == 2
    assert [row.iteration for row in resumed.history.rows] == list(range(9))

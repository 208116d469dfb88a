"""A fit from files to files: it learns, repeats itself, resumes, stops, and refuses what it must."""

import io
import signal

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT

import bpnumba
from bpnumba.io.input_data import write_structures
from bpnumba.training import checkpoint
from bpnumba.training.objective import Objective
from bpnumba.training.progress import History

SMALL = {"cutoff": 5.5, "n_functions": 12, "hidden": (6,), "max_iterations": 40, "seed": 3}
PLAIN = SMALL | {"optimizer": "lbfgs"}
"""One phase, with an evaluation or a little more per iteration; the others are in test_optimizers.py."""


def copper(n, seed=0):
    """Rattled and strained copper with the labels of effective medium theory."""
    rng, frames = np.random.default_rng(seed), []
    for m in range(n):
        atoms = bulk("Cu", cubic=True)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.03 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.12, seed=100 * seed + m)
        atoms.calc = EMT()
        atoms.info["REF_energy"] = atoms.get_potential_energy() - 3.5 * len(atoms)
        atoms.arrays["REF_forces"] = atoms.get_forces()
        atoms.info["REF_stress"] = atoms.get_stress()
        atoms.calc = None
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("fit")
    ase.io.write(path / "train.xyz", copper(60))
    ase.io.write(path / "valid.xyz", copper(6, seed=1))
    return path


@pytest.fixture(scope="module")
def result(folder):
    """One fit with all files, and what it printed."""
    stream = io.StringIO()
    fitted = bpnumba.fit(
        folder / "train.xyz",
        folder / "valid.xyz",
        folder / "cu.npz",
        stream=stream,
        checkpoint_every=10,
        **PLAIN | {"max_iterations": 150},
    )
    return fitted, stream.getvalue()


def test_learns_energies_forces_and_stresses_of_unseen_frames(result):
    labels = copper(8, seed=2)
    total = bpnumba.evaluate(result[0].potential, labels).total
    spread = np.std([atoms.info["REF_energy"] / len(atoms) for atoms in labels])
    forces = np.sqrt(np.mean([atoms.arrays["REF_forces"] ** 2 for atoms in labels]))
    stress = np.sqrt(np.mean([atoms.info["REF_stress"] ** 2 for atoms in labels]))
    assert total.energy_rmse_mev_per_atom < 1000 * 0.2 * spread
    assert total.forces_rmse_ev_per_angstrom < 0.2 * forces
    assert total.stress_rmse_gpa < 160.2 * 0.2 * stress


def test_tells_what_it_found_and_what_it_does_with_units(result):
    text = result[1]
    for words in (
        "training: 60 frames, 240 atoms: Cu",
        "60 energies, 240 force vectors, 60 stresses",
        "validation: 6 frames",
        "condition number",
        "reference energy Cu:",
        "eV (least squares)",
        "that may be used: program",
        "(float32) in memory",
        "errors that count as noise: energy ",
        "optimizer lbfgs: 85 weights, 1,140 residuals",
        "meV/atom",
        "meV/Angstrom",
        "GPa",
        "iteration 50  loss",
        "ended: 150 iterations",
        "wrote ",
    ):
        assert words in text


def test_writes_model_history_and_pictures(result, folder):
    for kind in ("model", "history", "curves", "parity", "checkpoint"):
        assert result[0].files[kind].stat().st_size > 500
    assert result[0].files["curves"].read_bytes().startswith(b"\x89PNG")
    rows = History.read(folder / "cu.csv").rows
    assert [row.iteration for row in rows] == list(range(151))
    assert rows[-1].loss < 0.01 * rows[0].loss
    potential = bpnumba.load(folder / "cu.npz")
    np.testing.assert_array_equal(potential.theta, result[0].potential.theta)
    assert potential.info["training"]["errors"]["validation"]["energy_rmse_mev_per_atom"] > 0


def test_keeps_the_weights_of_the_smallest_validation_loss(folder, monkeypatch):
    scores = {0: 5.0, 10: 3.0, 20: 1.0, 30: 2.0, 40: 4.0}
    called, kept = [], {}

    def made_up(self, theta):
        iteration = 10 * len(called)
        called.append(iteration)
        kept[iteration] = theta.copy()
        return scores[iteration], (0.0, 0.0, 0.0)

    monkeypatch.setattr(Objective, "validate", made_up)
    result = bpnumba.fit(copper(12), copper(2, seed=1), stream=io.StringIO(), **PLAIN)
    np.testing.assert_array_equal(result.potential.theta, kept[20])


def test_stops_when_validation_does_not_improve(folder, monkeypatch):
    monkeypatch.setattr(Objective, "validate", lambda self, theta: (1.0, (0.0, 0.0, 0.0)))
    result = bpnumba.fit(copper(12), copper(2, seed=1), stream=io.StringIO(), patience=15, **PLAIN)
    assert result.reason == "no better validation error for 20 iterations"
    assert result.history.rows[-1].iteration == 20


def test_an_early_end_keeps_the_last_weights_if_they_are_better(monkeypatch):
    real, calls = Objective.evaluate, []

    def interrupted(self, theta):
        calls.append(1)
        if len(calls) == 8:
            signal.raise_signal(signal.SIGINT)
        return real(self, theta)

    monkeypatch.setattr(Objective, "evaluate", interrupted)
    result = bpnumba.fit(copper(12), copper(2, seed=1), stream=io.StringIO(), **PLAIN)
    last = result.history.rows[-1]
    assert 0 < last.iteration < 8
    assert last.valid[0] > 0
    assert result.potential.info["training"]["best_iteration"] == last.iteration


def test_without_validation_frames_the_last_weights_are_kept():
    result = bpnumba.fit(copper(6), stream=io.StringIO(), valid_fraction=0, **PLAIN)
    assert result.potential.info["training"]["best_iteration"] == SMALL["max_iterations"]


def test_same_seed_same_bits_and_another_seed_another_potential():
    fits = [bpnumba.fit(copper(12), stream=io.StringIO(), **SMALL | {"seed": seed}) for seed in (3, 3, 4)]
    np.testing.assert_array_equal(fits[0].potential.theta, fits[1].potential.theta)
    assert not np.array_equal(fits[0].potential.theta, fits[2].potential.theta)


def test_resumes_where_it_was_killed(folder, tmp_path):
    out, options = tmp_path / "cu.npz", PLAIN | {"checkpoint_every": 20}
    source = folder / "train.xyz", folder / "valid.xyz", out

    class Killed(Exception):
        pass

    real = checkpoint.save

    def save_and_die(path, state, fingerprint):
        real(path, state, fingerprint)
        raise Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(Killed):
            bpnumba.fit(*source, stream=io.StringIO(), **options)
    assert not out.exists()
    resumed = bpnumba.fit(*source, resume=True, stream=io.StringIO(), **options)
    rows = resumed.history.rows
    assert [row.iteration for row in rows] == list(range(41))
    assert rows[21].loss <= rows[20].loss < rows[0].loss
    assert all(b.elapsed >= a.elapsed for a, b in zip(rows[:-1], rows[1:], strict=True))
    more = bpnumba.fit(*source, resume=True, stream=io.StringIO(), **options | {"max_iterations": 50})
    assert more.history.rows[-1].iteration == 50
    with pytest.raises(ValueError, match=r"belongs to another fit, different are: setting l2"):
        bpnumba.fit(*source, resume=True, stream=io.StringIO(), l2=0.5, **options)


def test_resume_without_a_checkpoint(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        bpnumba.fit(copper(4), output=tmp_path / "a.npz", resume=True, stream=io.StringIO(), **SMALL)
    with pytest.raises(ValueError, match="resume needs the output"):
        bpnumba.fit(copper(4), resume=True, stream=io.StringIO(), **SMALL)


def test_ctrl_c_ends_with_the_best_model_saved(folder, tmp_path, monkeypatch):
    real, calls = Objective.evaluate, []

    def interrupted(self, theta):
        calls.append(1)
        if len(calls) == 25:
            signal.raise_signal(signal.SIGINT)
        return real(self, theta)

    monkeypatch.setattr(Objective, "evaluate", interrupted)
    stream = io.StringIO()
    result = bpnumba.fit(folder / "train.xyz", output=tmp_path / "cu.npz", stream=stream, **PLAIN)
    assert result.reason == "interrupted"
    assert "ended: interrupted" in stream.getvalue()
    assert 0 < result.history.rows[-1].iteration < 25
    assert bpnumba.load(tmp_path / "cu.npz").theta.shape == result.potential.theta.shape
    assert (tmp_path / "cu.checkpoint.npz").exists()


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_a_requested_label_that_no_frame_has_is_refused(label):
    frames = copper(3)
    for atoms in frames:
        atoms.info.pop(f"REF_{label}", None)
        atoms.arrays.pop(f"REF_{label}", None)
    with pytest.raises(ValueError, match=f"none of the 3 frames has {label}"):
        bpnumba.fit(frames, stream=io.StringIO(), **SMALL, **{f"{label}_weight": 1.0})


def test_labels_are_optional_per_frame():
    frames = copper(12)
    for m, atoms in enumerate(frames):
        if m % 3 == 0:
            del atoms.arrays["REF_forces"]
        if m % 3 == 1:
            del atoms.info["REF_stress"]
        if m % 4 == 1:
            del atoms.info["REF_energy"]
    result = bpnumba.fit(frames, stream=io.StringIO(), **SMALL)
    assert result.history.rows[-1].loss < 0.1 * result.history.rows[0].loss


def test_energies_alone_can_be_fitted_and_zero_weights_leave_out():
    frames = copper(12)
    result = bpnumba.fit(frames, stream=io.StringIO(), forces_weight=0, stress_weight=0, **SMALL)
    assert result.history.rows[-1].train[0] < 0.2 * result.history.rows[0].train[0]
    with pytest.raises(ValueError, match="nothing to fit"):
        bpnumba.fit(frames, stream=io.StringIO(), energy_weight=0, forces_weight=0, stress_weight=0, **SMALL)


def test_isolated_atoms_set_the_reference_energy_and_stay_out_of_the_fit():
    atom = Atoms("Cu", info={"REF_energy": -1.25, "config_type": "isolated_atom"})
    stream = io.StringIO()
    result = bpnumba.fit([atom, *copper(12)], stream=stream, **SMALL)
    assert result.potential.reference_energies == {"Cu": -1.25}
    assert "(isolated atom)" in stream.getvalue()
    assert result.history.rows[0].train[0] < 2.0  # eV per atom: the mean binding energy is where the weights start


def test_given_functions_and_reference_energies_are_used():
    functions = bpnumba.SymmetryFunctions(["Cu"], 4.0, g2_params=[[0.5, 0.0], [1.0, 2.0]])
    result = bpnumba.fit(
        copper(12),
        stream=io.StringIO(),
        symmetry_functions=functions,
        reference_energies={"Cu": -3.0},
        hidden=(4,),
        max_iterations=5,
    )
    assert result.potential.symmetry_functions is functions
    assert result.potential.reference_energies == {"Cu": -3.0}


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"hiden": (5,)}, TypeError, "no setting hiden; there are symmetry_functions, cutoff"),
        ({"max_iterations": -1}, ValueError, "max_iterations must be at least 0, not -1"),
        ({"forces_weight": -1.0}, ValueError, "forces_weight must be at least 0"),
        ({"activation": "relu6"}, ValueError, "unknown activation 'relu6'; there are tanh"),
        ({"scaling": "zscore"}, ValueError, "unknown scaling 'zscore'"),
        ({"cutoff_function": "cos"}, ValueError, "unknown cutoff_function 'cos'"),
        ({"units": "si"}, ValueError, "unknown units 'si'; there are atomic, metal"),
        ({"cutoff": 1.0}, ValueError, "no Cu atom has a neighbor within 1 Angstrom"),
        ({"n_functions": 0}, ValueError, "n_functions must be at least 1, not 0"),
        ({"hidden": (5, 0)}, ValueError, "hidden must be at least 1, not 0"),
        ({"forces_scale": 0.0}, ValueError, "forces_scale must be positive, not 0"),
        ({"energy_scale": float("nan")}, ValueError, "energy_scale must be positive, not nan"),
        ({"config_type_weights": {"default": -1}}, ValueError, "config_type_weights must be at least 0, not -1"),
        (
            {"config_type_weights": {"liquid": 1}},
            ValueError,
            "config_type liquid, which no frame has; there are default",
        ),
        ({"valid_fraction": 1.5}, ValueError, "valid_fraction must be below 1"),
    ],
)
def test_wrong_settings_are_named(settings, error, message):
    with pytest.raises(error, match=message):
        bpnumba.fit(copper(4), stream=io.StringIO(), **settings)


def test_wrong_outputs_are_refused_before_any_work(tmp_path):
    with pytest.raises(ValueError, match="must end in .npz"):
        bpnumba.fit(copper(2), output=tmp_path / "model.pt")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="is a directory"):
        bpnumba.fit(copper(2), output=tmp_path / "folder.npz")
    with pytest.raises(OSError, match="nothing can be written there"):
        bpnumba.fit(copper(2), output="/proc/model.npz")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        bpnumba.fit(copper(2), output=tmp_path / "absent" / "model.npz")


def test_validation_frames_of_another_element_are_refused():
    gold = bulk("Au")
    gold.info["REF_energy"] = 1.0
    with pytest.raises(ValueError, match="validation frames hold Au, which no training frame has"):
        bpnumba.fit(copper(2), [gold], stream=io.StringIO())


def test_validation_frames_without_a_label_that_counts_are_refused_at_the_start():
    valid = copper(2, seed=1)
    for atoms in valid:
        atoms.info["config_type"] = "other"
    with pytest.raises(ValueError, match="no validation frame has a label that counts"):
        bpnumba.fit(copper(2), valid, stream=io.StringIO(), config_type_weights={"other": 0.0})
    for atoms in valid:
        del atoms.info["REF_energy"]
    with pytest.raises(ValueError, match="no validation frame has a label that counts"):
        bpnumba.fit(copper(2), valid, stream=io.StringIO(), forces_weight=0, stress_weight=0)


def test_a_weight_of_zero_does_not_look_at_the_label():
    slab = copper(12)
    slab[0].pbc = (True, True, False)  # a stress label that no slab can have
    with pytest.raises(ValueError, match="not periodic in three directions"):
        bpnumba.fit(slab, stream=io.StringIO(), **SMALL)
    result = bpnumba.fit(slab, stream=io.StringIO(), stress_weight=0, **SMALL | {"max_iterations": 2})
    assert result.potential.info["training"]["errors"]["training"]["n_stresses"] == 0


def marked(n, n_test):
    """Frames of which the first are for tests, as files of n2p2 mark them."""
    frames = copper(n)
    for m, atoms in enumerate(frames):
        atoms.info["set"] = "test" if m < n_test else "train"
        del atoms.info["REF_stress"]
    return frames


def test_frames_marked_as_test_validate_and_are_not_trained_on():
    frames, stream = marked(8, 3), io.StringIO()
    result = bpnumba.fit(frames, stream=stream, **SMALL | {"max_iterations": 1, "valid_fraction": 0.5})
    errors = result.potential.info["training"]["errors"]
    assert (errors["training"]["n_energies"], errors["validation"]["n_energies"]) == (5, 3)
    assert "3 frames are marked set=test: used for validation\n" in stream.getvalue()


def test_frames_marked_as_test_are_left_out_where_validation_frames_are_given():
    stream = io.StringIO()
    result = bpnumba.fit(marked(8, 3), copper(2, seed=1), stream=stream, **SMALL | {"max_iterations": 1})
    errors = result.potential.info["training"]["errors"]
    assert (errors["training"]["n_energies"], errors["validation"]["n_energies"]) == (5, 2)
    assert "3 frames are marked set=test: left out of training\n" in stream.getvalue()
    with pytest.raises(ValueError, match="all 4 frames are marked set=test: there is no frame to train on"):
        bpnumba.fit(marked(4, 4), stream=io.StringIO(), **SMALL)


def test_files_of_runner_in_either_units(tmp_path):
    """The same fit from the same structures: units and marks are those of the file."""
    histories = []
    for units in ("atomic", "metal"):
        write_structures(tmp_path / f"input.data.{units}", marked(8, 3), units)
        result = bpnumba.fit(tmp_path / f"input.data.{units}", stream=io.StringIO(), units=units,
                             **SMALL | {"max_iterations": 3})  # fmt: skip
        histories.append([row.loss for row in result.history.rows])
        assert result.potential.info["training"]["settings"]["units"] == units
    np.testing.assert_allclose(*histories, rtol=1e-6)


def test_numbers_of_numpy_are_settings_too():
    settings = {"seed": np.int64(1), "hidden": np.array([3]), "cutoff": np.float32(4.5), "max_iterations": 1}
    result = bpnumba.fit(copper(6), stream=io.StringIO(), **settings)
    assert result.potential.info["training"]["settings"]["hidden"] == [3]


def test_an_isolated_atom_of_an_element_that_nothing_else_has_is_left_out():
    gold = Atoms("Au", info={"REF_energy": -0.5, "config_type": "isolated_atom"})
    stream = io.StringIO()
    result = bpnumba.fit([gold, *copper(6)], stream=stream, **SMALL | {"max_iterations": 1})
    assert result.potential.species == ("Cu",)
    assert "frame 0: left out, no other frame holds Au" in stream.getvalue()

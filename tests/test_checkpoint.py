"""Checkpoints: the newest intact one of the same fit, or an error that says why not."""

import os
from dataclasses import replace

import numpy as np
import pytest

import bpnumba
from bpnumba.io import archive
from bpnumba.training import checkpoint
from bpnumba.training.checkpoint import Fingerprint, State
from bpnumba.training.progress import History, Row

SETTINGS = {"seed": 1, "hidden": (15, 15), "l2": np.float64(0.1)}
FINGERPRINT = Fingerprint(SETTINGS, {"training": "ab", "validation": "cd"})


def state_at(iteration):
    rng = np.random.default_rng(iteration)
    return State(
        iteration=iteration,
        theta=rng.normal(size=9),
        best_theta=rng.normal(size=9),
        best_iteration=iteration - 1,
        best_score=float("inf"),
        phase="gn-lbfgs",
        in_phase=2,
        l2=0.25,
        history=History([Row(i, 1.0 / (i + 1), train=(0.1, 0.2, 0.3)) for i in range(iteration)]),
    )


def test_round_trip(tmp_path):
    state = state_at(3)
    checkpoint.save(tmp_path / "c.npz", state, FINGERPRINT)
    loaded = checkpoint.load(tmp_path / "c.npz", FINGERPRINT)
    assert (loaded.iteration, loaded.best_iteration, loaded.best_score) == (3, 2, float("inf"))
    assert (loaded.phase, loaded.in_phase, loaded.l2) == ("gn-lbfgs", 2, 0.25)
    np.testing.assert_array_equal(loaded.theta, state.theta)
    np.testing.assert_array_equal(loaded.best_theta, state.best_theta)
    np.testing.assert_array_equal(loaded.history.as_array(), state.history.as_array())


@pytest.mark.parametrize(
    ("part", "name", "value", "message"),
    [
        ("arrays", "theta", np.zeros(8), "array 'best_theta' is float64 of shape"),
        ("arrays", "theta", np.full(9, np.nan), "array 'theta' has values that are not finite"),
        ("arrays", "best_theta", np.full(9, np.inf), "array 'best_theta' has values that are not finite"),
        ("arrays", "theta", None, "its content is not that of a bpnumba checkpoint .*theta"),
        ("arrays", "history", np.zeros((2, 3)), "its content is not that of a bpnumba checkpoint"),
        ("header", "iteration", None, "its content is not that of a bpnumba checkpoint .*iteration"),
        ("header", "iteration", "3", "iterations .* are not those of a fit"),
        ("header", "best_score", float("nan"), "iterations .* are not those of a fit"),
        ("header", "phase", None, "its content is not that of a bpnumba checkpoint .*phase"),
        ("header", "phase", 3, "phase 3 and regularization 0.25 are not those of a fit"),
        ("header", "in_phase", -1, "iterations .* are not those of a fit"),
        ("header", "in_phase", 1.5, "iterations .* are not those of a fit"),
        ("header", "l2", -1.0, "phase 'gn-lbfgs' and regularization -1.0 are not those of a fit"),
        ("header", "l2", float("inf"), "phase .* and regularization inf are not those of a fit"),
        ("header", "l2", float("nan"), "phase .* and regularization nan are not those of a fit"),
        ("header", "fingerprint", None, "its content is not that of a bpnumba checkpoint"),
        ("header", "fingerprint", {}, "its fingerprint is not that of a bpnumba checkpoint"),
    ],
)
def test_content_that_no_fit_has_written(tmp_path, part, name, value, message):
    path = tmp_path / "c.npz"
    checkpoint.save(path, state_at(1), FINGERPRINT)
    header, arrays = archive.read(path, checkpoint.KIND)
    contents = {"header": header, "arrays": arrays}[part]
    contents.pop(name)
    if value is not None:
        contents[name] = value
    archive.write(path, checkpoint.KIND, header, arrays)
    with pytest.raises(ValueError, match=rf"c\.npz: {message}"):
        checkpoint.load(path, FINGERPRINT)


def test_number_of_weights(tmp_path):
    checkpoint.save(tmp_path / "c.npz", state_at(1), FINGERPRINT)
    assert checkpoint.load(tmp_path / "c.npz", FINGERPRINT, n_weights=9).iteration == 1
    with pytest.raises(ValueError, match=r"c\.npz: has 9 weights, but the fit has 10"):
        checkpoint.load(tmp_path / "c.npz", FINGERPRINT, n_weights=10)


def test_behind_a_symbolic_link(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "c.npz").symlink_to(tmp_path / "disk" / "c.npz")
    for iteration in (1, 2):
        checkpoint.save(tmp_path / "c.npz", state_at(iteration), FINGERPRINT)
    assert (tmp_path / "c.npz").is_symlink()
    assert sorted(os.listdir(tmp_path / "disk")) == ["c.npz", "c.npz.previous"]
    assert checkpoint.load(tmp_path / "c.npz", FINGERPRINT).iteration == 2


def test_members_of_a_committee(tmp_path):
    """Those that have a checkpoint go on; the first must have one, and none is taken for another."""
    paths = [tmp_path / f"c{n}.npz" for n in range(3)]
    prints = [replace(FINGERPRINT, settings={**SETTINGS, "member": n}) for n in range(3)]
    with pytest.raises(FileNotFoundError, match=r"c0\.npz: no checkpoint to resume from"):
        checkpoint.load_all(paths, prints)
    for n in (0, 2):
        checkpoint.save(paths[n], state_at(n + 1), prints[n])
    assert {n: state.iteration for n, state in checkpoint.load_all(paths, prints).items()} == {0: 1, 2: 3}
    os.replace(paths[2], paths[1])
    with pytest.raises(ValueError, match=r"c1\.npz: belongs to another fit.*setting member \(2 there, 1 here\)"):
        checkpoint.load_all(paths, prints)


def test_corrupt_newest_falls_back(tmp_path):
    path = tmp_path / "c.npz"
    checkpoint.save(path, state_at(10), FINGERPRINT)
    checkpoint.save(path, state_at(20), FINGERPRINT)
    assert checkpoint.load(path, FINGERPRINT).iteration == 20
    path.write_bytes(path.read_bytes()[:200])
    with pytest.warns(UserWarning, match=r"c\.npz: .*continues from the checkpoint before.*c\.npz\.previous"):
        assert checkpoint.load(path, FINGERPRINT).iteration == 10
    path.unlink()  # killed between the two renames of a save
    with pytest.warns(UserWarning, match="is missing"):
        assert checkpoint.load(path, FINGERPRINT).iteration == 10


def test_both_corrupt_or_none(tmp_path):
    path = tmp_path / "c.npz"
    with pytest.raises(FileNotFoundError, match="no checkpoint to resume from"):
        checkpoint.load(path, FINGERPRINT)
    for iteration in (1, 2):
        checkpoint.save(path, state_at(iteration), FINGERPRINT)
    for name in ("c.npz", "c.npz.previous"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"no checkpoint is intact: .*c\.npz: .*c\.npz\.previous: "):
        checkpoint.load(path, FINGERPRINT)


def test_model_file_is_no_checkpoint(tmp_path):
    archive.write(tmp_path / "si.npz", "bpnumba model", {}, {})
    with pytest.raises(ValueError, match="holds a bpnumba model, not a bpnumba checkpoint"):
        checkpoint.load(tmp_path / "si.npz", FINGERPRINT)


@pytest.mark.parametrize(
    ("settings", "data", "message"),
    [
        ({"seed": 2}, {}, r"setting seed \(1 there, 2 here\)"),
        ({"hidden": (10,)}, {}, r"setting hidden \(\[15, 15\] there, \[10\] here\)"),
        ({"cutoff": 5.0}, {}, r"setting cutoff \(None there, 5.0 here\)"),
        ({}, {"training": "xy"}, "different are: training data"),
        ({"l2": 1.0}, {"validation": "xy"}, r"setting l2 \(0.1 there, 1.0 here\), validation data"),
    ],
)
def test_other_fit_is_refused_and_the_difference_named(tmp_path, settings, data, message):
    checkpoint.save(tmp_path / "c.npz", state_at(1), FINGERPRINT)
    other = Fingerprint({**FINGERPRINT.settings, **settings}, {**FINGERPRINT.data, **data})
    with pytest.raises(ValueError, match=f"c.npz: belongs to another fit.*{message}"):
        checkpoint.load(tmp_path / "c.npz", other)


def test_another_version_is_another_fit(tmp_path):
    checkpoint.save(tmp_path / "c.npz", state_at(1), replace(FINGERPRINT, version="0.0.9"))
    with pytest.raises(ValueError, match=rf"version of bpnumba \(0\.0\.9 there, {bpnumba.__version__} here\)"):
        checkpoint.load(tmp_path / "c.npz", FINGERPRINT)


def test_fingerprint_does_not_care_for_order_or_tuples():
    same = Fingerprint({"l2": 0.1, "hidden": [15, 15], "seed": 1}, {"validation": "cd", "training": "ab"})
    assert same.sha256 == FINGERPRINT.sha256


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_full_disk_leaves_the_last_checkpoint_intact(tmp_path, monkeypatch, function):
    def full(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "c.npz"
    for iteration in (1, 2):
        checkpoint.save(path, state_at(iteration), FINGERPRINT)
    with monkeypatch.context() as patch:
        patch.setattr(os, function, full)
        with pytest.raises(OSError, match="No space left on device"):
            checkpoint.save(path, state_at(3), FINGERPRINT)
    assert checkpoint.load(path, FINGERPRINT).iteration == 2
    assert checkpoint.load(tmp_path / "c.npz.previous", FINGERPRINT).iteration == 1
    assert sorted(os.listdir(tmp_path)) == ["c.npz", "c.npz.previous"]


def test_read_only_disk_leaves_the_last_checkpoint_intact(tmp_path, monkeypatch):
    def read_only(name, mode):
        raise PermissionError(13, "Permission denied", name)

    checkpoint.save(tmp_path / "c.npz", state_at(1), FINGERPRINT)
    with monkeypatch.context() as patch:
        patch.setattr(archive, "open", read_only, raising=False)  # permissions would not stop root
        with pytest.raises(PermissionError, match="could not be written"):
            checkpoint.save(tmp_path / "c.npz", state_at(2), FINGERPRINT)
    assert checkpoint.load(tmp_path / "c.npz", FINGERPRINT).iteration == 1
    assert os.listdir(tmp_path) == ["c.npz"]

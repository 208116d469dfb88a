"""Phases of a fit: each comes near to the minimum, the best weights are kept, and any end leaves a model behind."""

import io
import signal

import numpy as np
import pytest
from ase import Atoms
from test_fit import SMALL as SMALLEST
from test_fit import copper
from test_rows import frames as all_kinds
from test_rows import potential_of

import bpnumba
from bpnumba import plots
from bpnumba.potential import Potential
from bpnumba.training import checkpoint, optimizers, run
from bpnumba.training.objective import Objective
from bpnumba.training.optimizers import MOST_OF_ELEMENT, OPTIMIZERS, choose

SMALL = SMALLEST | {"max_epochs": 8}
EPOCHS = 8  # passes of the Kalman filter


def fitted(train, valid=None, **settings):
    """A small fit that says nothing."""
    return bpnumba.fit(train, valid, stream=io.StringIO(), **SMALL | settings)


def best(result):
    """Iteration whose weights were kept."""
    return result.potential.info["training"]["best_iteration"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without pictures, which take seconds and are tested elsewhere; by numbers that tests count on."""
    for name in ("parity", "learning_curves"):
        monkeypatch.setattr(plots, name, lambda *_, **__: None)
    monkeypatch.setattr(run, "PATIENCE", {"kalman": 2, "gn-lbfgs": 60})
    monkeypatch.setattr(optimizers, "STRENGTHS", (1.0, 0.1, 10.0))


@pytest.fixture(scope="module")
def frames():
    return copper(12), copper(2, seed=1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_learns(frames, optimizer):
    result = fitted(*frames, optimizer=optimizer, max_iterations=100)
    first, last = result.history.rows[0], result.history.rows[-1]
    iterations = [row.iteration for row in result.history.rows]
    assert iterations == list(range(len(iterations)))
    assert last.train[1] < 0.25 * first.train[1]
    assert last.loss < 0.01 * first.loss
    training = result.potential.info["training"]
    assert training["optimizer"] == optimizer
    assert training["iterations"] == iterations[-1]
    assert all(b.elapsed >= a.elapsed for a, b in zip(result.history.rows[:-1], result.history.rows[1:], strict=True))


def test_default_optimizer_is_chosen_by_the_number_of_weights(frames):
    functions = bpnumba.SymmetryFunctions(["Cu"], 4.0, g2_params=[[0.5, 0.0], [1.0, 2.0]])
    few = Potential.untrained(functions, frames[0], hidden=(4,))
    many = Potential.untrained(functions, frames[0], hidden=(70, 70))
    assert len(few.theta) < MOST_OF_ELEMENT < len(many.theta)
    assert (choose(few), choose(many)) == ("kalman+gn-lbfgs", "lbfgs")


def test_one_phase_after_the_other(frames):
    stream = io.StringIO()
    result = bpnumba.fit(*frames, stream=stream, **SMALL)
    text, rows = stream.getvalue(), result.history.rows
    assert f"kalman ended: {EPOCHS} passes of the Kalman filter; best so far: iteration " in text
    assert "optimizer kalman+gn-lbfgs: 85 weights, 228 residuals" in text
    assert text.count(": validation loss ") in (2, 3)  # trials of l2: the third only if the second is worse
    assert all(row.valid[1] > 0 for row in rows[: EPOCHS + 1])
    assert [row.iteration for row in rows[EPOCHS + 1 : -1] if row.valid[1] > 0] == [9, 10, 20, 30]
    assert result.reason == "40 iterations"
    assert result.potential.info["training"]["l2"] in (1e-3, 1e-2, 1e-1)


def test_a_given_strength_of_regularization_is_used(frames):
    stream = io.StringIO()
    result = bpnumba.fit(*frames, stream=stream, l2=0.3, **SMALL)
    assert result.potential.info["training"]["l2"] == 0.3
    assert "validation loss" not in stream.getvalue()
    stronger = fitted(*frames, l2=30.0)
    assert np.linalg.norm(stronger.potential.theta[:-1]) < np.linalg.norm(result.potential.theta[:-1])


def made_up(monkeypatch, scores):
    """Validation losses that are these, one after the other; returns the weights they were asked for."""
    seen = []

    def validate(self, theta):
        seen.append(theta.copy())
        return scores[len(seen) - 1], (0.0, 0.1, 0.0)

    monkeypatch.setattr(Objective, "validate", validate)
    return seen


def test_weights_of_the_best_validation_are_kept(frames, monkeypatch):
    """Scores of iterations 0 to 8, of three trials, of iterations 9, 10, 20 ...: the best may be in either phase."""
    rising = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]
    trials = [0.5, 0.6, 0.4]
    for late, kept in (([3.0] * 5, 8), ([3.0, 3.0, 0.7, 2.0, 2.0], EPOCHS + 3 + 3)):
        with monkeypatch.context() as patch:
            seen = made_up(patch, rising + trials + late)
            result = fitted(*frames)
        np.testing.assert_array_equal(result.potential.theta, seen[kept])
    assert best(result) == 20


def test_the_best_trial_of_the_regularization_is_the_next_iteration(frames, monkeypatch):
    """Its weights are judged again; those of the other trials are forgotten."""
    seen = made_up(monkeypatch, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 0.5, 0.6, 1e-9] + [3.0] * 5)
    result = fitted(*frames)
    assert result.potential.info["training"]["l2"] == 0.1
    np.testing.assert_array_equal(seen[EPOCHS + 4], seen[EPOCHS + 3])
    np.testing.assert_array_equal(result.potential.theta, seen[EPOCHS])
    assert [row.iteration for row in result.history.rows] == list(range(41))


def test_where_gauss_newton_does_not_help_it_ends(frames, monkeypatch):
    monkeypatch.setattr(optimizers, "ENOUGH", 0)
    seen = made_up(monkeypatch, [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0, 1.5])
    result = fitted(*frames)
    assert result.reason == "a round in Gauss-Newton coordinates does not lower the validation error"
    assert len(seen) == EPOCHS + 2
    assert best(result) == result.history.rows[-1].iteration == EPOCHS


def test_a_phase_ends_without_better_validation(frames, monkeypatch):
    made_up(monkeypatch, [5.0, 3.0, 4.0, 4.0] + [1.0, 2.0, 3.0] + [3.0] * 50)
    stream = io.StringIO()
    result = bpnumba.fit(*frames, stream=stream, **SMALL | {"max_iterations": 500})
    assert "kalman ended: no better validation error for 2 passes; best so far: iteration 1\n" in stream.getvalue()
    patience = run.PATIENCE["gn-lbfgs"]
    assert result.reason.startswith("no better validation error for ") or "found no lower loss" in result.reason
    assert 3 < result.history.rows[-1].iteration <= 3 + patience + run.VALIDATE_EVERY
    assert best(result) == 1


def test_next_phase_begins_at_the_best_weights(frames, monkeypatch):
    seen, begun = made_up(monkeypatch, [5.0, 3.0, 4.0, 4.0] + [1.0, 2.0, 3.0] + [3.0] * 50), []
    real = run.PHASES["gn-lbfgs"]
    monkeypatch.setitem(run.PHASES, "gn-lbfgs", lambda this: begun.append(this.state.theta.copy()) or real(this))
    fitted(*frames)
    np.testing.assert_array_equal(begun[0], seen[1])


def test_without_validation_the_last_phase_decides():
    """Losses of two phases cannot be compared: that of the filter is before its updates, without regularization."""
    result = fitted(copper(6), valid_fraction=0)
    assert best(result) == result.history.rows[-1].iteration
    alone = fitted(copper(6), valid_fraction=0, optimizer="kalman")
    assert best(alone) == np.argmin([row.loss for row in alone.history.rows])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_no_iterations_at_all(frames, optimizer, tmp_path):
    """The model has random weights and their errors, and goes on later."""
    stay = fitted(*frames, optimizer=optimizer, max_iterations=0, output=tmp_path / "cu.npz")
    assert [row.iteration for row in stay.history.rows] == [0]
    assert stay.reason == "0 iterations"
    more = fitted(*frames, optimizer=optimizer, max_iterations=3, output=tmp_path / "cu.npz", resume=True)
    assert [row.iteration for row in more.history.rows] == [0, 1, 2, 3]
    straight = fitted(*frames, optimizer=optimizer, max_iterations=3)
    np.testing.assert_array_equal(more.potential.theta, straight.potential.theta)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_limit_of_time(frames, optimizer, monkeypatch):
    """A clock of a second per look: the fit ends after less than 10 iterations."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(run.time, "perf_counter", lambda: float(next(ticks)))
    result = fitted(*frames, optimizer=optimizer, max_seconds=10)
    assert result.reason == "10 s"
    assert 1 <= result.history.rows[-1].iteration < 10
    assert np.isfinite(result.history.rows[-1].valid[1])


@pytest.mark.parametrize(("optimizer", "calls"), [("kalman+gn-lbfgs", 1), ("kalman", 5), ("kalman+gn-lbfgs", 12)])
def test_ctrl_c_ends_with_the_best_model_saved(frames, tmp_path, monkeypatch, optimizer, calls):
    """In the filter and behind it; the weights are those of a whole iteration."""
    count, theta = [], []

    def interrupted(name, real):
        def wrapped(self, *given):
            count.append(name)
            if len(count) == calls + 2:  # the first is that of iteration 0
                signal.raise_signal(signal.SIGINT)
            return real(self, *given)

        return wrapped

    for name in ("linearize", "evaluate"):
        monkeypatch.setattr(Objective, name, interrupted(name, getattr(Objective, name)))
    after = run.Run.after
    monkeypatch.setattr(run.Run, "after", lambda self, new, *rest, **more: theta.append(new.copy())
                        or after(self, new, *rest, **more))  # fmt: skip
    result = fitted(*frames, optimizer=optimizer, output=tmp_path / "cu.npz")
    assert result.reason == "interrupted"
    saved = bpnumba.load(tmp_path / "cu.npz")
    np.testing.assert_array_equal(saved.theta, result.potential.theta)
    assert np.isfinite(result.history.rows[-1].valid[1])
    if best(result):
        np.testing.assert_array_equal(saved.theta, theta[best(result) - 1])
    monkeypatch.undo()
    resumed = fitted(*frames, optimizer=optimizer, output=tmp_path / "cu.npz", resume=True)
    iterations = [row.iteration for row in resumed.history.rows]
    assert iterations == list(range(len(iterations)))
    assert resumed.history.rows[-1].loss < 0.1 * resumed.history.rows[0].loss


def test_ctrl_c_before_there_is_anything_is_an_interrupt(frames, monkeypatch):
    def interrupted(self, theta):
        raise KeyboardInterrupt

    monkeypatch.setattr(Objective, "evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fitted(*frames)


@pytest.mark.parametrize(("optimizer", "iteration"), [("kalman", 3), ("kalman+gn-lbfgs", 3), ("kalman+gn-lbfgs", 20),
                                                     ("gn-lbfgs", 20)])  # fmt: skip
def test_resumes_where_it_was_killed(frames, tmp_path, monkeypatch, optimizer, iteration):
    out, real = tmp_path / "cu.npz", checkpoint.save

    class Killed(Exception):
        pass

    def save_and_die(path, state, fingerprint):
        real(path, state, fingerprint)
        if state.iteration == iteration:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", save_and_die)
        with pytest.raises(Killed):
            fitted(*frames, optimizer=optimizer, checkpoint_every=20, output=out)
    assert not out.exists()
    resumed = fitted(*frames, optimizer=optimizer, checkpoint_every=20, output=out, resume=True)
    rows = resumed.history.rows
    assert [row.iteration for row in rows] == list(range(len(rows)))
    assert rows[-1].loss < rows[iteration].loss
    again = fitted(*frames, optimizer=optimizer, output=out, resume=True)  # there is nothing left to do
    assert len(again.history.rows) == len(rows)
    np.testing.assert_array_equal(again.potential.theta, resumed.potential.theta)


def test_resumed_by_a_chosen_regularization(frames, tmp_path):
    """It is not chosen again."""
    options = {"output": tmp_path / "cu.npz", "max_iterations": 25}
    first = fitted(*frames, **options)
    stream = io.StringIO()
    second = bpnumba.fit(*frames, resume=True, stream=stream, **SMALL | options | {"max_iterations": 35})
    assert "validation loss" not in stream.getvalue()
    assert second.potential.info["training"]["l2"] == first.potential.info["training"]["l2"]
    assert second.history.rows[-1].iteration == 35


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_same_seed_same_bits(frames, optimizer):
    one, two, other = (fitted(*frames, optimizer=optimizer, max_iterations=12, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.potential.theta, two.potential.theta)
    assert not np.array_equal(one.potential.theta, other.potential.theta)


@pytest.mark.parametrize("jacobian", ["memory", "disk", "recompute"])
def test_any_place_of_the_jacobian_gives_the_same_fit(frames, jacobian):
    usual, other = (fitted(*frames, jacobian=place, precision="float64", max_iterations=6)
                    for place in ("memory", jacobian))  # fmt: skip
    np.testing.assert_allclose(other.potential.theta, usual.potential.theta, rtol=0, atol=1e-4)
    assert np.array_equal(other.potential.theta, usual.potential.theta) or jacobian == "recompute"


@pytest.mark.parametrize("alone", ["energy", "forces", "stress"])
@pytest.mark.parametrize("optimizer", ["kalman+gn-lbfgs", "gn-lbfgs"])
def test_one_kind_of_label_alone(frames, optimizer, alone):
    """Whether the others are absent or are not wanted, which is the same fit."""
    bare = [atoms.copy() for part in frames for atoms in part]
    for atoms in bare:
        for kind in {"energy", "forces", "stress"} - {alone}:
            atoms.info.pop(f"REF_{kind}", None)
            atoms.arrays.pop(f"REF_{kind}", None)
    scales = {"energy_scale": 0.002, "forces_scale": 0.15, "stress_scale": 0.01}
    absent = fitted(bare[:12], bare[12:], optimizer=optimizer, **scales)
    column = ("energy", "forces", "stress").index(alone)
    assert absent.history.rows[-1].train[column] < 0.3 * absent.history.rows[0].train[column]
    if alone == "energy":  # of forces alone, the reference energy is another
        weights = {f"{kind}_weight": 0 for kind in {"energy", "forces", "stress"} - {alone}}
        unwanted = fitted(*frames, optimizer=optimizer, **scales, **weights)
        np.testing.assert_array_equal(unwanted.potential.theta, absent.potential.theta)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_one_frame(optimizer):
    """Hundreds of passes over one update, too."""
    result = fitted(copper(1), valid_fraction=0, optimizer=optimizer, max_epochs=300, max_iterations=320)
    assert result.history.rows[-1].loss < 1e-2 * result.history.rows[0].loss
    assert np.isfinite(result.potential.theta).all()


@pytest.mark.parametrize("n", [2, 3, 7])
def test_few_updates_in_a_pass(n, monkeypatch):
    """A frame per update; the filter must not forget everything."""
    monkeypatch.setattr(optimizers, "ROWS_PER_UPDATE", 19)
    result = fitted(copper(n), valid_fraction=0, optimizer="kalman", max_epochs=12)
    assert result.history.rows[-1].loss < 0.05 * result.history.rows[0].loss


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("jacobian", ["disk", "recompute"])
def test_several_elements_with_networks_of_their_own(optimizer, jacobian):
    """Crystals, a slab, a molecule; labels of another potential, some of them absent, one of the elements rare."""
    frames, settings = all_kinds(), {"cutoff": 4.0, "hidden": {"Si": (4, 3), "C": (5,)}, "n_functions": 8}
    settings |= {"valid_fraction": 0, "reference_energies": {"Si": 0.3, "C": -0.2}}
    for atoms in frames:
        model = potential_of(hidden=(3,), seed=4).evaluate(atoms)
        if "REF_energy" in atoms.info:
            atoms.info["REF_energy"] = model.energy_m[0]
        if "REF_forces" in atoms.arrays:
            atoms.arrays["REF_forces"] = model.forces_ac
        if "REF_stress" in atoms.info:
            atoms.info["REF_stress"] = model.stress_mv[0]
    result = fitted(frames, optimizer=optimizer, jacobian=jacobian, max_iterations=60, **settings)
    assert result.history.rows[-1].loss < 0.05 * result.history.rows[0].loss
    assert {network.sizes[1:] for network in result.potential.networks} == {(4, 3, 1), (5, 1)}


def test_resumes_without_validation(tmp_path):
    """Behind the filter, where no iteration of the next phase has been judged."""
    out = tmp_path / "cu.npz"
    first = fitted(copper(6), valid_fraction=0, output=out, max_iterations=EPOCHS)
    again = fitted(copper(6), valid_fraction=0, output=out, max_iterations=30, resume=True)
    straight = fitted(copper(6), valid_fraction=0, max_iterations=30)
    assert [row.iteration for row in again.history.rows] == list(range(31))
    assert again.history.rows[-1].loss < first.history.rows[-1].loss
    assert best(again) == best(straight) == 30


def test_isolated_atoms_stay_out():
    atom = Atoms("Cu", info={"REF_energy": -1.25, "config_type": "isolated_atom"})
    result = fitted([atom, *copper(12)], valid_fraction=0)
    assert result.potential.reference_energies == {"Cu": -1.25}
    assert result.history.rows[-1].loss < 0.01 * result.history.rows[0].loss


def test_frames_without_labels_that_count(frames):
    """An update of such frames alone changes nothing."""
    bare = [atoms.copy() for atoms in copper(30, seed=5)]
    for atoms in bare:
        atoms.info["config_type"] = "bare"
    result = fitted([*frames[0], *bare], frames[1], config_type_weights={"bare": 0.0}, optimizer="kalman")
    assert result.history.rows[-1].train[1] < 2.0
    assert np.isfinite(result.potential.theta).all()


def test_numbers_that_are_none_are_said(frames, monkeypatch):
    monkeypatch.setattr(Objective, "evaluate", lambda self, theta: (np.inf, theta, (0.0, 0.0, 0.0)))
    with pytest.raises(FloatingPointError, match="the loss is not finite; lower the weights of extreme frames"):
        fitted(*frames, optimizer="lbfgs")
    monkeypatch.undo()
    real = Objective.linearize
    monkeypatch.setattr(Objective, "linearize", lambda self, *given: broken(*real(self, *given)))
    with pytest.raises(FloatingPointError, match="the loss is not finite; lower the weights of extreme frames"):
        fitted(*frames, optimizer="kalman")


def broken(R, r, partial):
    return np.nan * R, np.nan * r, partial._replace(loss=np.nan)


def test_a_state_of_a_phase_that_is_over(frames, tmp_path):
    """Its checkpoint says that all is done."""
    out = tmp_path / "cu.npz"
    result = fitted(*frames, optimizer="kalman", output=out)
    assert result.reason == f"{EPOCHS} passes of the Kalman filter"
    again = fitted(*frames, optimizer="kalman", output=out, resume=True)
    assert again.reason == "the fit had come to its end before"
    np.testing.assert_array_equal(again.potential.theta, result.potential.theta)

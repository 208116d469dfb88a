"""Which frames are worth computing: never one twice, odd ones first, none that nobody can compute."""

import gc
import json
import math
import weakref
from dataclasses import replace

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator

import bpnumba
from bpnumba import Committee, Keys, Potential, SymmetryFunctions, active_learning, cli, pool, select_frames
from bpnumba.calibration import Calibration, Match
from bpnumba.io import frame_stream
from bpnumba.io.input_data import write_structures


def shaken(seed, amount=0.1):
    atoms = bulk("Si", cubic=True)
    atoms.rattle(amount, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def committee():
    functions = SymmetryFunctions(["Si"], 4.0, g2_params=[[0.1, 0.0], [0.5, 2.0]], g4_params=[[0.01, 1, 1]])
    frames = [shaken(seed) for seed in range(100, 120)]
    return Committee([Potential.untrained(functions, frames, hidden=(4,), seed=seed) for seed in range(3)])


@pytest.fixture
def potential(committee):
    return committee.members[0]


def indices(choice):
    return [one.index for one in choice.chosen]


def test_duplicates_are_chosen_once(committee):
    """A frame is the same after a translation, in another order of its atoms, and as a larger cell."""
    frames = []
    for seed in range(5):
        atoms = shaken(seed)
        moved = atoms[np.random.default_rng(seed).permutation(8)]
        moved.translate([0.3, -1.0, 7.0])
        frames += [atoms, moved, atoms.copy(), atoms.repeat((2, 1, 1))]
    choice = select_frames(committee, frames, n=20)
    assert sorted(m // 4 for m in indices(choice)) == [0, 1, 2, 3, 4]
    assert choice.n_alike == 15
    assert choice.n_pool == 20
    assert "5 of 20 frames are worth computing" in str(choice)
    assert "15 frames are like one that is known or chosen" in str(choice)


def test_one_frame_of_every_stretch_of_dynamics(committee):
    """Frames that follow one another are nearly alike; scores alone would take them from one stretch."""
    stretches = [shaken(seed, 0.05 + 0.03 * seed) for seed in range(5)]
    frames = []
    for atoms in stretches:
        for step in range(6):
            frames.append(atoms.copy())
            frames[-1].positions += 0.01 * step * np.sin(np.arange(24)).reshape(8, 3)
    by_score = np.argsort([-one.score for one in _candidates(committee, frames)])[:5]
    assert len({m // 6 for m in by_score}) < 5
    assert {m // 6 for m in indices(select_frames(committee, frames, n=5))} == set(range(5))


def _candidates(model, frames):
    batch = list(frame_stream.stream(frames))
    return pool.candidates(batch, model.evaluate(frames), 1.0)


@pytest.mark.parametrize("which", ["committee", "potential"])
def test_an_outlier_is_first(which, request):
    model = request.getfixturevalue(which)
    frames = [shaken(seed) for seed in range(6)]
    frames[4].positions[3] += [0.4, 0.5, 0.3]
    choice = select_frames(model, frames, n=2)
    first = choice.chosen[0]
    assert first.index == 4
    assert first.n_outside > 0
    assert math.isinf(first.distance)
    assert not math.isinf(choice.chosen[1].distance)
    if which == "potential":
        assert first.spread is None
        event = model.evaluate(frames[4]).extrapolation
        assert first.n_outside == len(event)
        assert first.atom in event["atom"]
        assert "outside" in first.reason
    else:
        std_a = np.linalg.norm(model.evaluate(frames[4]).spread.forces_std_ac, axis=1)
        assert (first.spread, first.atom) == (pytest.approx(std_a.max()), std_a.argmax())
        assert f"{first.spread:.4f}" in str(choice)


def test_crystals_without_forces(committee):
    """Where symmetry leaves nothing to disagree on, distance decides: the ends of a row of volumes come first."""
    frames = [bulk("Si", a=a) for a in np.linspace(5.3, 5.6, 7)]
    choice = select_frames(committee, frames, n=4, distinct_from=frames[3])
    assert max(one.spread for one in choice.chosen) < 1e-9
    assert set(indices(choice)[:2]) == {0, 6}


def test_scores():
    one = pool.Candidate("", 0, 8, 0.5, 0, 0, 0.0)
    assert one.score == 0.5
    assert one._replace(beyond=0.2).score == pytest.approx(0.6)
    assert one._replace(beyond=7.0).score == 1.0  # not more than twice
    assert one._replace(spread=None, beyond=0.2).score == 1.2
    assert one._replace(spread=0.0).score == pool.LEAST_SPREAD


def test_the_greedy_choice(committee, monkeypatch):
    """Against loops over plain numbers."""
    random = np.random.default_rng(0)
    monkeypatch.setattr(active_learning, "ALIKE", 0.0)
    D, spreads = random.normal(size=(30, 4)), random.uniform(0.1, 1.0, 30)
    known = random.normal(size=(3, 4))
    found = [pool.Candidate("", m, 8, spreads[m], 0, 0, random.choice([0.0, 0.4, 3.0])) for m in range(30)]
    middle = [sum(column) / 30 for column in D.T.tolist()]
    usual = sorted(math.dist(row, middle) for row in D)
    sigma = 0.25 * (usual[14] + usual[15])  # half the median
    far = [1e9] * 4

    def novelty(distance):
        return math.sqrt(1 - math.exp(-((distance / sigma) ** 2)))

    for near in (known, known[:0]):
        expected, there = [], near.tolist()
        while len(expected) < 10:
            gains = {
                m: found[m].score * novelty(min(math.dist(D[m], row) for row in [far, *there]))
                for m in range(30)
                if m not in expected
            }
            expected.append(max(gains, key=gains.get))
            there.append(D[expected[-1]].tolist())
        chosen, n_alike = active_learning._greedy(found, [D[:7], D[7:]], [near], 10)
        assert [one.index for one in chosen] == expected
        assert n_alike == 0


def test_descriptors_of_frames():
    """Against loops over atoms: share, mean and deviation of scaled functions per element."""
    functions = SymmetryFunctions(["H", "O"], 4.0, g2_params=[[0.1, 0.0], [0.5, 2.0]])
    random = np.random.default_rng(1)
    frames = [Atoms(symbols, random.uniform(0, 4, (len(symbols), 3))) for symbols in ("OHH", "HOHOH", "HHHH")]
    model = Potential.untrained(functions, frames, hidden=(3,))
    found = pool.descriptors(model, list(frame_stream.stream(frames)))
    for atoms, row in zip(frames, found, strict=True):
        G_as, expected = functions.create(atoms), []
        for symbol, scaling in zip(("H", "O"), model.scalings):
            x = [(G - 0.5 * (scaling.minimum_s + scaling.maximum_s)) / (scaling.maximum_s - scaling.minimum_s)
                 for G, of_atom in zip(G_as, atoms.symbols) if of_atom == symbol]  # fmt: skip
            share = len(x) / len(atoms)
            mean = sum(x) / len(x) if x else np.zeros(4)
            square = sum((one - mean) ** 2 for one in x) / len(x) if x else np.zeros(4)
            expected += [share, *(share * mean / 2), *(share * np.sqrt(square) / 2)]
        assert row == pytest.approx(expected, abs=1e-12)


def test_known_frames_are_not_chosen(committee, tmp_path):
    frames = [shaken(seed) for seed in range(6)]
    known = [frames[1], frames[4].repeat(2), Atoms("Ar")]
    assert set(indices(select_frames(committee, frames, n=6, distinct_from=known))) == {0, 2, 3, 5}
    ase.io.write(tmp_path / "train.xyz", known)  # with the digits that such a file has
    choice = select_frames(committee, frames, n=6, distinct_from=tmp_path / "train.xyz")
    assert set(indices(choice)) == {0, 2, 3, 5}
    assert choice.n_alike == 2
    assert not math.isinf(choice.chosen[0].distance)


def test_frames_that_cannot_be_computed(committee):
    near, twice, broken, foreign = (shaken(seed) for seed in range(4))
    near.positions[1] = near.positions[0] + [0.0, 0.0, 1.2]
    twice.positions[1] = twice.positions[0]
    broken.positions[2, 1] = np.nan
    foreign.symbols[5] = "Ge"
    flat = Atoms("Si", pbc=True)
    frames = [near, twice, broken, foreign, flat, Atoms(), shaken(5)]
    choice = select_frames(committee, frames, n=7)
    assert indices(choice) == [6]
    reasons = dict(choice.refused)
    assert list(reasons) == [f"frame {m}" for m in range(6)]
    for m, words in enumerate(("atoms 0 (Si) and 1 (Si) are 1.200 Angstrom apart", "at one place", "not finite",
                               "Ge, which the model does not know", "no volume", "no atoms")):  # fmt: skip
        assert words in reasons[f"frame {m}"]
        assert reasons[f"frame {m}"] in str(choice)


def test_a_frame_on_which_the_model_fails_alone(committee, monkeypatch):
    """The others of its batch are evaluated all the same."""
    frames, honest = [shaken(seed) for seed in range(4)], Committee.evaluate

    def evaluate(model, atoms, pair_list=None):
        if any(np.array_equal(one.positions, frames[2].positions) for one in atoms):
            raise ValueError("energy or forces are not finite")
        return honest(model, atoms, pair_list)

    monkeypatch.setattr(Committee, "evaluate", evaluate)
    choice = select_frames(committee, frames)
    assert sorted(indices(choice)) == [0, 1, 3]
    assert choice.refused == (("frame 2", "energy or forces are not finite"),)


def test_nothing_to_choose_from(committee, tmp_path):
    for empty in ([], iter(())):
        with pytest.raises(ValueError, match="the pool is empty"):
            select_frames(committee, empty)
    (tmp_path / "empty.xyz").touch()
    with pytest.raises(ValueError, match=r"empty\.xyz"):
        select_frames(committee, tmp_path / "empty.xyz")
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        select_frames(committee, tmp_path / "none.xyz")
    with pytest.raises(ValueError, match="at least 1"):
        select_frames(committee, shaken(0), n=0)
    choice = select_frames(committee, Atoms("Ge"))
    assert (choice.chosen, choice.frames, len(choice.refused)) == ((), (), 1)
    assert "0 of 1 frames" in str(choice)


def test_more_than_there_are(committee):
    choice = select_frames(committee, [shaken(seed) for seed in range(3)], n=1000)
    assert sorted(indices(choice)) == [0, 1, 2]
    assert len(choice.frames) == 3


def test_the_same_in_any_batches_and_from_files(committee, tmp_path, monkeypatch):
    frames = [shaken(seed, 0.02 + 0.01 * seed) for seed in range(12)]
    once, again = select_frames(committee, frames, n=6), select_frames(committee, iter(frames), n=6)
    assert once.chosen == again.chosen
    ase.io.write(tmp_path / "pool.traj", frames)
    from_file = select_frames(committee, tmp_path / "pool.traj", n=6)
    assert [one._replace(source="") for one in from_file.chosen] == list(once.chosen)
    monkeypatch.setattr(pool, "ATOMS_AT_ONCE", 1)
    one_by_one = select_frames(committee, frames, n=6)
    assert indices(one_by_one) == indices(once)
    for one, other in zip(one_by_one.chosen, once.chosen):
        assert one[3:8] == pytest.approx(other[3:8])


def test_memory_holds_a_batch(committee, monkeypatch):
    """Of a long pool, frames that are neither of the present batch nor chosen are gone."""
    seen, most = [], 0

    def long(source, units):
        nonlocal most
        for m in range(60 if source else 0):
            atoms = shaken(m)
            seen.append(weakref.ref(atoms))
            gc.collect(0)
            most = max(most, sum(one() is not None for one in seen))
            yield frame_stream.Streamed("", m, atoms)

    monkeypatch.setattr(active_learning, "stream", long)
    monkeypatch.setattr(pool, "ATOMS_AT_ONCE", 32)
    done = []
    choice = select_frames(committee, "pool", n=3, report=done.append)
    assert len(choice.frames) == 3
    assert most <= 3 * 4
    assert sum(done) == 60
    assert max(done) == 4


def test_labels_are_taken_off(committee):
    frames = [shaken(seed) for seed in range(3)]
    for m, atoms in enumerate(frames):
        atoms.info |= {"REF_energy": 1.0, "virial": np.zeros(9), "dft_energy": 2.0, "config_type": f"type {m}"}
        atoms.arrays |= {"REF_forces": np.zeros((8, 3)), "charges_of_mine": np.arange(8.0)}
        atoms.calc = SinglePointCalculator(atoms, energy=1.0)
    choice = select_frames(committee, frames, n=3, keys=Keys(energy="dft_energy"))
    for one, atoms in zip(choice.chosen, choice.frames):
        assert atoms.calc is None
        assert set(atoms.arrays) == {"numbers", "positions", "charges_of_mine"}
        assert atoms.info == {
            "config_type": f"type {one.index}", "bpnumba_score": one.score, "bpnumba_forces_spread": one.spread,
            "bpnumba_worst_atom": one.atom, "bpnumba_n_outside": one.n_outside, "bpnumba_source": f"frame {one.index}",
        }  # fmt: skip
        assert np.array_equal(atoms.positions, frames[one.index].positions)
    assert frames[0].calc is not None
    assert "REF_energy" in frames[0].info


def test_a_calibrated_spread(committee):
    """A model that remembers its calibration gives spreads as large as errors; what is damaged is not used."""
    frames = [shaken(seed) for seed in range(3)]
    match = Match.of(np.ones(20), np.full((20, 3), 2.5))
    plain = json.loads(json.dumps(Calibration(None, match, 3).to_json()))
    bare = select_frames(committee, frames, n=1).chosen[0]
    for info in ({"calibration": plain}, {"training": {"calibration": plain}}):
        one = select_frames(replace(committee, info=info), frames, n=1).chosen[0]
        assert one.spread == pytest.approx(2.5 * bare.spread)
    for info in ({"calibration": {"forces": 3}}, {"training": "long"}, {"calibration": None}):
        assert select_frames(replace(committee, info=info), frames, n=1).chosen[0].spread == bare.spread


def test_files_frame_by_frame(tmp_path):
    """The same frames as all at once, in any format; a broken file is named."""
    frames = [shaken(seed) for seed in range(3)]
    names = [str(tmp_path / name) for name in ("a.xyz", "b.xyz.gz", "c.traj", "input.data")]
    for name in names[:3]:
        ase.io.write(name, frames)
    labelled = [atoms.copy() for atoms in frames]
    for atoms in labelled:
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = 0.0, np.zeros((8, 3))
    write_structures(names[3], labelled, "metal")
    found = list(frame_stream.stream([*names, frames[1]], units="metal"))
    assert [one.name for one in found] == [f"{name}, frame {m}" for name in names for m in range(3)] + ["frame 0"]
    for one, expected in zip(found, [*(4 * frames), frames[1]]):
        assert one.atoms.positions == pytest.approx(expected.positions, abs=1e-7)
    text = (tmp_path / "a.xyz").read_text()
    for name, content in (("short.xyz", text[:-100]), ("words.xyz", "x\ny\n")):
        (tmp_path / name).write_text(content)
        with pytest.raises(ValueError, match=rf"{name}: cannot be read as atomic structures"):
            list(frame_stream.stream(tmp_path / name))
    with pytest.raises(IsADirectoryError):
        list(frame_stream.stream(tmp_path))


# ---- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(committee, tmp_path_factory):
    folder = tmp_path_factory.mktemp("select")
    bpnumba.save(committee, folder / "si.npz")
    frames = [shaken(seed) for seed in range(8)]
    prediction = committee.evaluate(frames)
    random = np.random.default_rng(0)
    for m, atoms in enumerate(frames):
        rows = slice(8 * m, 8 * m + 8)
        atoms.info["REF_energy"] = prediction.energy_m[m] + 2 * random.normal(0, prediction.spread.energy_std_m[m])
        error = 2.0 * random.normal(0.0, prediction.spread.forces_std_ac[rows])
        atoms.arrays["REF_forces"] = prediction.forces_ac[rows] + error
    for name, part in (("a.xyz", frames[:5]), ("b.xyz", frames[5:])):
        ase.io.write(folder / name, part)
    return folder


def test_command(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    assert cli.main(["select-frames", "si.npz", "a.xyz", "b.xyz", "--n", "4", "--output", "next.xyz",
                     "--distinct-from", "b.xyz"]) == 0  # fmt: skip
    text = capsys.readouterr().out
    assert "4 of 8 frames are worth computing" in text
    assert "spread (eV/A)" in text
    assert "3 frames are like one that is known or chosen" in text
    written = ase.io.read("next.xyz", ":")
    assert [atoms.info["bpnumba_source"].split(",")[0] for atoms in written] == ["a.xyz"] * 4
    scores = [atoms.info["bpnumba_score"] for atoms in written]
    assert all(score > 0 for score in scores)
    pool_frames = ase.io.read("a.xyz", ":")
    for atoms in written:
        index = int(atoms.info["bpnumba_source"].split()[-1])
        assert np.array_equal(atoms.positions, pool_frames[index].positions)
        assert atoms.calc is None
        assert not {"REF_energy", "REF_forces"} & {*atoms.info, *atoms.arrays}


@pytest.mark.parametrize(("output", "words"), [("none/next.xyz", "no such folder"), ("input.data", "write .xyz")])
def test_command_that_cannot_write(folder, capsys, monkeypatch, output, words):
    monkeypatch.chdir(folder)
    assert cli.main(["select-frames", "si.npz", "a.xyz", "--output", output]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_evaluate_prints_the_calibration(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(folder)
    files = ["--json", str(tmp_path / "out.json"), "--plot", str(tmp_path / "out.png")]
    assert cli.main(["evaluate", "si.npz", "a.xyz", "b.xyz", *files]) == 0
    text = capsys.readouterr().out
    assert "spread of the committee of 3 members against errors" in text
    plain = json.loads((tmp_path / "out.json").read_text())
    calibration = Calibration.from_json(plain["calibration"])
    assert calibration.forces.n == 64
    assert calibration.forces.alpha == pytest.approx(2.0, rel=0.25)
    assert (tmp_path / "out_calibration.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "out.png").exists()

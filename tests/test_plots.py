"""Pictures are made without a display and for whatever labels there are."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from bpnumba import Potential, SymmetryFunctions, plots
from bpnumba.training.dataset import Dataset, read
from bpnumba.training.progress import History, Row

NONE = (np.nan, np.nan, np.nan)


def frames(n, **labels):
    found = []
    for seed in range(n):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=seed)
        rng = np.random.default_rng(seed)
        if "energy" in labels:
            atoms.info["REF_energy"] = rng.normal()
        if "forces" in labels:
            atoms.arrays["REF_forces"] = rng.normal(size=(8, 3))
        if "stress" in labels:
            atoms.info["REF_stress"] = 0.01 * rng.normal(size=6)
        found.append(atoms)
    return read(found)


@pytest.fixture(scope="module")
def potential():
    functions = SymmetryFunctions(["Si"], 4.0, g2_params=[[0.1, 0.0], [0.5, 2.0]])
    return Potential.untrained(functions, list(frames(3, energy=1).atoms), hidden=(4,))


def size(path):
    """Width and height of a PNG file."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def test_parity(potential, tmp_path):
    data = {"training": frames(5, energy=1, forces=1, stress=1), "test": frames(2, forces=1)}
    plots.parity(potential, data, tmp_path / "all.png", title="Silicon")
    plots.parity(potential, frames(1, energy=1), tmp_path / "one.png")
    assert size(tmp_path / "all.png")[0] > 2 * size(tmp_path / "one.png")[0]
    plots.parity(potential, data["training"], str(tmp_path / "all.pdf"))
    assert (tmp_path / "all.pdf").read_bytes().startswith(b"%PDF")


def test_isolated_atoms_are_not_drawn(potential, tmp_path):
    alone = read(Atoms("Si", info={"REF_energy": 400.0}))
    data = frames(3, energy=1)
    plots.parity(potential, data, tmp_path / "one.png")
    plots.parity(potential, Dataset.join(data, alone), tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    plots.parity(potential, alone, tmp_path / "none.png")
    assert size(tmp_path / "none.png")[0] > 0


@pytest.mark.parametrize("name", ["x.foo", "x", "none/x.png", "folder.png"])
def test_pictures_that_cannot_be_written_are_refused_before(tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    with pytest.raises((ValueError, OSError), match="a picture must end in|no such folder|is a directory"):
        plots.check_picture(tmp_path / name)
    plots.check_picture(tmp_path / "x.PDF")
    assert not (tmp_path / "x.PDF").exists()


def test_learning_curves(tmp_path):
    train, valid = (0.01, 0.2, 0.001), (0.02, 0.3, 0.002)
    rows = [Row(i, 3.0 / (i + 1), train, valid if i % 10 == 0 else NONE, i) for i in range(50)]
    plots.learning_curves([History(rows)], tmp_path / "full.png")
    plots.learning_curves([History([Row(0, 1.0, (0.01, 0.0, 0.0))])], tmp_path / "short.png")
    plots.learning_curves([History()], tmp_path / "empty.png")
    assert size(tmp_path / "full.png")[1] > size(tmp_path / "short.png")[1] > 0


def test_learning_curves_of_a_committee_are_against_time(tmp_path, monkeypatch):
    """One line per member and column, over the seconds since its beginning; the first is named in the legend."""
    figures = []
    real = plots._figure
    monkeypatch.setattr(plots, "_figure", lambda *size: figures.append(real(*size)) or figures[-1])
    train = (0.01, 0.2, 0.0)
    members = [History([Row(i, 2.0 / (i + 1), train, elapsed=i * slow) for i in range(5)]) for slow in (3, 7)]
    plots.learning_curves([*members, History()], tmp_path / "all.png")
    loss, *others = figures[0].axes
    assert loss.get_xlabel() == "time (s)"
    times = [line.get_xdata().tolist() for line in loss.get_lines() if len(line.get_xdata())]
    assert times == [[0.0, 3.0, 6.0, 9.0, 12.0], [0.0, 7.0, 14.0, 21.0, 28.0]]
    assert [len(axes.get_legend().get_texts()) for axes in figures[0].axes] == [1, 1, 1]
    assert len(others) == 2  # no stress

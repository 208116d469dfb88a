"""The examples run from top to bottom, as a user starts them, with small settings."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.usefixtures("fast_kernels")

EXAMPLES = Path(__file__).parent.parent / "examples"
PNG = b"\x89PNG"


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """A function that runs an example in an empty folder and returns what it prints."""
    monkeypatch.chdir(tmp_path)

    def start(start_of_name, *arguments):
        (path,) = EXAMPLES.glob(f"{start_of_name}_*.py")
        monkeypatch.setattr(sys, "argv", [path.name, *arguments])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr().out

    return start


def test_all_examples_are_tested():
    assert [path.name[:2] for path in sorted(EXAMPLES.glob("*.py"))] == ["01", "02", "03", "04", "05"]


def test_what_a_symmetry_function_sees(run, tmp_path):
    assert run("01") == "wrote symmetry_functions.png\n"
    run("01", "other.png")
    for name in ("symmetry_functions.png", "other.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_forces_by_hand(run):
    text = run("02")  # checks itself against the library and against finite differences
    assert "forces: by hand and library differ by" in text
    assert "central differences" in text


def test_fit_and_relax(run, tmp_path):
    text = run("03", "--max-iterations", "30")
    assert "Errors on the frames set aside" in text
    assert "Behler-Parrinello potential for Si" in text
    for name in ("silicon_learning.png", "silicon_parity.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)
    text = run("04", "silicon.npz")
    assert "\nconverged in" in text
    assert "lattice constant 5." in text


def test_relax_with_a_quick_fit(run, tmp_path):
    assert "lattice constant" in run("04", "--max-iterations", "5")
    assert not list(tmp_path.iterdir())


def test_active_learning(run, tmp_path):
    text = run("05")
    assert "8 of" in text
    forces = {line.split("  ")[0]: float(line.split()[-2]) for line in text.splitlines() if "forces RMSE" in line}
    first, *drawn, chosen = forces.values()
    assert len(drawn) == 3
    assert chosen < np.mean(drawn) < first
    assert (tmp_path / "active_learning.png").read_bytes().startswith(PNG)

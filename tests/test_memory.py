"""Memory: amounts in words, a plan that chooses where the Jacobian goes, and estimates that are near to the truth."""

import re

import numpy as np
import pytest
from test_fit import copper
from test_rows import frames, potential_of

from bpnumba import cli
from bpnumba.training import memory
from bpnumba.training.dataset import Dataset
from bpnumba.training.memory import in_bytes, in_words, optimizer_bytes, per_atom, plan
from bpnumba.training.objective import Objective
from bpnumba.training.optimizers import OPTIMIZERS
from bpnumba.training.settings import Settings
from bpnumba.training.storage import Disk, Memory, Nowhere
from bpnumba.training.targets import Factors, Scales


@pytest.fixture(scope="module")
def data():
    return Dataset.from_frames(frames())


@pytest.fixture(scope="module")
def potential():
    return potential_of(hidden=(4, 3))


@pytest.mark.parametrize(("text", "expected"), [
    ("4GB", 4 * 10**9), ("500 MB", 5 * 10**8), (" 1.5gb ", 15 * 10**8), ("20kB", 20_000), ("7", 7), (1000, 1000),
    ("1.TB", 10**12), (2.5e6, 2_500_000), (np.int64(3000), 3000),
])  # fmt: skip
def test_in_bytes(text, expected):
    assert in_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "0GB", "4 Gigabytes", "4GiB", "inf", "nan", "1,5GB", None,
                                  float("inf"), -3, "1e"])  # fmt: skip
def test_what_is_no_amount(text):
    with pytest.raises(ValueError, match="an amount of memory is a number with B, KB, MB, GB or TB, such as 4GB"):
        in_bytes(text)


def test_settings_refuse_it_before_any_work():
    with pytest.raises(ValueError, match="an amount of memory is .* not 'much'"):
        Settings(memory="much")
    with pytest.raises(ValueError, match="unknown jacobian 'ram'; there are auto, memory, disk, recompute"):
        Settings(jacobian="ram")
    with pytest.raises(ValueError, match="unknown precision 'float16'; there are float32, float64"):
        Settings(precision="float16")


def test_in_words_can_be_read_again():
    for n_bytes in (3e6, 4.56e8, 1e9, 2.25e12):
        assert in_bytes(in_words(n_bytes)) == pytest.approx(n_bytes, rel=0.2)


def sizes(report):
    """What the plan says it needs, in bytes, by name."""
    pairs = re.findall(r"(memory:|program|structures|optimizer|work|Jacobian|of) ([\d.]+ [MG]B)", report)
    return {name: in_bytes(words) for name, words in pairs}


def planned(potential, data, optimizer="kalman", **settings):
    return plan(potential, (data,), Settings(**settings), optimizer)


def many(data, n=400):
    """The same frames many times: structures alone, the plan does not ask for labels."""
    return data.subset(np.arange(n * len(data)) % len(data))


def test_places_as_memory_becomes_less(potential, data, monkeypatch):
    """In memory while it fits; then on disk, or anew where the disk is full; and what that needs is said at last."""
    large = many(data)
    found = {words: sizes(planned(potential, large, memory=words).report) for words in ("100GB",)}["100GB"]
    need = sum(found[name] for name in ("program", "structures", "optimizer", "work"))
    jacobian = found["Jacobian"]
    assert jacobian > 5e6
    monkeypatch.setattr(memory, "resident", lambda: found["program"])
    enough = need + 1.2 * jacobian + 2e7
    places = [type(planned(potential, large, memory=int(limit)).keep) for limit in (enough, need + 2e6, need - 5e6)]
    assert places == [Memory, Disk, Disk]
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    assert type(planned(potential, large, memory=int(need + 2e6)).keep) is Nowhere
    assert type(planned(potential, large, memory=int(enough)).keep) is Memory
    little = planned(potential, large, memory="1MB")
    assert type(little.keep) is Nowhere
    assert "this is more than allowed, and the least that this fit can do with" in little.report


@pytest.mark.parametrize(("jacobian", "kind"), [("memory", Memory), ("disk", Disk), ("recompute", Nowhere)])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_places_that_are_asked_for(potential, data, jacobian, kind, precision):
    keep = planned(potential, data, jacobian=jacobian, precision=precision).keep
    assert type(keep) is kind
    assert keep.dtype is getattr(np, precision)
    with pytest.raises(MemoryError, match="That does not fit: allow more memory, or another place, jacobian='auto'"):
        planned(potential, data, jacobian=jacobian, precision=precision, memory="1MB")


def test_a_full_disk_is_no_place(potential, data, monkeypatch):
    monkeypatch.setattr(memory.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 1000}))
    with pytest.raises(MemoryError, match="That does not fit"):
        planned(potential, data, jacobian="disk")


def test_by_default_most_of_what_is_free(potential, data, monkeypatch):
    assert memory.free() > 10**7
    monkeypatch.setattr(memory, "free", lambda: 0)
    assert type(planned(potential, data).keep) is not Memory
    monkeypatch.setattr(memory, "free", lambda: 10**12)
    assert type(planned(potential, data).keep) is Memory


def test_the_report_has_units_and_adds_up(potential, data):
    report = planned(potential, many(data), memory="64GB").report
    assert re.match(r"memory: [\d.]+ [MG]B of 64\.00 GB that may be used: program ", report)
    assert re.search(r"Jacobian [\d.]+ [MG]B \(float32\) in memory$", report)
    found = sizes(report)
    parts = sum(found[name] for name in ("program", "structures", "optimizer", "work", "Jacobian"))
    assert found["memory:"] == pytest.approx(parts, abs=6e6)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_the_jacobian_is_estimated_well(potential, data, precision):
    """What is really stored: blocks, and neighbors, vectors and places of the pairs."""
    dtype, functions = np.dtype(precision), potential.symmetry_functions
    pairs_per_atom, bytes_per_atom = per_atom(functions, list(data.atoms), dtype.itemsize)
    problem = Objective.prepare(potential, data, Factors(Scales(0.01, 0.1, 0.005)), Memory(dtype.type))
    held = [chunk.stored.descriptors for chunk in problem.chunks]
    blocks = sum(descriptors.J.nbytes for descriptors in held)
    others = sum(of.pairs.j_p.nbytes + of.pairs.r_pc.nbytes + of.first_p.nbytes for of in held)
    assert data.n_atoms * bytes_per_atom == blocks  # of few frames, all are counted
    assert data.n_atoms * memory.PER_PAIR * pairs_per_atom == pytest.approx(others, rel=0.2)


def test_the_estimate_of_many_frames_looks_at_some(monkeypatch):
    """Frames of different density, in order: an even choice."""
    data = Dataset.from_frames(copper(60))
    frames = [atoms.repeat((1, 1, 1 + m // 30)) for m, atoms in enumerate(data.atoms)]
    for m, atoms in enumerate(frames):
        atoms.set_cell(atoms.cell * (1 + 0.01 * m), scale_atoms=True)
    from bpnumba.symmetry import SymmetryFunctions

    functions = SymmetryFunctions(["Cu"], 5.0, g2_params=[[0.1, 0.0]])
    whole = np.array(per_atom(functions, frames, 4))
    monkeypatch.setattr(memory, "FRAMES_TO_COUNT", 15)
    np.testing.assert_allclose(per_atom(functions, frames, 4), whole, rtol=0.1)


def test_matrices_of_the_optimizers(potential):
    """More weights need more, and the matrices are those that there are: one per element, or over all weights."""
    sizes = np.array([800, 1000])
    assert optimizer_bytes(("kalman",), sizes, 1) >= 8 * (800**2 + 1000**2)
    assert optimizer_bytes(("gn-lbfgs",), sizes, 1) >= 2 * 8 * 1800**2
    assert optimizer_bytes(("lbfgs",), sizes, 1) >= 2 * 10 * 8 * 1800
    for phases in OPTIMIZERS.values():
        assert optimizer_bytes(phases, 2 * sizes, 1) > optimizer_bytes(phases, sizes, 1)
        assert optimizer_bytes(phases, sizes, 1) == max(optimizer_bytes((phase,), sizes, 1) for phase in phases)


def test_too_little_memory_ends_with_one_line(tmp_path, capsys):
    from ase.io import write

    write(tmp_path / "cu.xyz", copper(4), format="extxyz")
    line = f"fit {tmp_path}/cu.xyz --output {tmp_path}/cu.npz --memory 2MB --jacobian memory --cutoff 4 --n-functions 4"
    assert cli.main(line.split()) == 2
    (said,) = capsys.readouterr().err.splitlines()[-1:]
    assert said.startswith("bpnumba: error: memory: ")
    assert said.endswith("That does not fit: allow more memory, or another place, jacobian='auto'")

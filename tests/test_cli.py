"""The command line: each command, and what happens to those who ask for the impossible."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings

import ase.io
import numpy as np
import pytest
from ase.build import bulk
from ase.io import write
from test_input_data import compare

import bpnumba
from bpnumba import cli
from bpnumba.command_line import FIT_OPTIONS
from bpnumba.evaluation import Row
from bpnumba.io.frames import read_frames


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model file and a few labelled frames."""
    folder, frames = tmp_path_factory.mktemp("cli"), []
    for seed in range(6):
        atoms = bulk("Si", cubic=True)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    functions = bpnumba.SymmetryFunctions(["Si"], 4.0, g2_params=[[0.1, 0.0], [0.5, 2.0]], g4_params=[[0.01, 1, 1]])
    potential = bpnumba.Potential.untrained(functions, frames, hidden=(4,), reference_energies={"Si": -5.0})
    prediction = potential.evaluate(frames)
    for m, atoms in enumerate(frames):
        atoms.info |= {"dft_energy": prediction.energy_m[m] - 0.8, "config_type": "cold" if m < 4 else "hot"}
        atoms.info["REF_stress"] = prediction.stress_mv[m]
        atoms.arrays["REF_forces"] = prediction.forces_ac[8 * m : 8 * m + 8] + 0.1
    write(folder / "data.xyz", frames, format="extxyz")
    errors = bpnumba.evaluate(potential, frames, bpnumba.Keys(energy="dft_energy")).to_json()
    info = {
        "training": {
            "iterations": 77,
            "settings": {"l2": 1e-4, "cutoff": 6.0},
            "seconds": 12.5,
            "errors": {"training": errors},
        }
    }
    bpnumba.save(dataclasses.replace(potential, info=info), folder / "si.npz")
    (folder / "input.data").write_text(INPUT_DATA)
    return folder


INPUT_DATA = """\
begin set=train
comment first 1 2
lattice 10 0 0
lattice 0 10 0
lattice 0 0 10
atom 1 2 3 Si 0.5 0 0.1 0.2 0.3
atom 4 5 6 Si -0.25 0 -0.1 -0.2 -0.3
energy -2.5
charge 0.25
end
begin set=test
comment 51
atom 0 0 0 Si 0 0 0 0 0
energy -1
charge 0
end
"""


def test_evaluate(folder, capsys):
    found = cli.main(["evaluate", str(folder / "si.npz"), str(folder / "data.xyz"), "--energy-key", "dft_energy",
                      "--json", str(folder / "out.json"), "--plot", str(folder / "out.png")])  # fmt: skip
    assert found == 0
    text = capsys.readouterr().out
    assert "labels: 6 energies, 48 force vectors, 6 stresses" in text
    assert "worst energy: 100 meV/atom" in text
    errors = json.loads((folder / "out.json").read_text())
    assert errors["energy_rmse_mev_per_atom"] == pytest.approx(100.0, abs=1e-3)
    assert errors["forces_rmse_ev_per_angstrom"] == pytest.approx(0.1, abs=1e-6)
    assert errors["stress_rmse_gpa"] == pytest.approx(0.0, abs=1e-4)
    assert errors["by_config_type"]["hot"]["n_energies"] == 2
    assert (folder / "out.png").read_bytes().startswith(b"\x89PNG")


def test_info(folder, capsys):
    assert cli.main(["info", str(folder / "si.npz")]) == 0
    text = capsys.readouterr().out
    assert "Behler-Parrinello potential for Si, cutoff 4 Angstrom" in text
    assert "E0 -5.000000 eV" in text
    assert text.count("G2") == 2
    assert "training:\n   iterations: 77\n   seconds: 12.5 s\n   settings:\n" in text
    assert "      cutoff: 6 Angstrom\n      l2: 0.0001 (no unit)\n" in text
    assert "training errors\n" in text
    assert "worst energy: 100 meV/atom in frame" in text
    assert f"numpy: {np.__version__}" in text


def test_fit_passes_on_what_is_given_and_nothing_else(monkeypatch):
    calls = []
    monkeypatch.setitem(vars(bpnumba), "fit", lambda *given, **options: calls.append((given, options)))
    assert cli.main(["fit", "a.xyz", "b.xyz"]) == 0
    line = ("fit a.xyz --valid v.xyz --output si.npz --cutoff 5.5 --hidden 10 20 --seed 3 --forces-weight 0 "
            "--l2 1e-3 --energy-key E --reference-energies Si=-5.4 C=-9 --config-type-weights liquid=0.5 --resume "
            "--n-functions 9 --units metal --optimizer kalman --max-epochs 4 --max-seconds 1.5 --memory 4GB "
            "--jacobian disk --precision float64 --committee 3 --repulsion zbl")  # fmt: skip
    assert cli.main(line.split()) == 0
    (train, first), (_, second) = calls
    assert train == (["a.xyz", "b.xyz"],)
    assert first == {"output": "model.npz", "keys": bpnumba.Keys()}
    assert second == {
        "valid": ["v.xyz"], "output": "si.npz", "cutoff": 5.5, "hidden": [10, 20], "seed": 3, "forces_weight": 0.0,
        "l2": 1e-3, "keys": bpnumba.Keys(energy="E"), "reference_energies": {"Si": -5.4, "C": -9.0},
        "config_type_weights": {"liquid": 0.5}, "resume": True, "n_functions": 9, "units": "metal",
        "optimizer": "kalman", "max_epochs": 4, "max_seconds": 1.5, "memory": "4GB", "jacobian": "disk",
        "precision": "float64", "committee": 3, "repulsion": "zbl",
    }  # fmt: skip


def test_options_of_fit_are_settings_of_fit():
    from bpnumba.training.settings import Settings

    settings = {field.name for field in dataclasses.fields(Settings)}
    options = {name.replace("-", "_") for name, _, _ in FIT_OPTIONS}
    assert settings - options == {"symmetry_functions", "hidden", "reference_energies", "keys", "config_type_weights"}
    assert options < settings


@pytest.mark.parametrize(("line", "message"), [
    ("info {folder}/none.npz", "{folder}/none.npz: No such file or directory"),
    ("info {folder}/data.xyz", "{folder}/data.xyz: not a bpnumba model, or truncated"),
    ("evaluate {folder}/si.npz {folder}/none.xyz", "{folder}/none.xyz: no such file"),
    ("evaluate {folder}/si.npz {folder}/si.npz", "{folder}/si.npz: cannot be read as atomic structures"),
    ("evaluate no.npz {folder}/data.xyz --json {folder}/no/out.json", "{folder}/no: no such folder to write to"),
    ("evaluate no.npz {folder}/data.xyz --json {folder}", "{folder}: is a directory"),
    ("evaluate no.npz {folder}/data.xyz --plot {folder}/out.foo", "{folder}/out.foo: a picture must end in one of ."),
    ("evaluate no.npz {folder}/data.xyz --plot {folder}/no/out.png", "{folder}/no: no such folder to write to"),
    ("evaluate {folder}/si.npz {folder}", "{folder}: is a directory"),
    ("fit {folder}/none.xyz", "{folder}/none.xyz: no such file"),
    ("fit {folder}/data.xyz --units si", "unknown units 'si'; there are atomic, metal"),
    ("fit {folder}/data.xyz --optimizer adam", "unknown optimizer 'adam'; there are auto, kalman+gn-lbfgs, kalman, gn"),
    ("fit {folder}/data.xyz --repulsion bks", "unknown repulsion 'bks'; there are zbl"),
    ("fit {folder}/data.xyz --memory lots", "an amount of memory is a number with B, KB, MB, GB or TB, such as 4GB"),
    ("fit {folder}/data.xyz --jacobian tape", "unknown jacobian 'tape'; there are auto, memory, disk, recompute"),
    ("fit {folder}/data.xyz --max-seconds 0", "max_seconds must be positive, not 0"),
    ("fit {folder}/data.xyz --committee 0", "committee must be at least 1, not 0"),
    ("fit {folder}/data.xyz --functions {folder}/si.npz --cutoff 5 --n-functions 9",
     "--functions {folder}/si.npz says which symmetry functions to use: leave out --cutoff, --n-functions"),
    ("fit {folder}/data.xyz --functions {folder}/f.nn --cutoff-function cosine", "--functions {folder}/f.nn says"),
    ("convert {folder}/none.npz {folder}/out", "{folder}/none.npz: No such file or directory"),
    ("convert {folder}/data.xyz {folder}/out.xyz", "{folder}/data.xyz to {folder}/out.xyz: neither file is of RuNNer"),
    ("convert {folder}/input.data {folder}/b.data", "{folder}/input.data to {folder}/b.data: both files are of RuNNer"),
    ("convert {folder}/input.data {folder}/out.npz",
     "{folder}/input.data holds structures; they cannot become the model {folder}/out.npz"),
    ("convert {folder}/input.data {folder}", "{folder}/input.data holds structures; they cannot become the model"),
    ("convert {folder}/input.data {folder}/no/out.xyz", "{folder}/no: no such folder to write to"),
    ("convert {folder}/input.data {folder}/out.foo", "{folder}/out.foo: cannot be written"),
    ("convert {folder}/input.data {folder}/out.xyz --units si", "unknown units 'si'; there are atomic, metal"),
    ("convert {folder}/si.npz {folder}/data.xyz",
     "{folder}/si.npz is a model of bpnumba; it becomes a folder of RuNNer, not the file {folder}/data.xyz"),
    ("convert {folder}/si.npz {folder}/new.npz", "{folder}/si.npz is a model of bpnumba; it becomes a folder"),
    ("convert {folder} {folder}/out.xyz",
     "{folder} is a folder, a model of RuNNer or n2p2; it becomes a file .npz, not {folder}/out.xyz"),
    ("convert {folder} {folder}/no/out.npz", "{folder}/no: no such folder to write to"),
    ("convert {folder}/data.xyz {folder}/out.data", "{folder}/out.data: frame 0 cannot be written: it has no energy"),
])  # fmt: skip
def test_mistakes_end_with_one_line(folder, capsys, line, message):
    assert cli.main(line.format(folder=folder).split()) == 2
    text = capsys.readouterr().err
    assert text.startswith("bpnumba: error: " + message.format(folder=folder))
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("fault", "code", "text"),
    [
        (KeyboardInterrupt(), 130, "bpnumba: interrupted\n"),
        (FloatingPointError("the loss is not finite"), 2, "bpnumba: error: the loss is not finite\n"),
        (MemoryError("memory: 9.00 GB of 4.00 GB"), 2, "bpnumba: error: memory: 9.00 GB of 4.00 GB\n"),
    ],
)
def test_interrupts_and_numbers_that_are_none(capsys, monkeypatch, fault, code, text):
    def fit(*_, **__):
        raise fault

    monkeypatch.setitem(vars(bpnumba), "fit", fit)
    assert cli.main(["fit", "a.xyz"]) == code
    assert capsys.readouterr().err == text


@pytest.mark.parametrize("lines", ["fit --valid v.xyz --valid w.xyz t.xyz", "fit t.xyz --valid v.xyz --valid w.xyz",
                                   "fit --valid v.xyz t.xyz --valid w.xyz --hidden 15 15",
                                   "fit t.xyz --hidden 15,15 --valid=v.xyz --valid w.xyz"])  # fmt: skip
def test_validation_files_and_training_files_in_any_order(monkeypatch, lines):
    calls = []
    monkeypatch.setitem(vars(bpnumba), "fit", lambda train, **options: calls.append((train, options)))
    assert cli.main(lines.split()) == 0
    ((train, options),) = calls
    assert (train, options["valid"], options.get("hidden", [15, 15])) == (["t.xyz"], ["v.xyz", "w.xyz"], [15, 15])


def test_a_slab_with_a_stress_label(folder, tmp_path, capsys):
    slab = bulk("Si", cubic=True)
    slab.pbc = [True, True, False]
    slab.info |= {"REF_energy": 1.0, "REF_stress": np.zeros(6)}
    write(tmp_path / "slab.xyz", slab, format="extxyz")
    line = ["evaluate", str(folder / "si.npz"), str(tmp_path / "slab.xyz")]
    assert cli.main(line) == 2
    assert "--stress-key none" in capsys.readouterr().err
    assert cli.main([*line, "--stress-key", "none"]) == 0
    assert "labels: 1 energies, 0 force vectors, 0 stresses" in capsys.readouterr().out


@pytest.mark.parametrize("units", ["atomic", "metal"])
def test_convert_structures(folder, tmp_path, capsys, units):
    """To extended XYZ and back: every digit and word."""
    there = ["convert", str(folder / "input.data"), str(tmp_path / "all.xyz"), "--units", units]
    back = ["convert", str(tmp_path / "all.xyz"), str(tmp_path / "input.data.new"), "--units", units]
    assert cli.main(there) == cli.main(back) == 0
    words = {"atomic": "bohr and Hartree", "metal": "Angstrom and eV"}[units]
    assert capsys.readouterr().out == (
        f"read {there[1]} ({words}): 2 structures, 3 atoms; wrote {there[2]} (Angstrom and eV)\n"
        f"read {there[2]} (Angstrom and eV): 2 structures, 3 atoms; wrote {back[2]} ({words})\n"
    )
    old = read_frames(there[1], units=units)
    for again in (ase.io.read(there[2], ":"), read_frames(back[2], units=units)):
        for a, b in zip(old, again, strict=True):
            compare(a, b, rtol=4e-16)


def test_convert_names_what_is_left_out(folder, tmp_path, capsys):
    frames = ase.io.read(folder / "data.xyz", ":2")
    for atoms in frames:
        atoms.info["REF_energy"] = atoms.info.pop("dft_energy")
    write(tmp_path / "data.xyz", frames)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert cli.main(["convert", str(tmp_path / "data.xyz"), str(tmp_path / "input.data")]) == 0
    message = f"{tmp_path}/input.data: this format has no place for REF_stress, config_type; left out"
    assert capsys.readouterr().err == f"bpnumba: warning: {message}\n"


@pytest.mark.parametrize("units", ["atomic", "metal"])
def test_convert_models(folder, tmp_path, capsys, units):
    """To a folder of RuNNer and back: the same energies and forces; evaluate and info read the folder too."""
    there = ["convert", str(folder / "si.npz"), str(tmp_path / "runner"), "--units", units]
    back = ["convert", str(tmp_path / "runner"), str(tmp_path / "si.npz"), "--units", units]
    assert cli.main(there) == cli.main(back) == 0
    words = {"atomic": "bohr and Hartree", "metal": "Angstrom and eV"}[units]
    about = "Si, 3 symmetry functions, 21 weights"
    assert capsys.readouterr().out == (
        f"read the model {there[1]} (Angstrom and eV): {about}; wrote {there[2]} ({words})\n"
        f"read the model {there[2]} ({words}): {about}; wrote {back[2]} (Angstrom and eV)\n"
    )
    frames = ase.io.read(folder / "data.xyz", ":")
    old, new = (bpnumba.load(path).evaluate(frames) for path in (there[1], back[2]))
    np.testing.assert_allclose(new.energy_m, old.energy_m, rtol=1e-10)
    np.testing.assert_allclose(new.forces_ac, old.forces_ac, atol=1e-9)
    assert cli.main(["info", there[2], "--units", units]) == 0
    assert "potential for Si, cutoff 4 Angstrom" in capsys.readouterr().out
    line = ["evaluate", there[2], str(folder / "data.xyz"), "--energy-key", "dft_energy", "--units", units]
    assert cli.main(line) == 0
    assert "worst energy: 100 meV/atom" in capsys.readouterr().out


def test_a_model_in_a_folder_is_kept(folder, tmp_path, capsys):
    (tmp_path / "input.nn").write_text("precious")
    line = ["convert", str(folder / "si.npz"), str(tmp_path)]
    assert cli.main(line) == 2
    message = f"bpnumba: error: {tmp_path}: holds an input.nn already; --overwrite replaces that model\n"
    assert capsys.readouterr().err == message
    assert (tmp_path / "input.nn").read_text() == "precious"
    assert cli.main([*line, "--overwrite"]) == 0
    assert (tmp_path / "input.nn").read_text() != "precious"


@pytest.mark.parametrize("units", ["atomic", "metal"])
def test_symmetry_functions_of_a_file(folder, tmp_path, monkeypatch, units):
    calls = []
    monkeypatch.setitem(vars(bpnumba), "fit", lambda *_, **options: calls.append(options))
    assert cli.main(["convert", str(folder / "si.npz"), str(tmp_path / "runner"), "--units", units]) == 0
    for path in (folder / "si.npz", tmp_path / "runner" / "input.nn"):
        assert cli.main(["fit", "a.xyz", "--functions", str(path), "--units", units]) == 0
    ours, theirs = (options["symmetry_functions"] for options in calls)
    assert calls[0].keys() == {"output", "keys", "units", "symmetry_functions"}
    atoms = bulk("Si")
    atoms.rattle(0.1, seed=1)
    G, H = (functions.create(atoms) for functions in (ours, theirs))
    np.testing.assert_allclose(np.sort(H), np.sort(G), rtol=1e-9)  # files of RuNNer have an order of their own


@pytest.mark.parametrize("training", ["words", {"errors": 3}, {"errors": {"training": {"n_frames": 1}}},
                                      {"errors": {"training": {**dict.fromkeys(Row._fields, "x"), "worst": {},
                                                               "by_config_type": {}}}}])  # fmt: skip
def test_info_of_a_model_that_remembers_nonsense(folder, tmp_path, capsys, training):
    potential = dataclasses.replace(bpnumba.load(folder / "si.npz"), info={"training": training})
    bpnumba.save(potential, tmp_path / "si.npz")
    assert cli.main(["info", str(tmp_path / "si.npz")]) == 0
    assert ("cannot read" in capsys.readouterr().out) == (training != "words")


def test_faults_of_the_library_show_where(folder, monkeypatch):
    def fault(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setitem(vars(bpnumba), "load", fault)
    with pytest.raises(ZeroDivisionError):
        cli.main(["info", str(folder / "si.npz")])


@pytest.mark.parametrize("line", ["", "nothing", "fit", "fit a.xyz --seed x", "fit a.xyz --reference-energies Si",
                                  "fit --hidden 15 a.xyz",
                                  "fit a.xyz --config-type-weights a=b"])  # fmt: skip
def test_wrong_usage(line, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(line.split())
    assert caught.value.code == 2
    assert "usage: bpnumba" in capsys.readouterr().err


def test_warnings_are_one_line(folder, capsys, monkeypatch):
    monkeypatch.setitem(vars(bpnumba), "load", lambda path: warnings.warn("look here", stacklevel=1))
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(AttributeError):  # there is no potential to show
            cli.main(["info", "x"])
    assert capsys.readouterr().err == "bpnumba: warning: look here\n"


def test_which_kernels_and_why(capsys, monkeypatch):
    assert cli.main(["info", "--kernels"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(("kernels: fast, ", "kernels: plain"))
    assert lines[1].startswith("   because ")
    assert "threads: " in lines[2]
    assert lines[3].startswith("machine code is kept in ")
    monkeypatch.setenv("BPNUMBA_KERNELS", "plain")
    monkeypatch.setenv("BPNUMBA_THREADS", "3")
    assert cli.main(["info", "--kernels"]) == 0
    assert "kernels: plain\n   because BPNUMBA_KERNELS=plain asks for them\nthreads: 3" in capsys.readouterr().out


@pytest.mark.parametrize(("variable", "value", "expected"), [
    ("BPNUMBA_THREADS", "many", "BPNUMBA_THREADS must be a positive number of threads, not 'many'"),
    ("BPNUMBA_KERNELS", "fast", "BPNUMBA_KERNELS must be plain, 2, 4 or 8, not 'fast'"),
])  # fmt: skip
def test_a_wrong_wish_for_kernels(variable, value, expected, monkeypatch, capsys):
    monkeypatch.setenv(variable, value)
    assert cli.main(["info", "--kernels"]) == 2
    assert expected in capsys.readouterr().err


def test_info_of_nothing(capsys):
    """Without a model it is about the machine."""
    assert cli.main(["info"]) == 0
    assert capsys.readouterr().out.startswith("kernels: ")


def test_warmup(folder, capsys):
    for _ in range(2):
        assert cli.main(["warmup", str(folder / "si.npz")]) == 0
        text = capsys.readouterr().out
        assert text.startswith("Si: kernels are ready after ")
    assert "s, 0 of them compiled, all others from the disk" in text


def test_as_a_module():
    run = [sys.executable, "-m", "bpnumba"]
    assert subprocess.check_output([*run, "--version"], text=True) == f"bpnumba {bpnumba.__version__}\n"
    done = subprocess.run([*run, "info", "none.npz"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "bpnumba: error: none.npz: No such file or directory\n")


def test_a_reader_that_has_seen_enough_is_no_error(tmp_path):
    """As in `bpnumba info model.npz | head -1`, with a reader that closes at once."""
    reader, writer = os.pipe()
    os.close(reader)
    long = "cli.COMMANDS['info'] = lambda model: print('x' * 10**5)"
    code = f"from bpnumba import cli; {long}; raise SystemExit(cli.main(['info', 'a']))"
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_endings_in_capitals(folder, tmp_path, capsys):
    """They mean the same."""
    there, back = tmp_path / "ALL.XYZ", tmp_path / "W.DATA"
    assert cli.main(["convert", str(folder / "input.data"), str(there)]) == 0
    assert cli.main(["convert", str(there), str(back)]) == 0
    for a, b in zip(read_frames(str(folder / "input.data")), read_frames(str(back)), strict=True):
        compare(a, b, rtol=4e-16)

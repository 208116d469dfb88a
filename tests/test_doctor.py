"""The doctor finds what was damaged on purpose, with its frame, and leaves sound data in peace."""

import copy
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.md.verlet import VelocityVerlet
from ase.units import Bohr, Hartree, fs, kB

import bpnumba
from bpnumba import cli
from bpnumba.demo import silicon
from bpnumba.doctor import examine
from bpnumba.doctor import pairs as doctor_pairs
from bpnumba.doctor import steps as doctor_steps
from bpnumba.doctor.report import Finding, Report, named
from bpnumba.io.keys import Keys
from bpnumba.training.dataset import read

SEQUENCE = range(0, 24)  # dynamics of one crystal
STRAINED = range(24, 60)
GPA = 160.21766


@pytest.fixture(scope="module")
def sound():
    """Copper and gold of effective medium theory: dynamics at 600 K, strained crystals, rattled ones, a surface."""
    random, frames = np.random.default_rng(0), []
    walk = bulk("Cu", cubic=True) * (2, 2, 1)
    walk.symbols[[3, 7]] = "Au"
    walk.calc = EMT()
    mass = walk.get_masses()[:, None]
    walk.set_momenta(np.sqrt(mass * 1200 * kB) * random.normal(size=(16, 3)))
    dynamics = VelocityVerlet(walk, 5 * fs)
    for _ in SEQUENCE:
        dynamics.run(3)
        frames.append(walk.copy())
    for k in range(len(STRAINED)):
        atoms = bulk("Cu", cubic=True)
        atoms.symbols[0] = "Au"
        strain = np.zeros((3, 3))
        strain[[(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)][k % 6]] = 0.01 * (k // 6 - 2.5)
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
        frames.append(atoms)
    for k in range(30):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.symbols[: k % 4] = "Au"
        atoms.rattle(0.06, seed=k)
        frames.append(atoms)
    return [labelled(atoms) for atoms in frames]


def labelled(atoms):
    """A copy with labels, without calculator."""
    atoms = atoms.copy()
    atoms.calc = EMT()
    atoms.info["REF_energy"] = atoms.get_potential_energy()
    atoms.arrays["REF_forces"] = atoms.get_forces()
    if atoms.pbc.all():
        atoms.info["REF_stress"] = atoms.get_stress()
    atoms.calc = None
    return atoms


@pytest.fixture
def frames(sound):
    """To be damaged."""
    return copy.deepcopy(sound)


def found(report, words, severity=None):
    """The one finding whose text holds the words."""
    hits = [finding for finding in report.findings if re.search(words, f"{finding.what}; {finding.advice}")]
    assert len(hits) == 1, f"{words!r} in {len(hits)} findings of\n{report}"
    assert severity is None or hits[0].severity == severity
    return hits[0]


def serious(report):
    return [finding for finding in report.findings if finding.severity != "note"]


# ---- sound data ----


def test_sound_data_are_left_in_peace(sound):
    report = examine(sound)
    assert not serious(report), str(report)
    assert report.verdict == "Nothing speaks against a fit."
    text = str(report)
    for words in ("90 frames", "Cu", "config_type", "bond about", "net force", "least squares", "pressure", "close"):
        assert words in text
    assert max(map(len, text.splitlines())) <= 118


def test_embedded_silicon_is_left_in_peace():
    assert not serious(examine(silicon()))


@pytest.mark.parametrize(("element", "expected"), [("Si", None), ("Mo", None), ("Li", "shear stresses contradict")])
def test_published_sets(element, expected):
    """Sound but for the shear stresses of strained lithium, a known defect of the set."""
    path = Path(__file__).parents[2] / "shared" / "data" / "mlearn" / f"{element}_train.xyz.gz"
    if not path.exists():
        pytest.skip(f"the data set {path.name} (Zuo et al. 2020) is not here")
    report = examine(path)
    assert len(serious(report)) == (expected is not None), str(report)
    if expected:
        assert found(report, expected, "warning")


def test_all_tests_of_work_were_made(sound):
    of_forces, fitted, of_stress = next(part.lines for part in examine(sound).sections if part.title == "Work")
    assert float(re.search(r"work = (\S+)", of_forces)[1]) == pytest.approx(1, abs=0.03)
    assert float(re.search(r"vary (\S+) times", fitted)[1]) == pytest.approx(1, abs=0.5)
    assert float(re.search(r"work = (\S+)", of_stress)[1]) == pytest.approx(1, abs=0.03)


# ---- frames that a fit refuses ----


def test_all_refused_frames_are_listed_and_the_rest_is_examined(frames):
    frames[3].info["REF_energy"] = np.nan
    frames[7].arrays["REF_forces"][2, 1] = np.nan
    frames[30].positions[1] = frames[30].positions[0]
    frames[31].info["REF_stress"] = np.zeros(5)
    frames[61].info["REF_energy"] += 5.0 * len(frames[61])
    report = examine(frames)
    refused = {finding.frames[0]: finding.what for finding in report.findings if "a fit refuses" in finding.what}
    assert set(refused) == {"frame 3", "frame 7", "frame 30", "frame 31"}
    assert "REF_energy" in refused["frame 3"]
    assert "not finite" in refused["frame 3"]
    assert "atom 2" in refused["frame 7"]
    assert "at one place" in refused["frame 30"]
    assert "shape (5,)" in refused["frame 31"]
    assert "frame 61" in found(report, "composition and distances suggest").frames
    assert "86 frames" in str(report)
    assert report.verdict.startswith("Not ready for a fit: 4 errors")
    for m in (3, 7, 30, 31):  # each of them is truly refused
        with pytest.raises(ValueError, match=f"frame 0.*{'place' if m == 30 else ''}"):
            read(frames[m])


def test_many_refused_frames_of_one_kind_are_one_finding(frames):
    for m in range(9):
        frames[m].info["REF_energy"] = np.nan
    finding = found(examine(frames), "a fit refuses 9 frames")
    assert finding.frames == tuple(f"frame {m}" for m in range(9))
    assert "frames 0, 1, 2, 3, 4 and 4 more" in str(finding)


def test_no_sound_frame():
    atoms = bulk("Cu")
    atoms.info["REF_energy"] = np.nan
    report = examine([atoms])
    assert report.verdict.startswith("Not ready")
    assert "no frame can be used" in str(report)
    with pytest.raises(ValueError, match="no frame"):
        examine([])


# ---- forces ----


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (-1, "sign of the forces is wrong"),
        (Bohr / Hartree, "what forces in Hartree/bohr give"),
        (-Bohr / Hartree, "sign of the forces is wrong.*Hartree/bohr"),
        (2 * Bohr / Hartree, "forces in Rydberg/bohr"),
    ],
)
def test_forces_of_another_sign_or_unit(frames, factor, words):
    for atoms in frames:
        atoms.arrays["REF_forces"] *= factor
    finding = found(examine(frames), words, "error")
    assert set(finding.frames) <= {f"frame {m}" for m in SEQUENCE}
    assert len(finding.frames) > 15


@pytest.mark.parametrize(("a", "stdev", "verb"), [(3.61, 0.13, "give 51"), (4.0, 0.17, "gives about 51")])
@pytest.mark.parametrize(("factor", "words"), [(-1, "sign .*is wrong"), (Bohr / Hartree, "Hartree/bohr {}")])
def test_forces_of_unrelated_frames(factor, words, a, stdev, verb):
    """The first frames are barely close enough to be compared with each other, the second are not."""
    frames = []
    for k in range(30):
        atoms = bulk("Cu", a=a, cubic=True) * ((2, 1, 1) if a == 3.61 else (2, 2, 2))
        atoms.rattle(stdev, seed=k)
        frames.append(labelled(atoms))
    assert not serious(examine(frames))
    for atoms in frames:
        atoms.arrays["REF_forces"] *= factor
    report = examine(frames)
    assert ("forces against energies: not tested" in str(report)) == (a == 4.0)
    assert len(found(report, words.format(verb), "error").frames) == 30 or a == 3.61


def test_forces_of_many_frames(frames):
    for m in SEQUENCE[::2]:
        frames[m].arrays["REF_forces"] *= -1
    finding = found(examine(frames[:24]), "not the work of forces and stress in .* of 24", "error")
    assert len(finding.frames) > 6


def test_pair_potential_is_found_again():
    """Forces of a pair potential within the basis give its energies back, and their derivative is right."""
    frames = []
    for k in range(24):
        atoms = bulk("Cu", cubic=True) * (2, 1, 1)
        atoms.symbols[:3] = "Au"
        atoms.rattle(0.1, seed=k)
        frames.append(atoms)
    weights = np.random.default_rng(0).normal(size=36)

    def energy(atoms):
        return doctor_pairs._basis(atoms, (atoms.numbers == 79).astype(int), 2)[0] @ weights

    for atoms in frames:
        forces = doctor_pairs._basis(atoms, (atoms.numbers == 79).astype(int), 2)[1] @ weights
        atoms.info["REF_energy"], atoms.arrays["REF_forces"] = energy(atoms), forces.reshape(-1, 3)
    moved = [frames[0].copy(), frames[0].copy()]
    for sign, atoms in zip((1, -1), moved):
        atoms.positions[2, 1] += sign * 1e-5
    slope = (energy(moved[0]) - energy(moved[1])) / 2e-5
    assert frames[0].arrays["REF_forces"][2, 1] == pytest.approx(-slope, rel=1e-6)
    explained, correlation, ratio = doctor_pairs._compared(read(frames), np.arange(24))
    assert explained == pytest.approx(1, abs=1e-3)
    assert correlation == pytest.approx(1, abs=1e-2)
    assert ratio == pytest.approx(1, abs=0.05)


def test_mixed_units_are_found_by_config_type(frames):
    for m, atoms in enumerate(frames):
        atoms.info["config_type"] = "walk, old" if m < 12 else "walk, new" if m < 24 else "other"
    for m in range(12):
        frames[m].arrays["REF_forces"] *= Bohr / Hartree
    finding = found(examine(frames), "Hartree/bohr", "error")
    assert "walk, old" in finding.what
    assert "walk, new" not in finding.what
    assert {int(frame.split()[-1]) for frame in finding.frames} <= set(range(12))


def test_forces_of_one_frame(frames):
    frames[10].arrays["REF_forces"] *= -1
    assert found(examine(frames), "contradict most frames close").frames == ("frame 10",)


def test_forces_that_are_all_zero(frames):
    frames[70].arrays["REF_forces"][:] = 0
    assert found(examine(frames), "all zero", "error").frames == ("frame 70",)


def test_forces_of_fixed_atoms(frames):
    frames[70].arrays["REF_forces"][[1, 4]] = 0
    report = examine(frames)
    assert found(report, "2 single atoms", "error").frames == ("frame 70",)
    assert found(report, "do not add up").frames == ("frame 70",)


def test_zero_forces_of_a_perfect_crystal_are_right(frames):
    for a in (3.59, 3.61, 3.63):
        perfect = labelled(bulk("Cu", a=a, cubic=True))
        perfect.arrays["REF_forces"][:] = 0
        frames.append(perfect)
    assert not serious(examine(frames))


def test_enormous_force(frames):
    frames[70].arrays["REF_forces"][3] = [120, 0, 0]
    frames[70].arrays["REF_forces"][4] = [-120, 0, 0]
    finding = found(examine(frames), "forces beyond")
    assert finding.frames == ("frame 70",)
    assert "120" in finding.what


# ---- energies ----


def test_one_energy_of_a_sequence(frames):
    frames[10].info["REF_energy"] += 5.0
    report = examine(frames)
    assert found(report, "contradict most frames close").frames == ("frame 10",)
    assert "+4.99 eV" in found(report, "contradict most frames close").what
    assert found(report, "composition and distances").frames == ("frame 10",)


def test_one_energy_among_unlike_frames(frames):
    frames[75].info["REF_energy"] -= 5.0
    assert found(examine(frames), "composition and distances").frames == ("frame 75",)


@pytest.mark.parametrize(("unit", "factor"), [("Hartree", 1 / Hartree), ("kJ/mol", 96.4853), ("wrong sign", -1.0)])
def test_mixed_units_of_energies(frames, unit, factor):
    for atoms in frames:
        atoms.info["REF_energy"] -= 100.0 * len(atoms)  # as total energies are
    for m in (26, 33, 50):
        frames[m].info["REF_energy"] *= factor
    assert found(examine(frames), f"look like .*{unit}", "error").frames == ("frame 26", "frame 33", "frame 50")


def test_energies_per_atom():
    frames = []
    for k in range(24):
        atoms = bulk("Cu", cubic=True) * (1 + k % 3, 1, 1)
        atoms.rattle(0.05, seed=k)
        atoms = labelled(atoms)
        atoms.info["REF_energy"] = atoms.info["REF_energy"] / len(atoms) - 30.0
        frames.append(atoms)
    assert len(found(examine(frames), "does not grow with the number of atoms", "error").frames) == 24


def test_energy_zero(frames):
    frames[70].info["REF_energy"] = 0.0
    assert found(examine(frames), "exactly zero", "error").frames == ("frame 70",)


def test_one_composition_only():
    frames = [labelled(rattled) for rattled in moved("CH3CH2OH", 10)]
    finding = found(examine(frames), "not determined by the data")
    assert finding.severity == "note"
    with_atoms = [*frames, *(labelled(Atoms(symbol)) for symbol in "HCO")]
    assert "not determined" not in str(examine(with_atoms))


def moved(name, n, step=0.1):
    for seed in range(n):
        atoms = molecule(name)
        atoms.rattle(step, seed=seed)
        yield atoms


# ---- stresses ----


@pytest.mark.parametrize(
    ("factor", "words"),
    [(-1, "sign of the stress is wrong"), (-10 * GPA, "sign of the stress is wrong.*kbar"), (GPA, "stresses in GPa")],
)
def test_stresses_of_another_sign_or_unit(frames, factor, words):
    for atoms in frames:
        atoms.info["REF_stress"] = atoms.info["REF_stress"] * factor
    finding = found(examine(frames), words, "error")
    assert set(finding.frames) <= {f"frame {m}" for m in STRAINED}
    assert len(finding.frames) > 10


def test_order_of_shear_stresses(frames):
    for atoms in frames:
        atoms.info["REF_stress"] = atoms.info["REF_stress"][[0, 1, 2, 5, 3, 4]]  # VASP's, as if it were ASE's
    finding = found(examine(frames), "order xy, yz, xz", "error")
    assert set(finding.frames) <= {f"frame {m}" for m in STRAINED}


def test_bad_shear_stresses(frames):
    for m in STRAINED:
        frames[m].info["REF_stress"][3:] *= 0.02
    assert found(examine(frames), "shear stresses contradict", "warning")


def test_stress_without_energies_of_strained_frames(sound):
    frames = copy.deepcopy(sound[60:])
    for atoms in frames:
        atoms.info["REF_stress"] = atoms.info["REF_stress"] * 10 * GPA
    assert "divide GPa by 160.2, kbar by 1602" in str(examine(frames))


def test_stresses_of_a_gas(sound):
    frames = copy.deepcopy(sound[60:])
    for atoms in frames:
        atoms.info["REF_stress"] = atoms.info["REF_stress"] / (Hartree / Bohr**3) / 10
    assert found(examine(frames), "ideal gas", "warning")


# ---- structures ----


def test_duplicates(frames):
    frames += [frames[5].copy(), frames[70].copy()]
    assert found(examine(frames), "2 frames repeat another one", "warning").frames == ("frame 90", "frame 91")
    frames[91].info["REF_energy"] += 0.5
    report = examine(frames)
    assert found(report, "1 frames repeat another one").frames == ("frame 90",)
    finding = found(report, "with other labels", "error")
    assert finding.frames == ("frame 91",)
    assert "energies by 62.5 meV/atom" in finding.what


def test_atoms_that_are_too_near(frames):
    atoms = Atoms("Cu2", [[0, 0, 0], [0, 0, 1.2]])
    finding = found(examine([*frames, labelled(atoms)]), "Cu-Cu 1.200 Angstrom", "warning")
    assert finding.frames == ("frame 90",)


def test_lonely_atoms(frames):
    pair, alone = labelled(Atoms("Cu2", [[0, 0, 0], [0, 0, 15]])), Atoms("Cu", cell=[12] * 3, pbc=True)
    report = examine([*frames, pair, labelled(alone), labelled(Atoms("Au"))])
    assert found(report, "nobody within", "note").frames == ("frame 90",)
    assert found(report, "one atom without a neighbor", "warning").frames == ("frame 91",)


# ---- labels ----


def test_label_under_another_name(frames):
    for atoms in frames:
        atoms.info["dft_energy"] = atoms.info.pop("REF_energy")
        atoms.arrays["dft_forces"] = atoms.arrays.pop("REF_forces")
    report = examine(frames)
    assert "--energy-key dft_energy" in found(report, "no energy").advice
    assert "--forces-key dft_forces" in found(report, "no forces").advice
    assert not serious(examine(frames, Keys(energy="dft_energy", forces="dft_forces")))


def test_frames_without_labels(frames):
    for name in ("REF_energy", "REF_stress"):
        del frames[4].info[name]
    del frames[4].arrays["REF_forces"]
    assert found(examine(frames), "1 frames have no label", "warning").frames == ("frame 4",)
    assert "nothing to fit" in found(examine([bulk("Cu")]), "no label", "error").advice


def test_mixed_names(frames):
    energy = frames[70].info.pop("REF_energy")
    frames[70].calc = SinglePointCalculator(frames[70], energy=energy, free_energy=energy - 0.1)
    report = examine(frames)
    assert found(report, "under plain names", "warning").frames == ("frame 70",)
    assert found(report, "free_energy differ", "warning").frames == ("frame 70",)


# ---- steps ----


def test_step_against_its_definition(sound):
    """A step through a periodic boundary, with a drift, against plain sums."""
    first, second = sound[0].copy(), sound[1].copy()
    second.positions += [0.3, 0, 0]
    second.wrap()
    (step,) = doctor_steps.steps(read([first, second]))
    u = sound[1].positions - sound[0].positions
    u -= u.mean(axis=0)
    mean = 0.5 * (first.arrays["REF_forces"] + second.arrays["REF_forces"])
    assert step.forces_work == pytest.approx(-np.sum(mean * u), abs=1e-9)
    assert not step.strained
    assert step.difference == second.info["REF_energy"] - first.info["REF_energy"]


def test_steps_of_a_shuffled_molecule():
    """Near frames are found whatever their order, and without a cell."""
    frames = [labelled(atoms) for atoms in moved("CH3CH2OH", 40, 0.02)]
    order = np.random.default_rng(1).permutation(40)
    ratios = [s.difference / s.forces_work for s in doctor_steps.steps(read([frames[k] for k in order]))
              if abs(s.forces_work) > s.forces_bend]  # fmt: skip
    assert len(ratios) > 5
    assert np.median(ratios) == pytest.approx(1, abs=0.05)


# ---- the page and the command ----


def test_frames_in_words():
    assert named(("a.xyz, frame 3", "b.xyz, frame 1", "a.xyz, frame 4")) == "a.xyz, frames 3, 4; b.xyz, frame 1"
    assert named(("frame 3",)) == "frame 3"


def test_findings_are_sorted_by_severity():
    report = Report.of([], [Finding(s, s, (), "look") for s in ("note", "error", "warning", "error")])
    assert [finding.severity for finding in report.findings] == ["error", "error", "warning", "note"]
    assert report.verdict == "Not ready for a fit: 2 errors, 1 warning."


def test_command(frames, tmp_path, capsys):
    frames[3].info["REF_energy"] = np.nan
    write(tmp_path / "a.xyz", frames[:50], format="extxyz")
    write(tmp_path / "b.xyz", frames[50:], format="extxyz")
    code = cli.main(["doctor", str(tmp_path / "a.xyz"), str(tmp_path / "b.xyz"), "--json", str(tmp_path / "out.json")])
    assert code == 0
    text, plain = capsys.readouterr().out, json.loads((tmp_path / "out.json").read_text())
    assert "89 frames" in text
    assert text.rstrip().endswith(plain["verdict"])
    assert plain["findings"][0]["frames"] == [f"{tmp_path / 'a.xyz'}, frame 3"]
    assert plain["findings"][0]["severity"] == "error"
    assert any("least squares" in line for line in plain["sections"]["Energies"])


def test_command_with_keys_and_units(tmp_path, capsys):
    (tmp_path / "input.data").write_text(
        "begin\natom 0 0 0 H 0 0 0 0 0 0.1\natom 0 0 1.4 H 0 0 0 0 0 -0.1\nenergy -1.1\ncharge 0\nend\n"
    )
    assert cli.main(["doctor", str(tmp_path / "input.data"), "--units", "atomic"]) == 0
    assert "H-H     0.741" in capsys.readouterr().out
    assert cli.main(["doctor", str(tmp_path / "input.data"), "--units", "metal", "--forces-key", "none"]) == 0
    assert "H-H     1.400" in capsys.readouterr().out
    assert cli.main(["doctor", str(tmp_path / "nothing.xyz")]) == 2


def test_public_name(sound):
    assert bpnumba.examine is examine
    stream = io.StringIO()
    examine(read(sound[:3]), stream=stream)
    assert stream.getvalue() == ""

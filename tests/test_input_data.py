"""Structures of RuNNer and n2p2: what is read is what the file says; what is wrong is refused by file and line."""

import gzip
import json
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from bpnumba.io.frames import is_input_data, read_frames, write_frames
from bpnumba.io.input_data import read_structures, write_structures
from bpnumba.units import BOHR, HARTREE, UNITS

RUNNER = Path(__file__).resolve().parents[2] / "shared" / "reference" / "runner"

TWO = """\
# two structures, one periodic
begin set=test
comment silver # chloride
comment and more
lattice 10.0 0.0 0.0
lattice  1.0 9.0 0.0
  lattice 0 0 8e0

atom 1.0 2.0 3.0 Ag 0.25 7.0 0.1 -0.2 0.3
 atom 4.0 5.0 6.0 Cl -0.25 7.0 -0.1 0.2 -0.3  # the end of a line
energy -2.5
charge 0.5
end
begin
charge -1
atom 0 0 0 H 0 0 0 0 0
end
"""


def text_file(folder, text, name="input.data"):
    path = folder / name
    path.write_bytes(text.encode())
    return str(path)


def labelled(symbol="Cu", periodic=True, seed=0, **info):
    """A structure with labels whose numbers use all digits."""
    rng = np.random.default_rng(seed)
    atoms = bulk(symbol, cubic=True) if periodic else molecule("CH3CHO")
    atoms.rattle(0.1, seed=seed)
    if periodic:
        atoms.set_cell(atoms.cell.array + 0.1 * rng.normal(size=(3, 3)))
    atoms.info |= {"REF_energy": rng.normal(), "charge": rng.normal()} | info
    atoms.arrays |= {"REF_forces": rng.normal(size=(len(atoms), 3)), "REF_charges": rng.normal(size=len(atoms))}
    return atoms


def compare(old, new, rtol=0.0):
    assert old.info.keys() == new.info.keys()
    assert old.arrays.keys() == new.arrays.keys()
    for a, b in ((old.info, new.info), (old.arrays, new.arrays)):
        for name, value in a.items():
            if isinstance(value, str):
                assert b[name] == value
            else:
                np.testing.assert_allclose(b[name], value, rtol=rtol, atol=0, err_msg=name)
    np.testing.assert_allclose(new.cell.array, old.cell.array if old.pbc.all() else 0, rtol=rtol, atol=0)
    assert old.pbc.tolist() == new.pbc.tolist()


# -------------------- reading


@pytest.mark.parametrize(("units", "length", "energy"), [("atomic", BOHR, HARTREE), ("metal", 1.0, 1.0)])
def test_all_that_a_file_says(tmp_path, units, length, energy):
    first, second = read_structures(text_file(tmp_path, TWO), units)
    assert first.info == {"REF_energy": -2.5 * energy, "charge": 0.5, "comment": "silver # chloride\nand more",
                          "set": "test"}  # fmt: skip
    assert first.get_chemical_symbols() == ["Ag", "Cl"]
    np.testing.assert_array_equal(first.positions, np.array([[1, 2, 3], [4, 5, 6]]) * length)
    np.testing.assert_array_equal(first.cell.array, np.array([[10, 0, 0], [1, 9, 0], [0, 0, 8]]) * length)
    forces = np.array([[0.1, -0.2, 0.3], [-0.1, 0.2, -0.3]]) * energy / length
    np.testing.assert_allclose(first.arrays["REF_forces"], forces, rtol=1e-15)
    np.testing.assert_array_equal(first.arrays["REF_charges"], [0.25, -0.25])
    assert first.pbc.all()
    assert second.info == {"charge": -1.0}
    assert not second.pbc.any()
    assert not second.cell.array.any()
    assert second.arrays["REF_charges"].tolist() == [0.0]


@pytest.mark.parametrize("change", [lambda text: text.replace("\n", "\r\n"), lambda text: "\ufeff" + text,
                                    lambda text: text.rstrip("\n"), lambda text: "\n# x\n" + text.replace(" ", "\t"),
                                    lambda text: text.replace("0.3\n", "0.3 1.0\n")])  # fmt: skip
def test_what_editors_and_other_programs_do_to_files(tmp_path, change):
    changed = read_structures(text_file(tmp_path, change(TWO)))
    for old, new in zip(read_structures(text_file(tmp_path, TWO, "input.data.old")), changed, strict=True):
        old.info.pop("comment", None), new.info.pop("comment", None)
        compare(old, new)


@pytest.mark.parametrize(("old", "new", "line", "message"), [
    ("begin set=test", "begin set=valid", 2, "expected 'begin', 'begin set=train' or 'begin set=test', not 'begin set"),
    ("begin set=test", "begin test", 2, "expected 'begin', 'begin set=train' or 'begin set=test'"),
    ("begin set=test", "begin set=test set=test", 2, "expected 'begin', "),
    ("begin set=test", "begin position(3) element", 2, "expected 'begin', 'begin set=train'"),
    ("begin set=test\n", "", 2, "expected 'begin', not 'comment'"),
    ("# two", "two", 1, "expected 'begin', not 'two'"),
    ("energy -2.5", "enrgy -2.5", 11, "unknown keyword 'enrgy', expected comment, lattice, atom, energy, charge"),
    ("energy -2.5", "energy -2.5\nenergy -2.5", 12, "one 'energy' too many in the structure that begins in line 2"),
    ("charge 0.5", "charge 0.5\ncharge 0.5", 13, "one 'charge' too many"),
    ("energy -2.5", "energy", 11, "expected 1 number after 'energy', found 0 words"),
    ("energy -2.5", "energy -2.5 eV", 11, "expected 1 number after 'energy', found 2 words"),
    ("energy -2.5", "energy -2.5F0", 11, "'-2.5F0' is not a number"),
    ("energy -2.5", "energy 2_5", 11, "'2_5' is not a number"),
    ("energy -2.5", "energy nan", 11, "'nan' is not a number"),
    ("atom 0 0 0 H", "atom 0 inf 0 H", 16, "'inf' is not a number"),
    ("atom 0 0 0 H", "atom 0 O 0 H", 16, "'O' is not a number"),
    ("atom 0 0 0 H 0 0 0 0 0", "atom 0 0 0 H 0 0 0 0", 16,
     "expected x y z element charge unused fx fy fz after 'atom', found 8 words"),
    ("atom 0 0 0 H 0 0 0 0 0", "atom 0 0 0 H 0 0 0 0 0 end", 16, "'end' is not a number"),
    ("atom 0 0 0 H", "atom 0 0 0 h", 16, "unknown element 'h', expected a symbol such as Si"),
    ("atom 0 0 0 H", "atom 0 0 0 X", 16, "unknown element 'X'"),
    ("atom 0 0 0 H 0 0 0 0 0\n", "", 16, "expected at least one line 'atom' before 'end'"),
    ("lattice 10.0 0.0 0.0\n", "", 12, "expected three lines 'lattice' or none before 'end', found 2"),
    ("lattice 10.0 0.0 0.0", "lattice 10.0 0.0", 5, "expected 3 numbers after 'lattice', found 2 words"),
    ("lattice 10.0 0.0 0.0\n", 2 * "lattice 10.0 0.0 0.0\n", 8, "one 'lattice' too many"),
    ("  lattice 0 0 8e0", "lattice 2.0 18.0 0.0", 13, "the three lines 'lattice' enclose no volume"),
    ("  lattice 0 0 8e0", "lattice 0 0 0", 13, "the three lines 'lattice' enclose no volume"),
    ("charge 0.5\nend\n", "charge 0.5\n", 13, "'begin' before the 'end' of the structure that begins in line 2"),
    ("charge 0.5\nend", "charge 0.5\nend end", 13, "unknown keyword 'end'"),
    ("charge 0.5\nend", "charge 0.5\nend\nenergy 1", 14, "expected 'begin', not 'energy'"),
    ("H 0 0 0 0 0\nend\n", "H 0 0 0 0 0\n", 16, "'end' of the structure that begins in line 14 is missing; is"),
    (TWO, "", 1, "the file ends without a structure, expected 'begin'"),
    (TWO, "# nothing\n\n", 2, "the file ends without a structure, expected 'begin'"),
])  # fmt: skip
def test_every_mistake_is_named_by_file_and_line(tmp_path, old, new, line, message):
    assert TWO.count(old) == 1
    path = text_file(tmp_path, TWO.replace(old, new))
    for read in (read_structures, read_frames):
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            read(path)
        assert str(caught.value).startswith(f"{path}, line {line}: {message}")


def test_damaged_bytes_and_unknown_units(tmp_path):
    path = tmp_path / "input.data.gz"
    path.write_bytes(gzip.compress(TWO.encode() * 100)[:-20])
    with pytest.raises(ValueError, match=r"input.data.gz: damaged or truncated"):
        read_structures(str(path))
    path = text_file(tmp_path, TWO.replace("silver", "\x00 "))
    Path(path).write_bytes(Path(path).read_bytes().replace(b"\x00", b"\xe9\xff"))
    assert len(read_structures(path)) == 2
    for call in (lambda: read_structures(path, "si"), lambda: write_structures(path, [labelled()], "si")):
        with pytest.raises(ValueError, match="unknown units 'si'; there are atomic, metal"):
            call()


# -------------------- writing


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("name", ["input.data", "input.data.gz"])
def test_written_and_read_back(tmp_path, units, name):
    frames = [labelled(comment="\na # b = 'c'\n\n1 2\x0b3\n", set="train"), labelled(periodic=False, set="test"),
              labelled("Si", seed=1)]  # fmt: skip
    write_structures(tmp_path / name, frames, units)
    again = read_structures(str(tmp_path / name), units)
    for old, new in zip(frames, again, strict=True):
        compare(old, new, rtol=0.0 if units == "metal" else 4e-16)
    assert again[1].cell.rank == 0


def test_units_of_a_written_file(tmp_path):
    atoms = Atoms("H", [[BOHR, 2 * BOHR, 0.0]], info={"REF_energy": 3 * HARTREE})
    atoms.arrays["REF_forces"] = np.array([[0.0, 0.0, 0.5 * HARTREE / BOHR]])
    write_structures(tmp_path / "input.data", [atoms])
    _, atom, energy, charge, _ = (tmp_path / "input.data").read_text().splitlines()
    assert (atom, energy, charge) == ("atom 1.0 2.0 0.0 H 0.0 0.0 0.0 0.0 0.5", "energy 3.0", "charge 0.0")


def test_labels_and_charges_in_their_order(tmp_path):
    path = str(tmp_path / "input.data")
    atoms = bulk("Cu")
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=[[0.1, 0.2, 0.3]])
    write_structures(path, [atoms], "metal")
    (found,) = read_structures(path, "metal")
    assert found.info == {"REF_energy": -1.0, "charge": 0.0}
    assert found.arrays["REF_forces"].tolist() == [[0.1, 0.2, 0.3]]
    atoms.set_initial_charges([0.5])
    atoms.calc = None
    atoms.info |= {"energy": -2.0, "free_energy": -3.0}
    atoms.arrays["forces"] = np.zeros((1, 3))
    write_structures(path, [atoms], "metal")
    assert read_structures(path, "metal")[0].info == {"REF_energy": -2.0, "charge": 0.5}
    atoms.info |= {"REF_energy": -4.0, "charge": 1.0}
    atoms.arrays["REF_charges"] = np.array([0.25])
    write_structures(path, [atoms], "metal")
    assert read_structures(path, "metal")[0].info == {"REF_energy": -4.0, "charge": 1.0}
    assert read_structures(path, "metal")[0].arrays["REF_charges"].tolist() == [0.25]


def without(atoms, name):
    atoms.info.pop(name, None), atoms.arrays.pop(name, None)


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda atoms: without(atoms, "REF_energy"), r"it has no energy \(REF_energy or energy or free_energy\)"),
    (lambda atoms: without(atoms, "REF_forces"), r"it has no forces \(REF_forces or"),
    (lambda atoms: atoms.set_pbc([True, True, False]), "it is periodic in some directions only"),
    (lambda atoms: atoms.info.update(set="valid"), "set must be train or test, not 'valid'"),
    (lambda atoms: atoms.info.update(REF_energy=np.nan), "REF_energy is not finite"),
    (lambda atoms: atoms.info.update(REF_energy="low"), "REF_energy is not a number"),
    (lambda atoms: atoms.arrays.update(REF_forces=np.zeros((4, 2))), r"REF_forces is not .* of shape \(4, 3\)"),
    (lambda atoms: atoms.arrays["positions"].fill(np.inf), "position is not finite"),
    (lambda atoms: atoms.set_atomic_numbers([0, 1, 1, 1]), r"an atom has no element \(X\)"),
    (lambda atoms: atoms.__delitem__(slice(None)), "it has no atoms"),
])  # fmt: skip
def test_what_cannot_be_written_is_refused_by_frame(tmp_path, spoil, message):
    (tmp_path / "input.data").write_text("as before")
    atoms = labelled()
    spoil(atoms)
    with pytest.raises(ValueError, match=f"input.data: frame 1 cannot be written: {message}"):
        write_structures(tmp_path / "input.data", [labelled(), atoms])
    assert (tmp_path / "input.data").read_text() == "as before"


def test_nothing_is_calculated_or_left_out_silently(tmp_path):
    atoms = bulk("Cu")
    atoms.calc = EMT()
    with pytest.raises(ValueError, match="frame 0 cannot be written: it has no energy"):
        write_structures(tmp_path / "input.data", [atoms])
    with pytest.raises(ValueError, match="there is no frame to write"):
        write_structures(tmp_path / "input.data", [])
    box = labelled(periodic=False)
    box.set_cell([9.0, 9.0, 9.0])
    with pytest.warns(UserWarning, match="no place for cell \\(not periodic\\); left out"):
        write_structures(tmp_path / "input.data", [box])
    with pytest.warns(UserWarning, match="no place for REF_stress, config_type; left out"):
        write_structures(tmp_path / "input.data", [labelled(REF_stress=np.zeros(6), config_type="bulk"), labelled()])


# -------------------- among other formats


def test_recognized_by_name_and_first_word(tmp_path):
    names = {"input.data": True, "input.data.gz": True, "input.data-H2O": True, "train.data": True,
             "input.data.xyz": False, "input.nn": False}  # fmt: skip
    for name, known in names.items():
        path = tmp_path / name
        path.write_bytes(gzip.compress(TWO.encode()) if name.endswith("gz") else TWO.encode())
        assert is_input_data(str(path)) == known, name
        if known:
            assert len(read_frames(str(path))) == 2
    assert len(read_frames(str(tmp_path / "input.nn"), "runner")) == 2
    assert read_frames(str(tmp_path / "train.data"), units="metal")[0].info["REF_energy"] == -2.5


@pytest.mark.parametrize("text", ["", "# LAMMPS\n\n2 atoms\n", "\x00\xff"])
def test_other_files_of_this_name_are_left_to_ase(tmp_path, text):
    path = text_file(tmp_path, text, "lmp.data")
    assert not is_input_data(path)
    with pytest.raises(ValueError, match="lmp.data: (cannot be read as atomic structures|holds no frame)"):
        read_frames(path)


@pytest.mark.parametrize("comment", ["a b", "a\nb", "51", "1 2 3", "1.50", "x=1", "\"q\" \\ it's", "[1, 2]", "{a: b}",
                                     "T", "ü", "_JSON 1", "frame #3", "a\\nb", 'Lattice="1 2"', "a,b",
                                     "two words\nand more", "\nafter nothing", "===", "a=", "a b\x0bc"])  # fmt: skip
@pytest.mark.parametrize("name", ["a.xyz", "a.extxyz.gz"])
def test_extended_xyz_keeps_digits_and_words(tmp_path, name, comment):
    write_structures(tmp_path / "input.data", [labelled(set="test", comment=comment), labelled(periodic=False)])
    frames = read_frames(str(tmp_path / "input.data"))
    write_frames(str(tmp_path / name), frames)
    for old, new in zip(frames, ase.io.read(tmp_path / name, ":"), strict=True):
        compare(old, new)


def test_formats_that_hold_less(tmp_path):
    frames = [labelled(set="test"), labelled()]
    with pytest.warns(UserWarning, match="a.traj: this format has lost REF_charges, REF_forces; .xyz keeps all"):
        write_frames(str(tmp_path / "a.traj"), frames)
    assert [frame.info for frame in ase.io.read(tmp_path / "a.traj", ":")] == [frame.info for frame in frames]
    with pytest.raises(ValueError, match=r"a.foo: cannot be written"):
        write_frames(str(tmp_path / "a.foo"), frames)


# -------------------- files of n2p2


@pytest.mark.skipif(not RUNNER.is_dir(), reason="the reference files of n2p2 are not in this checkout")
@pytest.mark.parametrize("case", sorted(RUNNER.glob("*/input.data")), ids=lambda path: path.parent.name)
def test_files_of_n2p2(case, tmp_path):
    meta = json.loads((case.parent / "meta.json").read_text())
    units = "metal" if meta["units"].startswith("Angstrom") else "atomic"
    frames, reference = read_frames(str(case), units=units), np.load(case.parent / "reference.npz")
    assert len(frames) == meta["structures"]
    assert [len(atoms) for atoms in frames] == meta["atoms"]
    length, energy = UNITS[units]
    for m, atoms in enumerate(frames):
        assert atoms.numbers.tolist() == reference[f"s{m:04}_numbers"].tolist()
        assert atoms.pbc.all() == meta["periodic"][m]
        assert atoms.info["REF_energy"] == pytest.approx(reference[f"s{m:04}_energy_ref"][0] * energy, rel=1e-14)
        np.testing.assert_allclose(atoms.arrays["REF_forces"], reference[f"s{m:04}_forces_ref"] * energy / length,
                                   rtol=1e-14)  # fmt: skip
        np.testing.assert_array_equal(atoms.arrays["REF_charges"], reference[f"s{m:04}_charges_ref"])
        if meta["periodic"][m]:
            np.testing.assert_allclose(atoms.cell.array, reference[f"s{m:04}_lattice"] * length, rtol=1e-14)
    write_structures(tmp_path / "input.data", frames, units)
    for old, new in zip(frames, read_structures(str(tmp_path / "input.data"), units), strict=True):
        compare(old, new, rtol=4e-16)

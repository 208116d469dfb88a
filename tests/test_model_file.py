"""Model files: exact round trip; whatever is wrong with a file is said before it is used."""

import io
import json
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from ase.build import bulk, molecule

import bpnumba
from bpnumba.committee import Committee
from bpnumba.composite import Composite
from bpnumba.functions import C2, C4, C5, G1, G2, G4, G5, WC2, WC4, WC5, WG2, WG4, WG5
from bpnumba.io import archive, model_file
from bpnumba.io.model_file import load, save
from bpnumba.io.model_versions import OF_VERSION_2
from bpnumba.potential import Potential
from bpnumba.repulsion import ZBL
from bpnumba.symmetry import SymmetryFunctions


@pytest.fixture(scope="module")
def frames():
    frames = []
    for seed, name in enumerate(["H2O", "H2O2", "H2", "O3"]):
        atoms = molecule(name)
        atoms.rattle(0.1, seed=seed)
        frames.append(atoms)
    return frames


@pytest.fixture(scope="module")
def potential(frames):
    functions = SymmetryFunctions.from_functions([
        G1("H", "O", 3.3), G2("H", "H", 1 / 3, 0.1, 5.0, "tanh"), G4("H", "O", "H", 0.01, 4.0, -1.0, 6.0),
        G2("O", "H", 0.7, 1 / 7, 4.5, "cosine"), G5("O", "H", "H", np.pi / 10, 1.0, 1.0, 5.5, rs=0.3),
    ])  # fmt: skip
    potential = Potential.untrained(functions, frames, hidden={"H": (4, 3), "O": (5,)}, activation="softplus", seed=3,
                                    reference_energies={"H": -13.6, "O": -1 / 3})  # fmt: skip
    return Potential(functions, potential.scalings, potential.networks, potential.reference_energies,
                     {"energy_rmse": 1 / 7, "note": "Ångström", "versions": {"bpnumba": "0.0.1"}})  # fmt: skip


@pytest.fixture
def path(tmp_path, potential):
    save(potential, tmp_path / "model.npz")
    return tmp_path / "model.npz"


def test_round_trip_is_exact(path, potential, frames):
    again = load(path)
    assert np.array_equal(again.symmetry_functions.functions, potential.symmetry_functions.functions)
    assert again.species == potential.species
    assert again.theta.tobytes() == potential.theta.tobytes()
    assert again.reference_energies == potential.reference_energies
    assert again.info == potential.info
    for one, two in zip(again.networks, potential.networks, strict=True):
        assert (one.sizes, one.activations) == (two.sizes, two.activations)
    for one, two in zip(again.scalings, potential.scalings, strict=True):
        assert all(a.tobytes() == b.tobytes() for a, b in zip(one, two, strict=True))
    one, two = again.evaluate(frames), potential.evaluate(frames)
    assert one.energy_m.tobytes() == two.energy_m.tobytes()
    assert one.forces_ac.tobytes() == two.forces_ac.tobytes()


@pytest.fixture(scope="module")
def of_every_kind(frames):
    """All kinds of functions, cutoffs that begin at an inner radius, and networks that do not speak eV."""
    functions = SymmetryFunctions.from_functions([
        G2("H", "O", 0.1, 0.2, 5.0, "cosine", alpha=1 / 3), G4("H", "H", "O", 0.1, 2, 1, 5.0, alpha=0.1),
        G5("H", "H", "O", 0.1, 2.5, -1, 5.0, rs=1 / 7), C2("H", "O", -1.5, 5.0, "poly3a"),
        C4("H", "H", "O", 0.1, 5.0, 0, 180, "poly4a"), C5("H", "H", "O", -5.0, 5.0, 20, 340, "exp"),
        WG2("O", 0.1, 0.2, 5.0, "tanh_normalized"), WG4("O", 0.1, 2, 1, 5.0), WG5("O", 0.1, 2, 1, 5.0, cutoff="hard"),
        WC2("O", 0.5, 5.0), WC4("O", 0.5, 5.0, 0, 180), WC5("O", 0.5, 5.0, -180, 180, "poly1"),
    ])  # fmt: skip
    potential = Potential.untrained(functions, frames, hidden=(4,), activation="harmonic", seed=5)
    return Potential(functions, potential.scalings, potential.networks, potential.reference_energies, {}, 27.2113)


def test_round_trip_of_every_kind(of_every_kind, frames, tmp_path):
    save(of_every_kind, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.symmetry_functions.functions, of_every_kind.symmetry_functions.functions)
    assert again.energy_unit == of_every_kind.energy_unit == 27.2113
    assert [network.activations for network in again.networks] == [("harmonic", "identity")] * 2
    one, two = again.evaluate(frames), of_every_kind.evaluate(frames)
    assert one.energy_m.tobytes() == two.energy_m.tobytes()
    assert one.forces_ac.tobytes() == two.forces_ac.tobytes()


def test_the_energy_unit_multiplies_what_networks_say(potential, frames):
    """Energies beyond the reference energies, and forces."""
    hartree = Potential(potential.symmetry_functions, potential.scalings, potential.networks,
                        potential.reference_energies, energy_unit=27.2)  # fmt: skip
    one, other = potential.evaluate(frames), hartree.evaluate(frames)
    E0_a = [potential.reference_energies[symbol] for atoms in frames for symbol in atoms.symbols]
    np.testing.assert_allclose(other.energy_a - E0_a, 27.2 * (one.energy_a - E0_a), rtol=1e-12)
    np.testing.assert_allclose(other.forces_ac, 27.2 * one.forces_ac, rtol=1e-12, atol=1e-14)
    assert hartree.with_weights(potential.theta).energy_unit == 27.2


@pytest.mark.parametrize("unit", [0.0, -1.0, float("nan"), float("inf")])
def test_an_energy_unit_that_is_none(potential, unit):
    with pytest.raises(ValueError, match=f"energy unit of the networks must be a positive number of eV, not {unit}"):
        Potential(potential.symmetry_functions, potential.scalings, potential.networks, potential.reference_energies,
                  energy_unit=unit)  # fmt: skip


def as_version_2(header, arrays):
    """The file as bpnumba wrote it before there were committees and terms."""
    header["version"] = 2
    header["networks"] = header.pop("members")[0]["networks"]
    del header["terms"]
    for symbol in header["species"]:
        arrays[f"{symbol}_weights"] = arrays.pop(f"{symbol}_weights_0")


def as_version_1(header, arrays):
    """The file as bpnumba 0.1 wrote it: without the last four columns and without an energy unit, too."""
    as_version_2(header, arrays)
    header["version"] = 1
    del header["energy_unit"]
    header["columns"] = header["columns"][:10]
    header["functions"] = [row[:10] for row in header["functions"]]


def test_version_1(path, potential, frames, tmp_path):
    """It still loads, to the same energies, and is saved as a file of the present version."""
    edited(path, as_version_1)
    header, arrays = archive.read(path, model_file.KIND)
    assert header["columns"] == ["kind", "center", "first", "second", "eta", "rs", "lam", "zeta", "rc", "cutoff"]
    assert header["functions"][0] == ["G2", "H", "O", None, 0.0, 0.0, 0.0, 0.0, 3.3, "poly2"]
    assert set(arrays) == {f"{symbol}_{name}" for symbol in "HO" for name in OF_VERSION_2}
    again = load(path)
    assert again.energy_unit == 1.0
    np.testing.assert_array_equal(again.symmetry_functions.functions, potential.symmetry_functions.functions)
    assert again.evaluate(frames).energy_m.tobytes() == potential.evaluate(frames).energy_m.tobytes()
    assert again.evaluate(frames).forces_ac.tobytes() == potential.evaluate(frames).forces_ac.tobytes()
    save(again, tmp_path / "again.npz")
    save(potential, tmp_path / "present.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "present.npz").read_bytes()


@pytest.mark.parametrize(("name", "value"), [
    ("energy_unit", 2.0), ("columns", list(model_file.COLUMNS)), ("columns", ["kind"]), ("columns", None)
])  # fmt: skip
def test_version_1_has_its_own_columns(path, name, value):
    edited(path, as_version_1)
    edited(path, lambda header, arrays: header.update({name: value}))
    with pytest.raises(ValueError, match=r"model\.npz: the columns of its symmetry functions are .*, not those of v"):
        load(path)


def test_version_1_with_a_row_of_the_present_version(path):
    edited(path, as_version_1)
    edited(path, lambda header, arrays: header["functions"][0].extend([0.0, 0.0, 0.0, 0.0]))
    with pytest.raises(ValueError, match=r"model\.npz: .*longer"):
        load(path)


def test_version_1_with_the_number_of_the_present_one(path):
    edited(path, as_version_1)
    edited(path, put("version", value=2))
    with pytest.raises(ValueError, match=r"model\.npz: its header must have exactly the entries"):
        load(path)
    edited(path, put("version", value=3))
    with pytest.raises(ValueError, match=r"model\.npz: its header must have exactly the entries"):
        load(path)


def test_version_2(of_every_kind, potential, frames, tmp_path):
    """It still loads, to the last bit, and is saved as a file of the present version."""
    for model in (of_every_kind, potential):
        save(model, tmp_path / "present.npz")
        save(model, tmp_path / "old.npz")
        edited(tmp_path / "old.npz", as_version_2)
        header, arrays = archive.read(tmp_path / "old.npz", model_file.KIND)
        assert set(header["networks"]) == {"H", "O"}
        assert set(arrays) == {f"{symbol}_{name}" for symbol in "HO" for name in OF_VERSION_2}
        again = load(tmp_path / "old.npz")
        assert type(again) is Potential
        assert again.evaluate(frames).forces_ac.tobytes() == model.evaluate(frames).forces_ac.tobytes()
        save(again, tmp_path / "again.npz")
        assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "present.npz").read_bytes()


@pytest.mark.parametrize("change", [
    lambda header, arrays: header.update(members=[{"networks": header["networks"]}]),
    lambda header, arrays: header.update(terms=[]),
    lambda header, arrays: arrays.update(H_weights_0=arrays.pop("H_weights")),
    lambda header, arrays: arrays.update(H_weights_0=arrays["H_weights"]),
])  # fmt: skip
@pytest.mark.parametrize("old", [as_version_1, as_version_2])
def test_old_versions_know_neither_members_nor_terms(path, old, change):
    edited(path, old)
    edited(path, change)
    with pytest.raises(ValueError, match=r"model\.npz: has (members|terms|H_weights_0), which do not belong into a mo"):
        load(path)


def test_version_2_without_networks(path):
    edited(path, as_version_2)
    edited(path, lambda header, arrays: header.pop("networks"))
    with pytest.raises(ValueError, match=r"model\.npz: its header is not that of a bpnumba model"):
        load(path)


def test_saved_twice_the_bytes_are_the_same(path, tmp_path):
    save(load(path), tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_default_model_of_silicon(tmp_path):
    frames = [bulk("Si", a=a) for a in (5.2, 5.4, 5.6)]
    functions = SymmetryFunctions(["Si"], 5.0, g2_params=[[0.1, 0.0]], g4_params=[[0.01, 1.0, 1.0]])
    save(Potential.untrained(functions, frames), tmp_path / "si.npz")
    loaded = load(str(tmp_path / "si.npz"))
    assert loaded.info["versions"]["python"]
    assert loaded.info["versions"]["numpy"] == np.__version__
    assert loaded.info["versions"]["bpnumba"] == bpnumba.__version__


def test_header_is_readable_without_bpnumba(path):
    with np.load(path) as file:
        header = json.loads(file["header"].tobytes())
        assert set(file.files) == {"header"} | {
            f"{symbol}_{name}" for symbol in "HO" for name in ("weights_0", "shift", "factor", "minimum", "maximum")
        }
    content = header["content"]
    assert header["format"] == "bpnumba model"
    assert content["units"] == "eV, Angstrom"
    assert content["version"] == 3
    assert content["energy_unit"] == 1.0
    assert content["terms"] == []
    assert content["columns"][8:] == ["rc", "cutoff", "alpha", "rl", "left", "right"]
    assert content["functions"][0] == ["G2", "H", "O", None, 0.0, 0.0, 0.0, 0.0, 3.3, "poly2", 0.0, 0.0, 0.0, 0.0]
    assert content["functions"][2][:4] == ["G4", "H", "H", "O"]
    assert content["members"][0]["networks"]["O"] == {"sizes": [2, 5, 1], "activations": ["softplus", "identity"]}


def test_old_model_stays_if_writing_fails(path, potential, monkeypatch):
    before = path.read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(potential, path)
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == ["model.npz"]


def test_info_that_json_cannot_hold(potential, tmp_path):
    bad = Potential(potential.symmetry_functions, potential.scalings, potential.networks, potential.reference_energies,
                    {"what": object()})  # fmt: skip
    with pytest.raises((TypeError, AttributeError)):
        save(bad, tmp_path / "bad.npz")
    assert not (tmp_path / "bad.npz").exists()


def test_weights_that_are_not_finite_are_not_saved(potential, tmp_path):
    theta = potential.theta
    theta[0] = np.nan
    with pytest.raises(ValueError, match="bad.npz: array 'H_weights_0' has values that are not finite"):
        save(potential.with_weights(theta), tmp_path / "bad.npz")


# ---- broken files ----------------------------------------------------------------------------------------------------


def test_absent_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.npz"):
        load(tmp_path / "none.npz")


@pytest.mark.parametrize("fraction", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated(path, fraction):
    data = path.read_bytes()
    path.write_bytes(data[: int(fraction * len(data))])
    with pytest.raises(ValueError, match=r"model\.npz: .*(truncated|damaged)"):
        load(path)


def test_every_flipped_bit_is_found_or_harmless(path, potential):
    """Some bits of a zip file mean nothing (time stamps, say); a file that loads must be the same model."""
    data = path.read_bytes()
    loaded = 0
    for byte in np.random.default_rng(0).choice(len(data), 300, replace=False):
        flipped = bytearray(data)
        flipped[byte] ^= 1 << (byte % 8)
        path.write_bytes(flipped)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the zipfile module
                again = load(path)
        except ValueError as error:
            assert str(error).startswith(str(path))  # noqa: PT017
            continue
        loaded += 1
        assert again.theta.tobytes() == potential.theta.tobytes()
        assert np.array_equal(again.symmetry_functions.functions, potential.symmetry_functions.functions)
    assert loaded < 150


def test_other_files(tmp_path, path):
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "numbers.npz", a=np.arange(3))
    archive.write(tmp_path / "other.npz", "bpnumba checkpoint", {}, {})
    with pytest.raises(ValueError, match=r"text\.npz: not a bpnumba model"):
        load(tmp_path / "text.npz")
    with pytest.raises(ValueError, match=r"numbers\.npz: not a bpnumba model"):
        load(tmp_path / "numbers.npz")
    with pytest.raises(ValueError, match=r"other\.npz: holds a bpnumba checkpoint, not a bpnumba model"):
        load(tmp_path / "other.npz")


def edited(path, change):
    """Write the file anew with a valid checksum, after a change of header and arrays."""
    header, arrays = archive.read(path, model_file.KIND)
    change(header, arrays)
    archive.write(path, model_file.KIND, header, arrays)


def put(*keys, value):
    """A change of one entry of the header."""

    def change(header, arrays):
        place = header
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


def array(name, value):
    """A change of one array; None removes it."""

    def change(header, arrays):
        arrays.pop(name)
        if value is not None:
            arrays[name] = value

    return change


MANY = [2, 10**12, 1]
WRONG = [
    (put("version", value=4), "version 4; this bpnumba reads versions 1 to 3"),
    (put("version", value=0), "version 0; this bpnumba reads versions 1 to 3"),
    (put("version", value=2), "has members, terms, H_weights_0, O_weights_0, which do not belong into a model of v"),
    (put("members", value=[]), "its header lists no member"),
    (put("members", value={}), "its header must have exactly the entries"),
    (put("members", value=[7]), "its header is not that of a bpnumba model"),
    (put("members", value=["networks"]), "must have exactly the entries networks"),
    (put("members", value=[{}]), "must have exactly the entries networks"),
    (put("members", 0, "info", value={}), "must have exactly the entries networks"),
    (lambda header, arrays: header["members"].append(header["members"][0]), "arrays missing: .'H_weights_1'"),
    (lambda header, arrays: arrays.update(O_weights_1=arrays["O_weights_0"]), "not expected: .'O_weights_1'"),
    (put("terms", value=None), "its header must have exactly the entries"),
    (put("terms", value=[[]]), "its header is not that of a bpnumba model"),
    (put("terms", value=[{}]), "its header is not that of a bpnumba model"),
    (put("terms", value=[{"kind": "D3"}]), "a term of the unknown kind 'D3'; this bpnumba knows ZBL"),
    (put("terms", value=[{"kind": ["ZBL"]}]), "a term of the unknown kind ..ZBL"),
    (put("terms", value=[{"kind": "ZBL"}]), "a ZBL repulsion must have exactly the entries inner, outer, species, win"),
    (put("version", value="1"), "version"),
    (put("version", value=True), "is a model of version True"),
    (put("functions", 0, 4, value=True), "true or false in place of a number"),
    (put("functions", 0, 8, value=1e5), "a cutoff of 100000.0 Angstrom, beyond 100"),
    (array("O_factor", np.array([1.0, 0.0])), "array 'O_factor' has values that are not positive"),
    (array("O_factor", np.array([1.0, -1.0])), "array 'O_factor' has values that are not positive"),
    (array("O_minimum", np.array([0.0, 1e9])), "array 'O_minimum' is larger than 'O_maximum'"),
    (put("units", value="Hartree, bohr"), "its units are 'Hartree, bohr', must be 'eV, Angstrom'"),
    (put("extra", value=1), "its header must have exactly the entries"),
    (put("functions", value={}), "its header must have exactly the entries"),
    (put("functions", value=[]), "at least one symmetry function"),
    (put("functions", 0, value=None), "its header is not that of a bpnumba model"),
    (put("functions", 0, value=["G2"]), "shorter"),
    (put("functions", 0, 0, value="G9"), "no symmetry function 'G9'"),
    (put("functions", 0, 0, value="G4"), "G4 takes 2 elements"),
    (put("functions", 0, 0, value="WG2"), "WG2 takes 0 elements"),
    (put("functions", 0, 0, value=["G2"]), "no symmetry function .'G2'."),
    (put("functions", 0, 2, value=None), "G2 takes 1 element"),
    (put("functions", 0, 1, value=None), "None is not a chemical symbol"),
    (put("functions", 0, 10, value=1.0), "alpha = 1.0 is out of range"),
    (put("functions", 0, 10, value=float("nan")), "alpha = nan is out of range"),
    (put("functions", 0, 10, value="0.5"), "not that of a bpnumba model"),
    (put("functions", 0, 10, value=None), "not that of a bpnumba model"),
    (put("functions", 0, 13, value=True), "true or false in place of a number"),
    (put("functions", 1, 10, value=0.5), "the cutoff function tanh has no inner radius"),
    (put("energy_unit", value=0.0), "the energy unit of the networks must be a positive number"),
    (put("energy_unit", value=-27.2), "the energy unit of the networks must be a positive number"),
    (put("energy_unit", value=float("nan")), "the energy unit of the networks must be a positive number"),
    (put("energy_unit", value=float("inf")), "the energy unit of the networks must be a positive number"),
    (put("energy_unit", value="1"), "its header must have exactly the entries"),
    (put("energy_unit", value=None), "its header must have exactly the entries"),
    (put("energy_unit", value=True), "its header must have exactly the entries"),
    (put("functions", 0, 1, value="Xx"), "'Xx' is not a chemical symbol"),
    (put("functions", 0, 4, value=-1.0), "eta = -1.0 is out of range"),
    (put("functions", 0, 4, value="0.1"), "not that of a bpnumba model"),
    (put("functions", 0, 8, value=float("nan")), "rc = nan is out of range"),
    (put("functions", 0, 9, value="__import__('os')"), "no cutoff function"),
    (put("columns", value=["kind"]), "the columns of its symmetry functions"),
    (put("species", value=["O", "H"]), "must be distinct and sorted by atomic number"),
    (put("species", value=["H", "O", "O"]), "must be distinct and sorted by atomic number"),
    (put("species", value=["H"]), "which is not among the species"),
    (put("species", value=["H", {}]), "not that of a bpnumba model"),
    (put("members", 0, "networks", "O", "sizes", value=[2, 6, 1]), "O has 21 weights, but layers .2, 6, 1. need 25"),
    (put("members", 0, "networks", "O", "sizes", value=MANY), "O has 21 weights, but layers"),
    (put("members", 0, "networks", "O", "sizes", value=[2, -5, 1]), "must be positive whole numbers"),
    (put("members", 0, "networks", "O", "sizes", value=[2, 5.0, 1]), "must be positive whole numbers"),
    (put("members", 0, "networks", "O", "sizes", value=[3, 4, 1]), "O has 2 symmetry functions, but a scaling of 2"),
    (put("members", 0, "networks", "O", "sizes", value=7), "not that of a bpnumba model"),
    (put("members", 0, "networks", "O", "activations", value=["eval", "identity"]), "unknown activation 'eval'"),
    (put("members", 0, "networks", "O", "activations", value=["tanh"]), "2 layers need as many activations"),
    (put("members", 0, "networks", value={}), "networks missing: .'H', 'O'."),
    (put("reference_energies", value={"H": 0.0}), "reference energies missing: .'O'."),
    (put("reference_energies", "H", value=float("inf")), "the reference energy of H is inf"),
    (put("reference_energies", "H", value="0"), "not that of a bpnumba model"),
    (array("O_weights_0", None), "arrays missing: .'O_weights_0'."),
    (array("O_weights_0", np.zeros(20)), "O has 20 weights, but layers .2, 5, 1. need 21"),
    (array("O_weights_0", np.zeros(21, np.float32)), "must be one row of float64 numbers"),
    (array("O_weights_0", np.zeros((21, 1))), "must be one row of float64 numbers"),
    (array("O_weights_0", np.full(21, np.nan)), "array 'O_weights_0' has values that are not finite"),
    (array("O_shift", np.zeros(3)), "the scaling of O have different lengths"),
    (array("O_minimum", np.zeros((2, 1))), "must be one row of float64 numbers"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_content_is_named(path, change, message):
    edited(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


COMPACT_WRONG = [
    (put("functions", 3, 11, value=5.0), "C2 on H: rl = 5.0 is out of range"),
    (put("functions", 3, 11, value=float("-inf")), "C2 on H: rl = -inf is out of range"),
    (put("functions", 3, 11, value="-1.5"), "not that of a bpnumba model"),
    (put("functions", 3, 9, value="cosine"), "no shape of a compact function 'cosine'"),
    (put("functions", 4, 12, value=180.0), "left = 180.0 is out of range"),
    (put("functions", 4, 12, value=-1.0), "angles from -1.0 to 180.0 degrees"),
    (put("functions", 4, 13, value=190.0), "angles from 0.0 to 190.0 degrees"),
    (put("functions", 4, 13, value=float("nan")), "is out of range"),
    (put("functions", 4, 13, value=[]), "not that of a bpnumba model"),
]


@pytest.mark.parametrize(("change", "message"), COMPACT_WRONG, ids=[message[:40] for _, message in COMPACT_WRONG])
def test_wrong_compact_functions_are_named(of_every_kind, tmp_path, change, message):
    save(of_every_kind, tmp_path / "model.npz")
    edited(tmp_path / "model.npz", change)
    with pytest.raises(ValueError, match=message) as caught:
        load(tmp_path / "model.npz")
    assert str(caught.value).startswith(str(tmp_path / "model.npz"))


# ---- committees and terms (their round trips: test_composite.py) -----------------------------------------------------


@pytest.fixture(scope="module")
def composed(potential, frames):
    """Three members, two of them with other networks, and a term."""
    others = (Potential.untrained(potential.symmetry_functions, frames, hidden, seed=n).networks
              for n, hidden in enumerate([(3,), (2, 2)]))  # fmt: skip
    members = (potential, *(replace(potential, networks=networks, info={"seed": 1}) for networks in others))
    return Composite(Committee(members, {"note": 1 / 7}), (ZBL.for_species(["H", "O"]),))


@pytest.fixture
def composed_path(tmp_path, composed):
    save(composed, tmp_path / "model.npz")
    return tmp_path / "model.npz"


def test_every_flipped_bit_of_a_composed_model_is_found_or_harmless(composed_path, composed, frames):
    data, expected = composed_path.read_bytes(), composed.evaluate(frames)
    for byte in np.random.default_rng(1).choice(len(data), 150, replace=False):
        flipped = bytearray(data)
        flipped[byte] ^= 1 << (byte % 8)
        composed_path.write_bytes(flipped)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of the zipfile module
                again = load(composed_path)
        except ValueError as error:
            assert str(error).startswith(str(composed_path))  # noqa: PT017
            continue
        assert again.evaluate(frames).energy_m.tobytes() == expected.energy_m.tobytes()
        assert again.short_range.members[2].theta.tobytes() == composed.short_range.members[2].theta.tobytes()


def swapped(header, arrays):
    """Weights of members with different networks change places."""
    arrays["O_weights_0"], arrays["O_weights_1"] = arrays["O_weights_1"], arrays["O_weights_0"]


def fewer(header, arrays):
    """The header forgets a member."""
    del header["members"][2]


COMPOSED_WRONG = [
    (fewer, "arrays missing: .., not expected: .'H_weights_2', 'O_weights_2'."),
    (swapped, "member 0: O has 13 weights, but layers .2, 5, 1. need 21"),
    (array("O_weights_2", None), "arrays missing: .'O_weights_2'"),
    (array("O_weights_2", np.full(15, np.inf)), "array 'O_weights_2' has values that are not finite"),
    (array("O_weights_2", np.zeros((15, 1))), "member 2: array 'O_weights_2' must be one row of float64 numbers"),
    (put("members", 1, value={}), "member 1: must have exactly the entries info, networks"),
    (put("members", 1, value=None), "its header is not that of a bpnumba model"),
    (put("members", 1, "info", value=[]), "member 1: must have exactly the entries info, networks"),
    (put("members", 1, "more", value=1), "member 1: must have exactly the entries info, networks"),
    (put("members", 1, "networks", value={}), "member 1: networks missing: .'H', 'O'."),
    (put("members", 1, "networks", "H", "sizes", value=[3, 10**15, 1]), "member 1: H has 16 weights, but layers"),
    (put("members", 1, "networks", "H", "sizes", value=[3, True, 1]), "member 1: the layer sizes of H are"),
    (put("members", 1, "networks", "H", "activations", value=["exec", "identity"]), "member 1: unknown activation"),
    (put("members", 1, "networks", "H", "activations", value=7), "its header is not that of a bpnumba model"),
    (put("reference_energies", "H", value=float("nan")), "the reference energy of H is nan"),
    (put("terms", 0, "kind", value="__import__"), "a term of the unknown kind '__import__'; this bpnumba knows ZBL"),
    (put("terms", 0, "more", value=1), "a ZBL repulsion must have exactly the entries"),
    (put("terms", 0, "outer", value=[[float("nan")] * 2] * 2), "those of H and H are 0.31 and nan"),
    (put("terms", 0, "outer", value=[[1e9] * 2] * 2), "must be 0 <= inner < outer <= 6 Angstrom"),
    (put("terms", 0, "outer", value=[[10**400] * 2] * 2), "must be rows of numbers"),
    (put("terms", 0, "inner", value="0.5"), "must be rows of numbers"),
    (put("terms", 0, "window", value="hard"), "the window of a repulsion must be one of"),
    (put("terms", 0, "species", value=["H"]), r"inner_ee must have the shape \(1, 1\)"),
    (put("terms", 0, "species", value=["H", "C"]), "the term ZBL does not know O, which the potential describes"),
    (put("terms", value=[None]), "its header is not that of a bpnumba model"),
]


@pytest.mark.parametrize(("change", "message"), COMPOSED_WRONG, ids=[message[:40] for _, message in COMPOSED_WRONG])
def test_wrong_members_and_terms_are_named(composed_path, change, message):
    edited(composed_path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(composed_path)
    assert str(caught.value).startswith(str(composed_path))


def test_weights_of_members_that_are_not_finite_are_not_saved(potential, composed, tmp_path):
    theta = potential.theta
    theta[0] = np.nan
    bad = Committee((potential, potential.with_weights(theta)))
    with pytest.raises(ValueError, match="bad.npz: array 'H_weights_1' has values that are not finite"):
        save(bad, tmp_path / "bad.npz")
    assert not (tmp_path / "bad.npz").exists()


def test_what_no_file_can_hold(potential, tmp_path):
    class Dispersion(ZBL):
        """A term of the user's own."""

    term = Dispersion(("H", "O"), np.full((2, 2), 0.3), np.full((2, 2), 0.6))
    with pytest.raises(TypeError, match=r"bad\.npz: a model file cannot hold the term Dispersion; it can hold ZBL"):
        save(Composite(potential, (term,)), tmp_path / "bad.npz")
    with pytest.raises(TypeError, match="npz: a model file holds one of Potential, Committee, Composite, not str"):
        save("potential", tmp_path / "bad.npz")
    assert not (tmp_path / "bad.npz").exists()


def test_pickled_objects_are_refused(path):
    data = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            member = io.BytesIO()
            if name == "O_weights_0.npy":
                np.lib.format.write_array(member, np.array([print], dtype=object), allow_pickle=True)
            else:
                member.write(old.read(name))
            new.writestr(name, member.getvalue())
    path.write_bytes(data.getvalue())
    with pytest.raises(ValueError, match="Python objects, which could run code"):
        load(path)

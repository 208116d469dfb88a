"""Model files: exact round trip; whatever is wrong with a file is said before it is used."""

import io
import json
import warnings
import zipfile

import numpy as np
import pytest
from ase.build import bulk, molecule

import bpnumba
from bpnumba.functions import G1, G2, G4, G5
from bpnumba.io import archive, model_file
from bpnumba.io.model_file import load, save
from bpnumba.potential import Potential
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
            f"{symbol}_{name}" for symbol in "HO" for name in ("weights", "shift", "factor", "minimum", "maximum")
        }
    content = header["content"]
    assert header["format"] == "bpnumba model"
    assert content["units"] == "eV, Angstrom"
    assert content["functions"][0] == ["G2", "H", "O", None, 0.0, 0.0, 0.0, 0.0, 3.3, "poly2"]
    assert content["functions"][2][:4] == ["G4", "H", "H", "O"]
    assert content["networks"]["O"] == {"sizes": [2, 5, 1], "activations": ["softplus", "identity"]}


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
    with pytest.raises(ValueError, match="bad.npz: array 'H_weights' has values that are not finite"):
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
    (put("version", value=2), "version 2; this bpnumba reads version 1"),
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
    (put("functions", 0, value=["G2"]), "not enough values"),
    (put("functions", 0, 0, value="G9"), "symmetry function of unknown kind"),
    (put("functions", 0, 0, value="G4"), "symmetry function of unknown kind"),
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
    (put("networks", "O", "sizes", value=[2, 6, 1]), "O has 21 weights, but layers .2, 6, 1. need 25"),
    (put("networks", "O", "sizes", value=MANY), "O has 21 weights, but layers"),
    (put("networks", "O", "sizes", value=[2, -5, 1]), "must be positive whole numbers"),
    (put("networks", "O", "sizes", value=[2, 5.0, 1]), "must be positive whole numbers"),
    (put("networks", "O", "sizes", value=[3, 4, 1]), "O has 2 symmetry functions, but a scaling of 2"),
    (put("networks", "O", "sizes", value=7), "not that of a bpnumba model"),
    (put("networks", "O", "activations", value=["eval", "identity"]), "unknown activation 'eval'"),
    (put("networks", "O", "activations", value=["tanh"]), "2 layers need as many activations"),
    (put("networks", value={}), "networks missing: .'H', 'O'."),
    (put("reference_energies", value={"H": 0.0}), "reference energies missing: .'O'."),
    (put("reference_energies", "H", value=float("inf")), "the reference energy of H is inf"),
    (put("reference_energies", "H", value="0"), "not that of a bpnumba model"),
    (array("O_weights", None), "arrays missing: .'O_weights'."),
    (array("O_weights", np.zeros(20)), "O has 20 weights, but layers .2, 5, 1. need 21"),
    (array("O_weights", np.zeros(21, np.float32)), "must be one row of float64 numbers"),
    (array("O_weights", np.zeros((21, 1))), "must be one row of float64 numbers"),
    (array("O_weights", np.full(21, np.nan)), "array 'O_weights' has values that are not finite"),
    (array("O_shift", np.zeros(3)), "the scaling of O have different lengths"),
    (array("O_minimum", np.zeros((2, 1))), "must be one row of float64 numbers"),
]


@pytest.mark.parametrize(("change", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_content_is_named(path, change, message):
    edited(path, change)
    with pytest.raises(ValueError, match=message) as caught:
        load(path)
    assert str(caught.value).startswith(str(path))


def test_pickled_objects_are_refused(path):
    data = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(data, "w") as new:
        for name in old.namelist():
            member = io.BytesIO()
            if name == "O_weights.npy":
                np.lib.format.write_array(member, np.array([print], dtype=object), allow_pickle=True)
            else:
                member.write(old.read(name))
            new.writestr(name, member.getvalue())
    path.write_bytes(data.getvalue())
    with pytest.raises(ValueError, match="Python objects, which could run code"):
        load(path)

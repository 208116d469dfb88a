"""Files of RuNNer and n2p2 that are damaged, contradict themselves, or hold what bpnumba cannot do: always an error."""

import shutil

import numpy as np
import pytest
from ase import Atoms

from bpnumba import load_runner
from bpnumba.functions import G2, G4, WG2, WG5
from bpnumba.io.runner import read_functions
from bpnumba.io.runner_settings import number
from bpnumba.potential import Potential
from bpnumba.symmetry import SymmetryFunctions

FILES = ("input.nn", "scaling.data", "weights.001.data", "weights.008.data")
WATER = Atoms("OHHOH", [[0, 0, 0], [0.9, 0.3, 0], [-0.4, 0.8, 0.2], [2.7, 0.1, 0.4], [3.1, 0.9, 0]])


def water(rows, **options):
    frames = [WATER.copy() for _ in range(4)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    return Potential.untrained(SymmetryFunctions.from_functions(rows), frames, seed=1, **options)


ROWS = [G2("H", "O", 0.3, 0.0, 5.0, "tanh"), G2("O", "H", 0.2, 0.1, 5.0, "tanh"), WG2("H", 0.4, 0.5, 4.0, "tanh"),
        G2("O", "O", 0.1, 0.0, 5.0, "tanh")]  # fmt: skip


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A folder with a small potential; its symmetry functions end the settings."""
    folder = tmp_path_factory.mktemp("original")
    water(ROWS, hidden=(3, 2)).save_runner(folder)
    return folder


@pytest.fixture
def folder(original, tmp_path):
    return shutil.copytree(original, tmp_path / "copy")


def change(path, old, new, count=1):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, count))


def add(folder, line):
    with open(folder / "input.nn", "a") as file:
        file.write(f"{line}\n")


# ---- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("part", [0.0, 0.1, 0.3, 0.5, 0.62, 0.7, 0.8, 0.9])
@pytest.mark.filterwarnings("ignore:.*unknown keywords")  # half a keyword
def test_truncated(folder, name, part):
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:int(part * len(data))])
    with pytest.raises(ValueError, match=r"input\.nn|scaling\.data" if name == "input.nn" else name):
        load_runner(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore:.*unknown keywords")  # half a keyword
def test_the_last_characters_are_missing(folder, name):
    """However few are missing: a number that lost digits is still a number."""
    data = (folder / name).read_bytes()
    for n in range(2, len(data) - data[:-1].rindex(b"\n")):
        (folder / name).write_bytes(data[:-n])
        with pytest.raises(ValueError, match=r"input\.nn|scaling\.data" if name == "input.nn" else name):
            load_runner(folder)
    (folder / name).write_bytes(data[:-1])  # the newline alone
    load_runner(folder)


def test_a_whole_number_is_cut(folder):
    change(folder / "input.nn", "atom_energy", "# atom_energy", 2)
    add(folder, "atom_energy H -12\natom_energy O -12")
    load_runner(folder)
    data = (folder / "input.nn").read_bytes()
    (folder / "input.nn").write_bytes(data[:-2])
    with pytest.raises(ValueError, match="line 24: .* last word, '-1', looks cut"):
        load_runner(folder)


def test_every_cut_of_settings_that_end_in_angular_functions(folder, tmp_path):
    """Their last number, rs, may be left out: a cut line could be a whole one with another cutoff radius."""
    rows = [G2("H", "O", 0.3, 0.0, 5.0), G2("O", "H", 0.2, 0.1, 5.0), *(
        G4("O", "H", "H", eta, 1.0, 1.0, rc, rs=0.25) for eta, rc in ((0.01, 5.25), (0.125, 4.75)))]  # fmt: skip
    water(rows, hidden=(2,)).save_runner(tmp_path / "angular")
    path = tmp_path / "angular" / "input.nn"
    potential, data = load_runner(path.parent), path.read_bytes()
    begin = data.index(b"symfunction_short")
    for end in range(begin, len(data) - 1):
        path.write_bytes(data[:end])
        try:
            again = load_runner(path.parent)
        except (ValueError, UserWarning):
            continue
        assert again.evaluate(WATER).energy_m == potential.evaluate(WATER).energy_m


@pytest.mark.parametrize("name", FILES)
def test_absent(folder, name):
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=name):
        load_runner(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("line", [-1, -4])
def test_one_line_less(folder, name, line):
    lines = (folder / name).read_text().splitlines(keepends=True)
    del lines[line]
    (folder / name).write_text("".join(lines))
    with pytest.raises(ValueError, match=r"scaling\.data" if name == "input.nn" else name):
        load_runner(folder)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("word", ["x", "nan", "-inf", "1e999", "1_0", "1.0.0", "0x1p3", ""])
def test_no_number(folder, name, word):
    """In place of the first number of the last line; nothing in its place is a line of another length."""
    lines = (folder / name).read_text().splitlines()
    words = lines[-1].split()
    words[{"input.nn": 4, "scaling.data": 2}.get(name, 0)] = word
    (folder / name).write_text("\n".join([*lines[:-1], " ".join(words)]))
    with pytest.raises(ValueError, match=f"{name}, line {len(lines)}"):
        load_runner(folder)


OPTIONAL = ("atom_energy", "mean_energy", "scale_min_short", "scale_max_short", "scale_symmetry_functions_sigma")


def damaged(text, random):
    """The text with one word or line deleted or one word replaced, and the line where that was."""
    lines = text.splitlines()
    while True:
        n = int(random.integers(len(lines)))
        words, kind = lines[n].split(), random.integers(4)
        # without such a line these are settings of another potential, which nobody can see
        if words and words[0] not in OPTIONAL:
            break
    if kind == 0:
        del lines[n]
    else:
        place = int(random.integers(len(words)))
        words[place:place + 1] = [[], ["x"], ["nan"]][kind - 1]
        lines[n] = " ".join(words)
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("seed", range(240))
def test_any_damage(folder, seed):
    """Either an error or a warning that names a file, or the same potential, where only a comment was hit."""
    random = np.random.default_rng(seed)
    potential, path = load_runner(folder), folder / FILES[seed % len(FILES)]
    comments = [line for line in path.read_text().splitlines() if line.startswith("#")]
    path.write_text(damaged(path.read_text(), random))
    try:
        again, said = load_runner(folder), ""
    except (ValueError, UserWarning) as error:
        again, said = None, str(error)
    assert again or any(name in said for name in FILES)
    if again:
        assert [line for line in path.read_text().splitlines() if line.startswith("#")] != comments
        assert again.theta.tobytes() == potential.theta.tobytes()
        assert again.evaluate(WATER).energy_m == potential.evaluate(WATER).energy_m


# ---- contradictions --------------------------------------------------------------------------------------------------

SETTINGS = [
    ("elements H O", "", "elements is missing"),
    ("number_of_elements 2", "", "number_of_elements is missing"),
    ("number_of_elements 2", "number_of_elements 3", "2 elements, but"),
    ("elements H O", "elements H H", "twice"),
    ("elements H O", "elements H Xx", "line 5: 'Xx' is not a chemical symbol"),
    ("elements H O", "elements H C", "not"),
    ("cutoff_type 2", "", "cutoff_type is missing"),
    ("cutoff_type 2", "cutoff_type 9", "expected cutoff_type 0 ... 8"),
    ("cutoff_type 2", "cutoff_type 1 1.0", "inner radius"),
    ("global_hidden_layers_short 2", "", "global_hidden_layers_short is missing"),
    ("global_hidden_layers_short 2", "global_hidden_layers_short 1", "expected 1 numbers of neurons"),
    ("global_nodes_short 3 2", "global_nodes_short 3", "expected 2 numbers of neurons"),
    ("global_nodes_short 3 2", "global_nodes_short 3 3", "weights.001.data.*expected.*25 for layers 2-3-3-1; found 20"),
    ("global_nodes_short 3 2", "global_nodes_short 3 0", "weights.001.data"),
    ("global_activation_short t t l", "global_activation_short t l", "expected 3 letters"),
    ("global_activation_short t t l", "global_activation_short t z l", "expected 3 letters"),
    ("scale_max_short 1.0", "scale_max_short -1.0", "must be above"),
    ("scale_max_short 1.0", "scale_max_short 1.0 2.0", "expected one number"),
    ("symmetry_functions_sigma", "symmetry_functions_sigma 1", "takes no value"),
    ("conv_energy ", "#", "conv_energy is missing"),
    ("conv_length 1.0", "conv_length 0.0", "must be positive"),
    ("conv_energy ", "conv_energy -", "must be positive"),
    ("atom_energy H", "atom_energy C", "expected one of the elements"),
    ("symfunction_short H 2 O", "symfunction_short H 4 O", "expected an element and a type"),
    ("symfunction_short H 2 O", "symfunction_short H 2 C", "C is not among the elements"),
    ("symfunction_short H 2 O", "symfunction_short C 2 O", "C is not among the elements"),
    ("symfunction_short H 2 O", "symfunction_short H 2 O 1.0", "takes 4 values"),
    ("symfunction_short H 2 O ", "symfunction_short H 2 O -", "out of range"),
    ("symfunction_short H 12", "symfunction_short H 23", "no subtype"),
]


@pytest.mark.parametrize(("old", "new", "message"), SETTINGS)
def test_settings(folder, old, new, message):
    change(folder / "input.nn", old, new)
    with pytest.raises(ValueError, match=message) as error:
        load_runner(folder)
    assert any(name in str(error.value) for name in FILES)


ADDED = [
    ("elements H O", "line 23: the keyword elements stands here for the second time"),
    ("atom_energy H 1.0", "atom_energy once for H"),
    ("symfunction H 2 O 0.1 0.0 5.0", "means the same as symfunction_short"),
    ("global_symfunction_short 2 0.1 0.0 5.0", "write a line symfunction_short"),
    ("nnp_type 4", "long-range part, which bpnumba does not have yet"),
    ("nnp_gen 4G-HDNNP", "long-range part"),
    ("nnp_generation 3", "long-range part"),
    ("use_electrostatics", "long-range part"),
    ("initial_hardness H 10.0", "long-range part"),
    ("nnp_type 1", "expected a type of potential"),
    ("nn_type_short 2", "only networks of atoms"),
    ("use_vdw", "dispersion"),
    ("element_nodes_short C 3 2", "expected one of the elements"),
    ("element_nodes_short O 3 2 1", "expected 2 numbers of neurons"),
    ("element_nodes_short O 4 7", "weights.008.data"),
    ("cutoff_alpha 0.3", "line 23: cutoff_alpha makes the cutoff function tanh jump"),
    ("scale_min", "line 23: the file ends with 'scale_min', .* cut keyword"),
    ("element_activation_short O 1 1 t", "the same for all neurons of a layer"),
    ("element_hidden_layers_short O 1", "expected 1 numbers of neurons"),
    ("element_hidden_layers_short O x", "'x' is not a whole number"),
]


@pytest.mark.parametrize(("line", "message"), ADDED)
def test_added_settings(folder, line, message):
    add(folder, line)
    with pytest.raises(ValueError, match=message) as error:
        load_runner(folder)
    assert any(name in str(error.value) for name in FILES)


def test_the_global_number_of_layers_is_read_in_any_case(folder):
    add(folder, "element_hidden_layers_short H 2")
    add(folder, "element_hidden_layers_short O 2")
    change(folder / "input.nn", "global_hidden_layers_short 2", "global_hidden_layers_short 1.0x")
    with pytest.raises(ValueError, match=r"input\.nn, line \d+: '1.0x' is not a whole number"):
        load_runner(folder)


def test_scaling(folder):
    path = folder / "scaling.data"
    lines = path.read_text().splitlines()
    first = lines[-1].split()
    for column, value, message in [(2, "99.0", "minimum is above"), (5, "-1.0", "sigma is negative"),
                                   (0, "1", "expected element 2"), (1, "7", "function 2, found")]:  # fmt: skip
        words = [*first[:column], value, *first[column + 1:]]
        path.write_text("\n".join([*lines[:-1], " ".join(words), ""]))
        with pytest.raises(ValueError, match=f"{path}, line {len(lines)}: .*{message}"):
            load_runner(folder)
    for extra in ("1.0", "1.0 x", "1.0 2.0 3.0", lines[-1]):
        path.write_text("\n".join([*lines, extra]))
        with pytest.raises(ValueError, match=str(path)):
            load_runner(folder)
    path.write_text("\n".join([*lines[:-2], lines[-1], lines[-2]]))
    with pytest.raises(ValueError, match="expected element 2, function 1"):
        load_runner(folder)
    path.write_text("\n".join(line if line[0] == "#" else " ".join(line.split()[:5]) for line in lines))
    with pytest.raises(ValueError, match="needs a sixth column"):
        load_runner(folder)


def test_constant_functions_give_one_warning(folder):
    change(folder / "input.nn", "scale_symmetry_functions_sigma", "scale_symmetry_functions")
    path = folder / "scaling.data"
    lines = [line.split() for line in path.read_text().splitlines()]
    for line in (lines[-1], lines[-3]):
        line[3] = line[2]
    path.write_text("\n".join(map(" ".join, lines)))
    with pytest.warns(UserWarning, match="scaling.data: constant .* WG2 of H: .*; G2 of O with H: ") as caught:
        potential = load_runner(folder)
    assert len(caught) == 1
    assert potential.scalings[0].factor_s[1] == potential.scalings[1].factor_s[0] == 1.0


# ---- what is read all the same ---------------------------------------------------------------------------------------


def same(folder, other):
    one, two = load_runner(folder), load_runner(other)
    assert one.theta.tobytes() == two.theta.tobytes()
    assert one.evaluate(WATER).energy_m == two.evaluate(WATER).energy_m


def test_harmless_differences(folder, original):
    path = folder / "input.nn"
    change(path, "scale_max_short 1.0", "scale_max_short\t1.0D+00 ! as Fortran writes it")
    settings, symfunctions = path.read_text().split("\n\n")
    text = f"{symfunctions}\n\n{settings}".replace("\nscale", "\n \t scale").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    change(path, "symfunction_short", "symfunction", 9)
    add(folder, "\r\nnnp_gen 2\nepochs 10\nkalman_type 0\nuse_short_forces\nscreen_electrostatics 1 2\nnn_type_short 1")
    change(folder / "scaling.data", "# Symmetry function scaling data.", "")
    for name in FILES[1:]:
        text = (folder / name).read_text()
        (folder / name).write_text(text.rstrip("\n") + ("\n -1.0 2.0" if name == "scaling.data" else ""))
    assert len(read_functions(path).functions) == 4
    same(folder, original)


@pytest.mark.parametrize("width", [1, 2, 3])
def test_weights_with_fewer_columns(folder, original, width):
    path = folder / "weights.008.data"
    lines = [line.split()[:width] for line in path.read_text().splitlines() if line[0] != "#"]
    path.write_text("\n".join(map(" ".join, lines)))
    same(folder, original)


def test_one_warning_for_unknown_keywords(folder):
    add(folder, "epochs 7\nspeling 1\nrandom_seed 2\ntemperature 300")
    message = r"input\.nn: unknown keywords, ignored: speling \(line 24\), temperature \(line 26\)$"
    with pytest.warns(UserWarning, match=message) as caught:
        load_runner(folder)
    assert len(caught) == 1


@pytest.mark.parametrize("lines", [
    "element_nodes_short O 3 2",  # n2p2: all layers
    "element_nodes_short O 1 3\nelement_nodes_short O 2 2",  # RuNNer: layer, number
    "element_nodes_short O 2 2",  # RuNNer: the second layer, which the weights tell
    "element_nodes_short O 3 7",  # n2p2 keeps the global number of the last hidden layer
    "element_hidden_layers_short O 2\nelement_nodes_short O 3 2\nelement_activation_short O t t l",
])  # fmt: skip
def test_layers_of_one_element(folder, original, lines):
    add(folder, lines)
    same(folder, original)


def test_normalized_nodes(folder, original):
    """Divided by the number of nodes of the layer before: weights and biases that are larger give the same network."""
    add(folder, "normalize_nodes")
    one, two = load_runner(folder), load_runner(original)
    for network, other in zip(one.networks, two.networks):
        for (W, b), (V, c) in zip(network.layers, other.layers):
            np.testing.assert_allclose(W * len(W), V, rtol=1e-15)
            np.testing.assert_allclose(b * len(W), c, rtol=1e-15)


def test_cutoff_alpha(folder, original):
    """Of RuNNer, where n2p2 has a second number behind cutoff_type."""
    path = folder / "input.nn"
    add(folder, "cutoff_alpha 0.0")
    same(folder, original)
    change(path, "cutoff_type 2", "cutoff_type 6")
    change(path, "cutoff_alpha 0.0", "cutoff_alpha 0.3")
    one = load_runner(folder).symmetry_functions.functions
    change(path, "cutoff_alpha 0.3", "")
    change(path, "cutoff_type 6", "cutoff_type 6 0.3")
    assert (one == load_runner(folder).symmetry_functions.functions).all()
    assert (one["alpha"] == 0.3).all()
    add(folder, "cutoff_alpha 0.3")
    with pytest.raises(ValueError, match="line 24: cutoff_alpha stands in cutoff_type as well"):
        load_runner(folder)


def test_scaling_by_almost_nothing(folder):
    path = folder / "scaling.data"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:-1], " ".join([*lines[-1].split()[:5], "1e-320"]), ""]))
    with pytest.raises(ValueError, match=r"scaling\.data: a range or sigma is too small or too large"):
        load_runner(folder)


def test_units(original):
    atomic, metal = load_runner(original), load_runner(original, "metal")
    assert atomic.cutoff / metal.cutoff == pytest.approx(0.529177, abs=1e-6)
    with pytest.raises(ValueError, match="unknown units 'real'"):
        load_runner(original, "real")


def test_numbers():
    assert [number(word) for word in ("1", "-1.", ".5", "1.5d-3", "+2E+1")] == [1.0, -1.0, 0.5, 1.5e-3, 20.0]
    for word in ("", "1,0", "inf", "NaN", "1e", "--1", "1 2", "١"):
        with pytest.raises(ValueError, match="is not a number"):
            number(word)


# ---- what cannot be saved --------------------------------------------------------------------------------------------

FOREIGN = [
    ([WG5("H", 0.1, 1.0, 1.0, 5.0), *ROWS], "no symmetry function like WG5"),
    ([G2("H", "H", 0.1, 0.0, 5.0, "poly2"), *ROWS], "one cutoff function for all"),
    ([G2("H", "H", 0.1, 0.0, 5.0, "exp", 0.1), G4("O", "H", "H", 0.1, 1.0, 1.0, 5.0, cutoff="exp")], "alpha 0.1, exp"),
    ([G2(z, "H", 0.1, 0.0, 5.0, "poly2a") for z in "HO"], "poly2a for compact functions only"),
]


@pytest.mark.parametrize(("rows", "message"), FOREIGN)
def test_what_they_cannot_express(rows, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        water(rows).save_runner(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_saving_over_another(folder, tmp_path):
    """Nothing is left of temporary files; what cannot be written leaves the file that was there."""
    potential = water(ROWS, hidden=(4,))
    (folder / "scaling.data").unlink()
    (folder / "scaling.data").mkdir()
    before = (folder / "input.nn").read_bytes()
    with pytest.raises(OSError, match=r"scaling\.data"):
        potential.save_runner(folder)
    assert (folder / "input.nn").read_bytes() == before
    (folder / "scaling.data").rmdir()
    potential.save_runner(folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert load_runner(folder).theta.tobytes() == potential.theta.tobytes()

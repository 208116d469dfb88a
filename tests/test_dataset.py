"""Frames to labels: what is found is what the file says; what is wrong is refused by file, frame and atom."""

import gzip
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.stress import voigt_6_to_full_3x3_stress

from bpnumba.io.input_data import write_structures
from bpnumba.training import plausibility
from bpnumba.training.dataset import Dataset, Keys, digest, read, report, require, split

MLEARN = Path(__file__).resolve().parents[2] / "shared" / "data" / "mlearn"
STRESS = np.array([0.01, 0.02, 0.03, 0.004, 0.005, 0.006])


def frame(seed=0, symbol="Cu", config_type=None, **labels):
    """A rattled crystal with the given labels in info and arrays."""
    atoms = bulk(symbol, "fcc", a=3.6, cubic=True)
    atoms.rattle(0.05, seed=seed)
    for name, value in labels.items():
        (atoms.arrays if "force" in name else atoms.info)[name] = value
    if config_type:
        atoms.info["config_type"] = config_type
    return atoms


def labelled(seed=0, **more):
    """A rattled crystal with all labels under REF_ keys."""
    rng = np.random.default_rng(seed)
    return frame(seed, REF_energy=-4.0 - seed, REF_forces=rng.normal(size=(4, 3)), REF_stress=STRESS, **more)


def computed(atoms):
    """The frame as a file gives it back: labels of EMT in a SinglePointCalculator."""
    calculator = EMT()
    calculator.calculate(atoms, ["energy", "forces", "stress"])
    names = ("energy", "forces", "stress")
    atoms.calc = SinglePointCalculator(atoms, **{name: calculator.results[name] for name in names})
    return atoms


# -------------------- labels


def test_labels_under_ref_keys():
    dataset = read([labelled(0), labelled(1)])
    np.testing.assert_array_equal(dataset.energy_m, [-4.0, -5.0])
    np.testing.assert_array_equal(dataset.forces_ac[4:], labelled(1).arrays["REF_forces"])
    np.testing.assert_array_equal(dataset.stress_mv, [STRESS, STRESS])
    assert all(has_m.all() for has_m in (dataset.has_energy_m, dataset.has_forces_m, dataset.has_stress_m))
    assert dataset.config_type_m == ("default", "default")
    assert dataset.source_m == ("frame 0", "frame 1")
    assert (len(dataset), dataset.n_atoms, dataset.species) == (2, 8, ("Cu",))
    np.testing.assert_array_equal(dataset.n_atoms_m, [4, 4])


def test_absent_labels_are_zero_and_masked():
    dataset = read([frame(0), labelled(1), molecule("CH4"), frame(2, REF_forces=np.ones((4, 3)))])
    np.testing.assert_array_equal(dataset.has_energy_m, [False, True, False, False])
    np.testing.assert_array_equal(dataset.has_forces_m, [False, True, False, True])
    np.testing.assert_array_equal(dataset.has_stress_m, [False, True, False, False])
    assert not any(label.any() for label in (dataset.energy_m[:1], dataset.forces_ac[:4], dataset.stress_mv[:1]))
    assert dataset.species == ("H", "C", "Cu")
    assert dataset.numbers.tolist() == [29] * 8 + [6, 1, 1, 1, 1] + [29] * 4


@pytest.mark.parametrize("extension", ["xyz", "extxyz", "extxyz.gz", "traj"])
def test_labels_that_ase_moved_into_its_calculator(tmp_path, extension):
    atoms = computed(frame())
    ase.io.write(tmp_path / f"train.{extension}", [atoms, atoms[:1]])
    dataset = read(tmp_path / f"train.{extension}")
    assert dataset.energy_m[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-7)
    np.testing.assert_allclose(dataset.forces_ac[:4], atoms.get_forces(), atol=1e-7)
    np.testing.assert_allclose(dataset.stress_mv[0], atoms.get_stress(), atol=1e-7)
    np.testing.assert_array_equal(dataset.has_energy_m, [True, False])
    assert dataset.source_m[1] == f"{tmp_path}/train.{extension}, frame 1"


@pytest.mark.parametrize("units", ["atomic", "metal"])
def test_labels_of_runner_files(tmp_path, units):
    frames = [frame(m, REF_energy=-4.0 - m, REF_forces=np.full((4, 3), 0.1 * m)) for m in range(2)]
    write_structures(tmp_path / "input.data", frames, units)
    dataset = read([tmp_path / "input.data"], units=units)
    np.testing.assert_allclose(dataset.energy_m, [-4.0, -5.0], rtol=1e-15)
    np.testing.assert_allclose(dataset.forces_ac[4:], 0.1, rtol=1e-15)
    assert dataset.has_forces_m.all()
    assert not dataset.has_stress_m.any()
    assert dataset.source_m[1] == f"{tmp_path}/input.data, frame 1"
    with pytest.raises(ValueError, match="unknown units 'si'; there are atomic, metal"):
        read(tmp_path / "input.data", units="si")


def test_calculator_of_another_structure_is_no_label():
    atoms = computed(frame())
    atoms.rattle(0.1, seed=3)
    assert not read(atoms).has_energy_m.any()


def test_live_calculator_is_not_asked_to_calculate():
    atoms = frame()
    atoms.calc = EMT()
    assert not read(atoms).has_energy_m.any()
    energy = atoms.get_potential_energy()
    assert read(atoms).energy_m[0] == energy


@pytest.mark.parametrize("name", ["energy", "free_energy"])
def test_plain_energy(name):
    assert read(frame(**{name: -1.5})).energy_m[0] == -1.5


def test_energy_comes_before_free_energy_and_ref_before_plain():
    atoms = frame(free_energy=1.999, energy=2.0)
    assert read(atoms).energy_m[0] == 2.0
    atoms.info["REF_energy"] = 3.0
    assert read(atoms).energy_m[0] == 3.0


def test_energy_and_free_energy_that_differ_are_told_once():
    frames = [frame(m, energy=2.0, free_energy=2.0 - 0.02 * m) for m in range(4)]
    atoms = frame(4)
    atoms.calc = SinglePointCalculator(atoms, energy=1.0, free_energy=1.4)
    with pytest.warns(UserWarning, match="4 frames .*most by 100 meV/atom in frame 4.*energy='free_energy'") as record:
        dataset = read([*frames, atoms])
    assert (len(record), dataset.energy_m[4]) == (1, 1.0)
    assert read(atoms, Keys(energy="free_energy")).energy_m[0] == 1.4  # whoever chooses is not warned
    assert read(atoms, Keys(energy="energy")).energy_m[0] == 1.0
    read(frame(REF_energy=1.0, free_energy=2.0))


@pytest.mark.parametrize("name", ["forces", "force"])
def test_plain_forces(name):
    np.testing.assert_array_equal(read(frame(**{name: np.full((4, 3), 2.0)})).forces_ac, 2.0)


def test_a_key_of_the_user_has_no_fallback():
    keys = Keys(energy="dft_energy")
    assert not read(frame(energy=1.0, REF_energy=2.0), keys).has_energy_m.any()
    assert read(frame(energy=1.0, dft_energy=3.0), keys).energy_m[0] == 3.0
    assert read(computed(frame()), Keys(energy="energy")).has_energy_m.all()


def test_constrained_forces_are_the_true_ones():
    atoms = computed(frame())
    forces = atoms.calc.results["forces"].copy()
    atoms.set_constraint(FixAtoms([0, 1]))
    dataset = read(atoms)
    np.testing.assert_array_equal(dataset.forces_ac, forces)
    assert dataset.atoms[0].calc is None
    assert not dataset.atoms[0].constraints


def test_mixture_of_ref_and_plain_names_is_told():
    with pytest.warns(UserWarning, match=r"occur together \(1 REF_energy, 1 energy\)"):
        read([frame(0, REF_energy=1.0), frame(1, energy=2.0)])


# -------------------- stress and virial


@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_shapes_of_stress_and_sign_of_virial(shape):
    """REF_virial = -V stress: the sign of extended XYZ files."""
    full = voigt_6_to_full_3x3_stress(STRESS)
    stress = STRESS if shape == (6,) else full.reshape(shape)
    volume = frame().get_volume()
    np.testing.assert_allclose(read(frame(REF_stress=stress)).stress_mv[0], STRESS, rtol=1e-14)
    for name in ("REF_virial", "virial"):
        np.testing.assert_allclose(read(frame(**{name: -volume * stress})).stress_mv[0], STRESS, rtol=1e-14)


def test_stress_and_virial_through_a_file(tmp_path):
    full = voigt_6_to_full_3x3_stress(STRESS)
    ase.io.write(tmp_path / "a.xyz", [frame(REF_stress=full), frame(1, REF_virial=-frame().get_volume() * full)])
    np.testing.assert_allclose(read(tmp_path / "a.xyz").stress_mv, [STRESS, STRESS], rtol=1e-6)


def test_stress_against_strained_energy():
    """The sign: the label of EMT is the derivative of its energy."""
    energy = []
    for strain in (-1e-4, 1e-4):
        atoms = frame()
        atoms.set_cell(atoms.cell.array * (1 + strain), scale_atoms=True)
        energy.append(read(computed(atoms)).energy_m[0])
    volume_derivative = (energy[1] - energy[0]) / (6e-4 * frame().get_volume())
    assert read(computed(frame())).stress_mv[0, :3].mean() == pytest.approx(volume_derivative, rel=1e-4)


def test_stress_and_virial_are_one_label():
    atoms = frame(REF_stress=STRESS, dft_virial=frame().get_volume() * STRESS, dft_stress=2 * STRESS)
    np.testing.assert_allclose(read(atoms, Keys(virial="dft_virial")).stress_mv[0], -STRESS)
    np.testing.assert_allclose(read(atoms, Keys(stress="dft_stress")).stress_mv[0], 2 * STRESS)
    assert not read(atoms, Keys(stress=None)).has_stress_m.any()
    assert not read(atoms, Keys(virial="other")).has_stress_m.any()


def test_ref_virial_comes_before_plain_stress():
    atoms = frame(stress=5 * STRESS, REF_virial=-frame().get_volume() * STRESS)
    np.testing.assert_allclose(read(atoms).stress_mv[0], STRESS)


def test_stress_and_virial_that_contradict_each_other():
    volume = frame().get_volume()
    np.testing.assert_allclose(read(frame(REF_stress=STRESS, REF_virial=-volume * STRESS)).stress_mv[0], STRESS)
    with pytest.raises(ValueError, match="frame 0: REF_stress and REF_virial contradict each other"):
        read(frame(REF_stress=STRESS, REF_virial=volume * STRESS))


@pytest.mark.parametrize("pbc", [False, (True, True, False)])
@pytest.mark.parametrize("name", ["REF_stress", "REF_virial"])
def test_stress_needs_three_periodic_directions(pbc, name):
    atoms = frame(**{name: STRESS})
    atoms.pbc = pbc
    with pytest.raises(
        ValueError, match=f"frame 1: has {name} but is not periodic in three.*stress=None.*--stress-key"
    ):
        read([frame(1), atoms])
    assert not read(atoms, Keys(stress=None)).has_stress_m.any()


def test_stress_needs_a_volume():
    atoms = Atoms("Cu", pbc=True, info={"REF_stress": STRESS})
    with pytest.raises(ValueError, match=r"frame 0: .*no volume"):
        read(atoms)


# -------------------- refused


def one_wrong(array, index, value):
    array = np.array(array, dtype=float)
    array[index] = value
    return array


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(
    ("name", "label", "index", "message"),
    [
        ("REF_energy", 0.0, (), "frame 1, REF_energy: .* is not finite; remove"),
        ("REF_forces", np.zeros((4, 3)), (2, 1), "frame 1, REF_forces, atom 2: .* is not finite; remove"),
        ("REF_stress", np.zeros(6), 3, "frame 1, REF_stress: .* is not finite; remove"),
        ("REF_virial", np.zeros((3, 3)), (1, 1), "frame 1, REF_virial: .* is not finite; remove"),
    ],
)
def test_labels_that_are_not_finite(tmp_path, name, label, index, message, bad):
    frames = [frame(0), frame(1, **{name: one_wrong(label, index, bad)})]
    with pytest.raises(ValueError, match=message):
        read(frames)
    ase.io.write(tmp_path / "train.xyz", frames)
    with pytest.raises(ValueError, match=r"train\.xyz, " + message):
        read(tmp_path / "train.xyz")


@pytest.mark.parametrize(
    ("name", "label", "message"),
    [
        ("REF_energy", np.zeros(2), r"REF_energy: has shape \(2,\)"),
        ("REF_energy", "low", "REF_energy: 'low' is not a number"),
        ("REF_forces", np.zeros((4, 4)), r"REF_forces: has shape \(4, 4\), must be \(4, 3\)"),
        ("REF_forces", np.zeros(12), r"REF_forces: has shape \(12,\)"),
        ("REF_stress", np.zeros(3), r"REF_stress: has shape \(3,\), must be \(6,\) or \(9,\) or \(3, 3\)"),
        ("REF_stress", 1.0, r"REF_stress: has shape \(\)"),
        ("REF_stress", np.triu(np.ones((3, 3))), "REF_stress: is not symmetric"),
    ],
)
def test_labels_of_wrong_shape(name, label, message):
    with pytest.raises(ValueError, match="frame 0, " + message):
        read(frame(**{name: label}))


def test_structures_that_no_one_can_train_on():
    atoms = frame()
    atoms.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"frame 1: the position of atom 3 \(Cu\) is not finite"):
        read([frame(), atoms])
    atoms = frame()
    atoms.cell[0, 0] = np.inf
    with pytest.raises(ValueError, match="frame 0: the cell is not finite"):
        read(atoms)
    with pytest.raises(ValueError, match="frame 0: has no atoms"):
        read(Atoms())
    with pytest.raises(ValueError, match="frame 0, atom 1: it has no element"):
        read(Atoms("CuX", [[0, 0, 0], [2, 0, 0]]))


def test_coincident_atoms_and_flat_cells_are_named_by_file_and_frame(tmp_path):
    one_place, flat = labelled(1), labelled(1)
    one_place.positions[2] = one_place.positions[0] + one_place.cell[1]  # on an image
    flat.cell[2] = flat.cell[0]
    for name, atoms, message in (
        ("one.xyz", one_place, r"atom 0 \(Cu\) and atom 2 \(Cu\) shifted by .* are at one place"),
        ("flat.xyz", flat, "the cell has no volume"),
    ):
        ase.io.write(tmp_path / name, [labelled(0), atoms])
        with pytest.raises(ValueError, match=rf"{name}, frame 1: {message}"):
            read(tmp_path / name)


@pytest.mark.parametrize("label", ["energy", "forces", "stress"])
def test_a_requested_label_that_no_frame_has(label):
    dataset = read([frame(0), frame(1)])
    with pytest.raises(
        ValueError, match=f"none of the 2 frames has {label} .*REF_{label}, {label}.*--{label}-weight 0"
    ):
        require(dataset, (label,))
    require(read([frame(0), labelled(1)]))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz: no such file"):
        read(tmp_path / "none.xyz")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        read(tmp_path)
    ase.io.write(tmp_path / "a.traj", [frame(0), frame(1)])
    with pytest.raises(ValueError, match=r"a\.traj@0:2: slices in file names are not supported.*ase convert -n 0:2"):
        read(f"{tmp_path}/a.traj@0:2")
    with pytest.raises(ValueError, match="there is no frame"):
        read([])
    broken = {
        "empty.xyz": b"",
        "text.xyz": b"hello\nworld\n",
        "cut.xyz": b"4\n\nCu 0 0 0\nCu 1 0 0\n",
        "unknown.abc": b"what is this",
        "cut.xyz.gz": gzip.compress(b"1\n\nCu 0 0 0\n")[:20],
        "plain.xyz.gz": b"1\n\nCu 0 0 0\n",
    }
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name)


def test_sources(tmp_path):
    ase.io.write(tmp_path / "a.xyz", [labelled(0), labelled(1)])
    ase.io.write(tmp_path / "b@1.xyz", labelled(2))
    paths = [str(tmp_path / "a.xyz"), tmp_path / "b@1.xyz"]
    dataset = read(paths)
    assert dataset.source_m == (f"{paths[0]}, frame 0", f"{paths[0]}, frame 1", f"{paths[1]}, frame 0")
    assert read(dataset) is dataset
    assert read(labelled(k) for k in range(2)).source_m == ("frame 0", "frame 1")


# -------------------- warned


def test_duplicates_are_named():
    other_cell = labelled(0)
    other_cell.cell[0, 0] += 0.1
    with pytest.warns(UserWarning, match="1 duplicate frames count twice: frame 3 repeats frame 0$"):
        dataset = read([labelled(0), labelled(1), other_cell, frame(0), labelled(2)])
    assert plausibility.duplicates(dataset) == [(3, 0)]


def test_enormous_forces_are_named():
    with pytest.warns(UserWarning, match="1 forces in 1 frames exceed 100 .* 150 on atom 2 of frame 1"):
        read([labelled(0), frame(1, REF_forces=one_wrong(np.zeros((4, 3)), (2, 0), -150.0))])


def strained(sign=1.0, unit=1.0):
    """Volume and shear strains of a rattled crystal with EMT, and some unrelated frames."""
    frames = []
    for k, strain in enumerate(np.linspace(-0.03, 0.03, 5)):
        for shear in (0.0, strain):
            atoms = frame(0)
            deformation = np.eye(3) * (1 + strain)
            deformation[0, 1] = shear
            atoms.set_cell(atoms.cell.array @ deformation, scale_atoms=True)
            frames.append(computed(atoms))
        frames.append(computed(frame(k + 1)))
    frames = [atoms for m, atoms in enumerate(frames) if m != 7]  # the unstrained crystal came twice
    for atoms in frames:
        atoms.calc.results["stress"] *= sign * unit
    return frames


def test_work_of_the_stress():
    ratios = plausibility.stress_ratios(read(strained()))
    assert len(ratios) == 8
    np.testing.assert_allclose(ratios, 1.0, atol=0.05)


@pytest.mark.parametrize(
    ("sign", "unit", "message"),
    [(-1, 1, "sign is wrong"), (1, 0.1, "unit is wrong"), (1, 1602, "GPa or kbar"), (-1, 20, "sign is wrong")],
)
def test_stress_of_wrong_sign_or_unit(sign, unit, message):
    with pytest.warns(UserWarning, match="stress") as record:
        read(strained(sign, unit))
    assert any(message in str(warning.message) for warning in record)


def test_no_false_alarms():
    """Frames of dynamics, of near-equal energies, of zero stress: nothing to compare, nothing to warn of."""
    no_stress = [frame(0, REF_energy=0.0, REF_stress=0 * STRESS), frame(1, REF_energy=9.0, REF_stress=0 * STRESS)]
    for frames in ([labelled(seed) for seed in range(20)], strained()[:2], no_stress):
        assert len(plausibility.stress_ratios(read(frames))) < 2


# -------------------- subset and split


def test_subset_and_join():
    dataset = read([frame(0), labelled(1), molecule("CH4"), labelled(2, config_type="hot")])
    part = dataset.subset([3, 1])
    np.testing.assert_array_equal(part.energy_m, [-6.0, -5.0])
    np.testing.assert_array_equal(part.forces_ac[:4], labelled(2).arrays["REF_forces"])
    assert part.config_type_m == ("hot", "default")
    assert part.source_m == ("frame 3", "frame 1")
    again = Dataset.join(dataset.subset([0, 1]), dataset.subset([2, 3]))
    assert digest(again) == digest(dataset) != digest(part)
    nothing = dataset.subset([])
    assert (len(nothing), nothing.n_atoms, nothing.species, nothing.forces_ac.shape) == (0, 0, (), (0, 3))
    assert report(nothing).startswith("0 frames, 0 atoms")


def test_digest_notices_everything():
    digests = {digest(read(labelled(0)))}
    for change in ("REF_energy", "REF_stress", "REF_forces", "positions", "config_type"):
        atoms = labelled(0)
        if change in atoms.info:
            atoms.info[change] = atoms.info[change] + 1e-9
        elif change in atoms.arrays:
            atoms.arrays[change][0, 0] += 1e-9
        else:
            atoms.info[change] = "hot"
        digests.add(digest(read(atoms)))
    assert len(digests) == 6
    assert digest(read(labelled(0))) in digests


def test_isolated_atoms():
    periodic = Atoms("Cu", cell=[9, 9, 9], pbc=True, info={"config_type": "IsolatedAtom"})
    dataset = read([Atoms("Cu"), periodic, bulk("Cu"), molecule("CH4")])
    np.testing.assert_array_equal(dataset.isolated_m, [True, True, False, False])


def many():
    """30 frames of one kind, 9 of another, 2 of a third, 1 alone; and 10 of another composition."""
    kinds = ["a"] * 30 + ["b"] * 9 + ["c"] * 2 + ["d"]
    frames = [frame(seed, config_type=kind) for seed, kind in enumerate(kinds)]
    return read(frames + [frame(seed, symbol="Ag", config_type="a") for seed in range(10)])


@pytest.mark.parametrize("seed", range(3))
def test_split_is_stratified(seed):
    dataset = many()
    train, valid = split(dataset, 0.1, seed)
    assert (len(train), len(valid)) == (47, 5)
    drawn = [(kind, atoms[0].symbol) for kind, atoms in zip(valid.config_type_m, valid.atoms, strict=True)]
    assert [drawn.count(stratum) for stratum in (("a", "Cu"), ("a", "Ag"), ("b", "Cu"))] == [3, 1, 1]
    assert set(train.source_m) | set(valid.source_m) == set(dataset.source_m)
    assert "d" in train.config_type_m
    assert all(int(a.split()[1]) < int(b.split()[1]) for a, b in zip(train.source_m, train.source_m[1:], strict=False))


def test_split_is_deterministic():
    one, two, other = (split(many(), 0.2, seed)[1].source_m for seed in (1, 1, 2))
    assert one == two != other


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.99])
def test_split_leaves_every_stratum_a_frame_to_train_on(fraction):
    train, valid = split(many(), fraction, 0)
    assert len(train) + len(valid) == 52
    assert len(valid) == min(round(fraction * 52), 52 - 5)
    assert {"a", "b", "c", "d"} == set(train.config_type_m)


def test_split_of_single_frames_and_wrong_fractions():
    train, valid = split(read([frame(0), molecule("CH4")]), 0.5, 0)
    assert (len(train), len(valid)) == (2, 0)
    for fraction in (-0.1, 1.0, np.nan):
        with pytest.raises(ValueError, match="fraction of validation frames"):
            split(many(), fraction, 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config_types", [["a"] * 12, [f"type {m}" for m in range(12)], ["a"] * 6 + ["b"] * 6])
def test_split_of_compositions_that_all_differ(seed, config_types):
    """Hydrocarbons and an alloy, no composition twice: single frames are pooled."""
    frames = [Atoms(f"C{m + 1}H2", [[0, 0, 2.0 * k] for k in range(m + 3)]) for m in range(12)]
    for atoms, config_type in zip(frames, config_types, strict=True):
        atoms.info["config_type"] = config_type
    train, valid = split(read(frames), 0.25, seed)
    assert (len(train), len(valid)) == (9, 3)
    if config_types[-1] == "b":
        assert {"a", "b"} == set(valid.config_type_m)


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_split_leaves_every_element_and_all_isolated_atoms_to_train_on(seed, fraction):
    rng = np.random.default_rng(seed)
    alone = [Atoms(symbol) for symbol in ("Cu", "Ag", "Au", "Ni")] * 3
    alloys = [frame(m, symbol="Cu", config_type=f"{m % 3}") for m in range(20)]
    for atoms in alloys[:15]:
        atoms.symbols[rng.integers(4)] = rng.choice(["Ag", "Ni"])
    alloys[7].symbols[:] = "Au"  # the only gold
    with pytest.warns(UserWarning, match="duplicate"):
        dataset = read(alone + alloys)
    train, valid = split(dataset, fraction, seed)
    assert len(valid) == round(fraction * 20)
    assert train.isolated_m.sum() == 12
    assert not valid.isolated_m.any()
    assert train.subset(np.flatnonzero(~train.isolated_m)).species == dataset.species


def test_report():
    dataset = read([labelled(0, config_type="hot"), frame(1), labelled(2), molecule("CH4")])
    assert report(dataset).splitlines() == [
        "4 frames, 17 atoms: H C Cu",
        "labels: 2 energies, 8 force vectors, 2 stresses",
        "  hot          1 frames,       4 atoms: 1 energies, 4 force vectors, 1 stresses",
        "  default      3 frames,      13 atoms: 1 energies, 4 force vectors, 1 stresses",
    ]


# -------------------- real data


@pytest.mark.skipif(not MLEARN.is_dir(), reason="the reference data (../shared/data/mlearn) are not on this machine")
@pytest.mark.parametrize(
    ("symbol", "n_frames", "n_atoms"), [("Si", 214, 13233), ("Mo", 194, 10087), ("Li", 241, 11576)]
)
def test_real_data_give_no_false_alarm(symbol, n_frames, n_atoms):
    dataset = read(MLEARN / f"{symbol}_train.xyz.gz")
    require(dataset)
    assert (len(dataset), dataset.n_atoms) == (n_frames, n_atoms)
    ratios = plausibility.stress_ratios(dataset)
    np.testing.assert_allclose(ratios, 1.0, atol=0.05)
    assert len(ratios) > 10 or symbol != "Si"

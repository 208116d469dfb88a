"""Composed models: parts add up, and everything that takes a potential takes them and committees, too."""

import copy
import json
import pickle

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.io import read, write

import bpnumba
from bpnumba import ZBL, BPCalculator, Committee, Composite, Potential, SymmetryFunctions, cli, load, save
from bpnumba.calculator import warm_up
from bpnumba.conversion import convert
from bpnumba.plots import parity
from bpnumba.training.dataset import read as read_dataset

CUTOFF = 4.5


def rattled(seed=0, a=4.36, pbc=True):
    atoms = bulk("SiC", "zincblende", a=a, cubic=True)
    atoms.rattle(0.15, seed=seed)
    atoms.pbc = pbc
    return atoms


CLOSE = rattled(1)
CLOSE.positions[1] = CLOSE.positions[0] + [0.7, 0.3, 0.2]
"""Two atoms that repel each other."""
FRAMES = [rattled(2), CLOSE, Atoms("C"), rattled(3, pbc=False)]


@pytest.fixture(scope="module")
def members():
    functions = SymmetryFunctions(["Si", "C"], CUTOFF, g2_params=[[0.1, 0.0], [0.8, 1.9]], g4_params=[[0.02, 2, -1]])
    frames, energies = [rattled(seed) for seed in range(3)], {"Si": -5.5, "C": -9.25}
    return tuple(Potential.untrained(functions, frames, hidden, seed=n, reference_energies=energies)
                 for n, hidden in enumerate([(5,), (4, 3), (6,)]))  # fmt: skip


@pytest.fixture(scope="module")
def models(members):
    """Every kind of model."""
    repulsion, committee = ZBL.for_species(["C", "Si"], outer=1.3), Committee(members, {"note": 1 / 7})
    return {
        "potential": members[0],
        "committee": committee,
        "composite": Composite(members[0], (repulsion,)),
        "composed committee": Composite(committee, [repulsion, ZBL.for_species(["C", "Si", "Ge"], window="poly4")]),
    }


KINDS = "potential", "committee", "composite", "composed committee"


@pytest.fixture(params=KINDS)
def model(request, models):
    return models[request.param]


def test_parts_add_up(models):
    whole = models["composed committee"]
    prediction, short = whole.evaluate(FRAMES), whole.short_range.evaluate(FRAMES)
    terms = [term.evaluate(FRAMES) for term in whole.terms]
    for name in ("energy_m", "energy_a", "forces_ac", "virial_mcc"):
        expected = getattr(short, name) + sum(getattr(term, name) for term in terms)
        np.testing.assert_allclose(getattr(prediction, name), expected, rtol=1e-13, atol=1e-13)
    assert prediction.extrapolation.tolist() == short.extrapolation.tolist()
    for one, other in zip(prediction.spread, short.spread, strict=True):
        np.testing.assert_array_equal(one, other)  # a term is the same for all members
    assert prediction.volume_m.tolist() == short.volume_m.tolist()
    assert terms[0].energy_m[1] > 1.0
    assert terms[0].energy_m[2] == 0.0


def test_forces_and_virial_are_slopes_of_the_energy(model, difference):
    prediction, random = model.evaluate(CLOSE), np.random.default_rng(0)
    direction, strain = random.normal(0.0, 0.3, (8, 3)), random.normal(0.0, 0.1, (3, 3))

    def moved(x):
        other = CLOSE.copy()
        other.positions += x * direction
        return model.evaluate(other).energy_m[0]

    def strained(x):
        other = CLOSE.copy()
        other.set_cell(CLOSE.cell.array @ (np.eye(3) + x * strain).T, scale_atoms=True)
        return model.evaluate(other).energy_m[0]

    assert -(prediction.forces_ac * direction).sum() == pytest.approx(difference(moved), rel=1e-8, abs=1e-7)
    assert (prediction.virial_mcc[0] * strain).sum() == pytest.approx(difference(strained), rel=1e-8, abs=1e-7)


def test_face(models):
    for kind in ("composite", "composed committee"):
        model = models[kind]
        for name in ("symmetry_functions", "scalings", "reference_energies", "info", "species", "cutoff"):
            assert getattr(model, name) == getattr(model.short_range, name)
        assert str(model) == "\n".join(map(str, (model.short_range, *model.terms)))
    assert models["composed committee"].info == {"note": 1 / 7}
    assert isinstance(models["composed committee"].terms, tuple)


def test_a_list_of_any_kind(models):
    """A generator is walked through once, by all parts."""
    model = models["composite"]
    found = model.evaluate(frame for frame in FRAMES)
    np.testing.assert_array_equal(found.forces_ac, model.evaluate(FRAMES).forces_ac)
    with pytest.raises(ValueError, match="the list of atoms is empty"):
        model.evaluate([])


def test_what_is_no_composite(members, models):
    repulsion = ZBL.for_species("C")
    with pytest.raises(ValueError, match="the term ZBL does not know Si, which the potential describes"):
        Composite(members[0], (repulsion,))
    with pytest.raises(ValueError, match="needs at least one term"):
        Composite(members[0], ())
    for wrong, name in ((models["composite"], "Composite"), (repulsion, "ZBL"), (None, "NoneType")):
        with pytest.raises(TypeError, match=f"must be a Potential or a Committee, not {name}"):
            Composite(wrong, models["composite"].terms)


# ---- calculators -----------------------------------------------------------------------------------------------------


def with_calculator(atoms, model, **options):
    atoms = atoms.copy()
    atoms.calc = BPCalculator(model, **({"on_extrapolation": "ignore"} | options))
    return atoms


def test_calculator(model):
    atoms, prediction = with_calculator(CLOSE, model), model.evaluate(CLOSE)
    assert atoms.get_potential_energy() == pytest.approx(prediction.energy_m[0], rel=1e-14)
    np.testing.assert_allclose(atoms.get_forces(), prediction.forces_ac, rtol=0, atol=1e-12)
    np.testing.assert_allclose(atoms.get_stress(), prediction.stress_mv[0], rtol=0, atol=1e-13)
    results, spread = atoms.calc.results, prediction.spread
    if spread is None:
        assert not [name for name in results if name.endswith("_std")]
        return
    assert results["energy_std"] == pytest.approx(spread.energy_std_m[0], rel=1e-10)
    np.testing.assert_allclose(results["forces_std"], spread.forces_std_ac, rtol=0, atol=1e-12)
    np.testing.assert_allclose(results["stress_std"], spread.stress_std_mv(prediction.volume_m)[0], rtol=0, atol=1e-13)
    slab = with_calculator(rattled(pbc=(True, True, False)), model)
    slab.get_forces()
    assert "forces_std" in slab.calc.results
    assert "stress_std" not in slab.calc.results
    with pytest.raises(PropertyNotImplementedError):
        slab.get_stress()


@pytest.mark.usefixtures("fast_kernels")
def test_a_list_with_a_skin_is_used_again(model):
    """Steps at random, with one calculator and with a new one each time."""
    atoms, random = with_calculator(CLOSE, model, skin=1.0), np.random.default_rng(3)
    for _ in range(10):
        atoms.positions += random.normal(0.0, 0.02, (8, 3))
        fresh = with_calculator(atoms, model)
        np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), rtol=0, atol=1e-11)
        if fresh.calc.results.get("forces_std") is not None:
            np.testing.assert_allclose(atoms.calc.results["forces_std"], fresh.calc.results["forces_std"], rtol=0,
                                       atol=1e-11)  # fmt: skip
    if hasattr(atoms.calc.pair_list, "rebuilds"):  # not with plain kernels
        assert atoms.calc.pair_list.rebuilds <= 2


def test_copies_and_files(model, tmp_path):
    atoms = with_calculator(CLOSE, model)
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    again = pickle.loads(pickle.dumps(atoms))
    again.calc.reset()
    assert again.get_potential_energy() == pytest.approx(energy, rel=1e-14)
    other = copy.deepcopy(atoms.calc)
    np.testing.assert_allclose(other.get_property("forces", atoms), forces, rtol=0, atol=1e-12)
    assert "forces_std" not in atoms.calc.export_properties()
    write(tmp_path / "frame.extxyz", atoms)
    assert read(tmp_path / "frame.extxyz").get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_extrapolation_is_told_of_the_short_range_part(models):
    from bpnumba.extrapolation import ExtrapolationWarning

    atoms = with_calculator(CLOSE, models["composed committee"], on_extrapolation="warn")
    with pytest.warns(ExtrapolationWarning, match="outside the range of the training data"):
        atoms.get_forces()
    assert atoms.calc.results["extrapolation"].sum() == len(models["potential"].evaluate(CLOSE).extrapolation)


def test_warm_up(model):
    assert "C, Si: kernels are ready after" in warm_up(model)


# ---- files, tables, pictures -----------------------------------------------------------------------------------------


def test_model_file(model, tmp_path):
    """To the last bit, whatever kind of model it is; saved twice, the bytes are the same."""
    save(model, tmp_path / "model.npz")
    again = load(tmp_path / "model.npz")
    assert type(again) is type(model)
    one, two = again.evaluate(FRAMES), model.evaluate(FRAMES)
    for name in ("energy_m", "energy_a", "forces_ac", "virial_mcc"):
        assert getattr(one, name).tobytes() == getattr(two, name).tobytes()
    assert (one.spread is None) == (two.spread is None)
    if two.spread is not None:
        assert [part.tobytes() for part in one.spread] == [part.tobytes() for part in two.spread]
    save(again, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "model.npz").read_bytes()
    calculator = BPCalculator(tmp_path / "model.npz", on_extrapolation="ignore")
    assert calculator.get_potential_energy(CLOSE) == pytest.approx(two.energy_m[1], rel=1e-13)
    assert calculator.parameters["model"] == str(tmp_path / "model.npz")


def labelled(model):
    """Frames with labels that are 8 meV per atom and 0.1 eV/Angstrom away from what a model says."""
    frames = [frame.copy() for frame in FRAMES[:2]]
    for frame in frames:
        prediction = model.evaluate(frame)
        frame.info["REF_energy"] = float(prediction.energy_m[0]) - 0.008 * len(frame)
        frame.arrays["REF_forces"] = prediction.forces_ac + 0.1
        frame.info["REF_stress"] = prediction.stress_mv[0]
    return frames


@pytest.mark.filterwarnings("ignore:.*forces:UserWarning")  # those of atoms in one another are large
def test_errors_and_pictures(model, tmp_path):
    errors = bpnumba.evaluate(model, labelled(model))
    assert errors.total.energy_mae_mev_per_atom == pytest.approx(8.0)
    assert errors.total.forces_rmse_ev_per_angstrom == pytest.approx(0.1)
    assert errors.total.stress_rmse_gpa == pytest.approx(0.0, abs=1e-9)
    assert errors.extrapolation.n_atoms > 0
    pytest.importorskip("matplotlib")
    parity(model, read_dataset(labelled(model)), tmp_path / "parity.png")
    assert (tmp_path / "parity.png").stat().st_size > 1000


def test_files_of_other_codes_cannot_hold_them(models, tmp_path):
    """The message says what is lost, and nothing is written."""
    for kind, message in [
        ("committee", r"hold one network per element, but this is a committee of 3: .* lost is the mean and the spr"),
        ("composite", r"cannot hold the term ZBL: .*composite\.short_range\.save_runner.* the energies are others"),
        ("composed committee", "cannot hold the term ZBL, ZBL: "),
    ]:
        save(models[kind], tmp_path / "model.npz")
        with pytest.raises(ValueError, match=message) as caught:
            convert(tmp_path / "model.npz", tmp_path / "folder")
        assert str(caught.value).startswith(str(tmp_path / "folder"))
        assert not (tmp_path / "folder").exists()
    models["committee"].members[1].save_runner(tmp_path / "one")
    assert (tmp_path / "one" / "input.nn").exists()


def test_info_on_the_command_line(models, members, tmp_path, capsys):
    told = Potential(members[0].symmetry_functions, members[0].scalings, members[0].networks,
                     members[0].reference_energies, {"training": {"seconds": 3.25}})  # fmt: skip
    repulsion = ZBL.for_species(["C", "Si"])
    save(Composite(Committee((told, members[1]), {"note": "two"}), (repulsion,)), tmp_path / "model.npz")
    assert cli.main(["info", str(tmp_path / "model.npz")]) == 0
    text = capsys.readouterr().out
    assert text.startswith("committee of 2 potentials with the same symmetry functions\n0: Behler-Parrinello potential")
    for part in (str(repulsion), "note: two", "\nmember 0\n", "   seconds: 3.25 s", "SymmetryFunctions(C: 7, Si: 7"):
        assert part in text
    assert "member 1" not in text  # of which nothing is known


def test_header_tells_members_and_terms(models, tmp_path):
    save(models["composed committee"], tmp_path / "model.npz")
    with np.load(tmp_path / "model.npz") as file:
        content = json.loads(file["header"].tobytes())["content"]
        assert {name for name in file.files if "weights" in name} == {f"{s}_weights_{n}" for s in ("C", "Si")
                                                                      for n in range(3)}  # fmt: skip
        assert len([name for name in file.files if name.endswith("_shift")]) == 2  # one scaling for all members
    assert [member["networks"]["C"]["sizes"] for member in content["members"]] == [[7, 5, 1], [7, 4, 3, 1], [7, 6, 1]]
    assert [member["info"] for member in content["members"]] == [{}, {}, {}]
    assert content["info"]["note"] == 1 / 7
    assert [term["kind"] for term in content["terms"]] == ["ZBL", "ZBL"]
    assert content["terms"][1]["window"] == "poly4"

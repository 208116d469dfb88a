"""The ASE calculator, checked as OpenKIM checks potentials; with random weights, which are as smooth as any."""

import gc
import io
import itertools
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.filters import FrechetCellFilter
from ase.io import Trajectory, read, write
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS
from ase.phonons import Phonons
from scipy.spatial.transform import Rotation

from bpnumba import BPCalculator, Potential, SymmetryFunctions, save
from bpnumba.potential import values

pytestmark = pytest.mark.usefixtures("fast_kernels")

CUTOFF = 4.5
SILICON = {
    "g2_params": [[0.02, 0.0], [0.5, 2.4]],
    "g4_params": [[0.01, 1, 1], [0.02, 4, -1]],
    "g5_params": [[0.05, 2, 1]],
}


def rattled(name="Si", repeat=(1, 1, 1), amplitude=0.15, seed=0, **keywords):
    structure = {} if name == "Si" else {"crystalstructure": "zincblende", "a": 4.36}
    atoms = bulk(name, cubic=True, **structure, **keywords).repeat(repeat)
    atoms.rattle(amplitude, seed=seed)
    return atoms


@pytest.fixture(scope="module")
def silicon():
    """A potential of one element; energies of some eV, forces of some eV/Angstrom."""
    frames = [rattled(a=a, seed=m) for m, a in enumerate((5.2, 5.4, 5.6))]
    return Potential.untrained(SymmetryFunctions(["Si"], CUTOFF, **SILICON), frames, hidden=(6, 5), seed=1)


@pytest.fixture(scope="module")
def carbide():
    """A potential of two elements, with different networks and reference energies."""
    functions = SymmetryFunctions(["Si", "C"], CUTOFF, g2_params=[[0.1, 0.0], [0.8, 1.9]], g4_params=[[0.02, 2, -1]])
    return Potential.untrained(functions, [rattled("SiC", seed=m) for m in range(3)], hidden={"Si": (5,), "C": (4, 4)},
                               activation="softplus", seed=2, reference_energies={"Si": -5.5, "C": -9.25})  # fmt: skip


def with_calculator(atoms, potential):
    atoms = atoms.copy()
    atoms.calc = BPCalculator(potential, on_extrapolation="ignore")  # untrained, it knows little
    return atoms


# ---- derivatives -----------------------------------------------------------------------------------------------------


def derivative(function, h=2e-3):
    """Fourth-order central difference of a function of one number at zero."""
    return (8 * (function(h) - function(-h)) - (function(2 * h) - function(-2 * h))) / (12 * h)


def structures():
    """Distorted fcc as OpenKIM asks for, small and skew cells, of one element and mixed."""
    fcc = bulk("Si", "fcc", a=4.2, cubic=True).repeat((2, 2, 1))
    fcc.rattle(0.2, seed=5)
    skew = bulk("Si").copy()  # the shortest period, 2.9 Angstrom after the change, is two thirds of the cutoff
    skew.set_cell(skew.cell.array @ np.array([[0.75, 0.1, 0.05], [0.0, 0.9, -0.2], [0.1, 0.0, 1.1]]), scale_atoms=True)
    skew.rattle(0.1, seed=6)
    tiny = Atoms("Si", [[7.0, -5.0, 1.0]], cell=[[2.4, 0.1, 0.0], [-0.9, 2.3, 0.2], [0.3, 0.2, 2.6]], pbc=True)
    mixed = rattled("SiC", seed=7)
    return {"fcc": fcc, "skew": skew, "tiny": tiny, "carbide": mixed}


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 1, 0), (1, 1, 1)], ids=["FFF", "TTF", "TTT"])
@pytest.mark.parametrize("name", structures())
def test_forces_are_the_slope_of_the_energy(name, pbc, silicon, carbide):
    atoms = with_calculator(structures()[name], carbide if name == "carbide" else silicon)
    atoms.pbc = pbc
    forces, positions = atoms.get_forces(), atoms.positions.copy()
    rng = np.random.default_rng(1)
    for atom, c in {(int(rng.integers(len(atoms))), int(rng.integers(3))) for _ in range(8)}:

        def energy(h, atom=atom, c=c):
            atoms.positions[:] = positions
            atoms.positions[atom, c] += h
            return atoms.get_potential_energy()

        tolerance = 1e-8 * max(1e-2, np.abs(forces).max())
        assert -derivative(energy) == pytest.approx(forces[atom, c], rel=1e-8, abs=tolerance)


@pytest.mark.parametrize("name", structures())
def test_stress_is_the_slope_of_the_energy(name, silicon, carbide):
    atoms = with_calculator(structures()[name], carbide if name == "carbide" else silicon)
    stress, volume = atoms.get_stress(), atoms.get_volume()
    cell, positions = atoms.cell.array.copy(), atoms.positions.copy()
    for v, (a, b) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):

        def energy(h, a=a, b=b):
            strain = np.eye(3)
            strain[a, b] += 0.5 * h
            strain[b, a] += 0.5 * h
            atoms.cell[:], atoms.positions[:] = cell @ strain, positions @ strain
            return atoms.get_potential_energy()

        tolerance = 1e-8 * np.abs(stress).max()
        assert derivative(energy, h=2e-4) / volume == pytest.approx(stress[v], rel=1e-8, abs=tolerance)


# ---- symmetries ------------------------------------------------------------------------------------------------------


def same(one, two, tolerance=1e-10):
    """Equal to a tolerance relative to the size of things."""
    scale = max(1.0, np.abs(two).max(initial=0.0))
    np.testing.assert_allclose(one, two, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("pbc", [(0, 0, 0), (1, 0, 1), (1, 1, 1)])
def test_rotation_translation_inversion(carbide, pbc):
    atoms = with_calculator(rattled("SiC"), carbide)
    atoms.pbc = pbc
    energy, forces = atoms.get_potential_energy(), atoms.get_forces()
    for R in (*Rotation.random(3, rng=4).as_matrix(), -np.eye(3), np.diag([1.0, 1.0, -1.0])):
        moved = with_calculator(atoms, carbide)
        moved.set_cell(atoms.cell.array @ R.T)
        moved.positions = atoms.positions @ R.T + [0.3, -11.7, 4.1]
        same(moved.get_potential_energy(), energy)
        same(moved.get_forces(), forces @ R.T)
        if all(pbc):
            same(moved.get_stress(voigt=False), R @ atoms.get_stress(voigt=False) @ R.T)


def test_permutation(carbide):
    atoms = with_calculator(rattled("SiC"), carbide)
    order = np.random.default_rng(0).permutation(len(atoms))
    permuted = with_calculator(atoms[order], carbide)
    same(permuted.get_potential_energy(), atoms.get_potential_energy())
    same(permuted.get_forces(), atoms.get_forces()[order])
    same(permuted.get_potential_energies(), atoms.get_potential_energies()[order])


@pytest.mark.parametrize("pbc", list(itertools.product([False, True], repeat=3)))
def test_repeated_cell(silicon, pbc):
    atoms = with_calculator(structures()["skew"], silicon)
    atoms.pbc = pbc
    repeat = tuple(2 if periodic else 1 for periodic in pbc)
    large, n = with_calculator(atoms.repeat(repeat), silicon), np.prod(repeat)
    same(large.get_potential_energy() / n, atoms.get_potential_energy())
    same(large.get_forces(), np.tile(atoms.get_forces(), (n, 1)))
    if all(pbc):
        same(large.get_stress(), atoms.get_stress())


def test_cutoff_of_several_cells(silicon):
    """One atom in a cell half as long as the cutoff, against a supercell that is longer than it."""
    tiny = with_calculator(structures()["tiny"], silicon)
    large = with_calculator(tiny.repeat((4, 4, 4)), silicon)
    same(large.get_potential_energy() / 64, tiny.get_potential_energy())
    same(large.get_forces(), np.zeros((64, 3)))
    same(large.get_stress(), tiny.get_stress())


def test_extensivity_and_momentum(carbide):
    one, two = rattled("SiC", seed=1), rattled("SiC", seed=2)[:5]
    one.pbc = two.pbc = False
    two.translate([60.0, 0.0, 0.0])
    both = with_calculator(one + two, carbide)
    one, two = with_calculator(one, carbide), with_calculator(two, carbide)
    same(both.get_potential_energy(), one.get_potential_energy() + two.get_potential_energy())
    same(both.get_forces(), np.vstack([one.get_forces(), two.get_forces()]))
    same(both.get_forces().sum(axis=0), np.zeros(3))
    same(both.get_potential_energies().sum(), both.get_potential_energy())


@pytest.mark.parametrize("pair", ["SiSi", "SiC", "CC"])
def test_dimer_is_smooth_across_the_cutoff(carbide, pair):
    """The default cutoff polynomial has two continuous derivatives.

    Where a grid is halved, the largest second difference of a smooth function falls to 1/4, at a kink to 1/2, at a
    jump not at all.  Energy and force have no kink; the slope of the force has one at the cutoff, but does not jump.
    """

    def curves(first, n):
        r = np.linspace(first, CUTOFF + 0.5, n)
        prediction = carbide.evaluate([Atoms(pair, [[0, 0, 0], [0, 0, x]]) for x in r])
        force = prediction.forces_ac[1::2, 2]
        return prediction.energy_m, force, np.diff(force) / (r[1] - r[0])

    for first in (1.0, CUTOFF - 0.5):
        for coarse, fine, limit in zip(curves(first, 1501), curves(first, 3001), (0.27, 0.27, 0.53), strict=True):
            assert np.abs(np.diff(fine, 2)).max() / np.abs(np.diff(coarse, 2)).max() < limit
    near, beyond = (with_calculator(Atoms(pair, [[0, 0, 0], [0, 0, r]]), carbide) for r in (CUTOFF - 1e-5, CUTOFF))
    assert abs(near.get_potential_energy() - beyond.get_potential_energy()) < 1e-12
    assert 0.0 < np.abs(near.get_forces()).max() < 1e-7
    assert not beyond.get_forces().any()


def test_second_derivative_is_continuous_at_the_cutoff(carbide):
    """The slope of the force goes to zero linearly with the distance to the cutoff."""
    slopes = []
    for x in (4e-3, 2e-3):
        dimers = [Atoms("SiC", [[0, 0, 0], [0, 0, CUTOFF - x * f]]) for f in (1.01, 0.99)]
        force = carbide.evaluate(dimers).forces_ac[1::2, 2]
        slopes.append((force[0] - force[1]) / (0.02 * x))
    assert slopes[0] / slopes[1] == pytest.approx(2.0, abs=0.05)


def test_threads_give_identical_bits(silicon):
    atoms = rattled(repeat=(2, 1, 1))
    expected = with_calculator(atoms, silicon).get_forces().tobytes()
    found = []

    def work():
        for _ in range(5):
            found.append(with_calculator(atoms, silicon).get_forces().tobytes())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {expected}
    assert len(found) == 20


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_fork_after_use(silicon):
    expected = silicon.evaluate(rattled()).forces_ac
    with multiprocessing.get_context("fork").Pool(2) as pool:
        found = pool.map_async(silicon.evaluate, [rattled()] * 4).get(timeout=60)
    assert all(np.array_equal(one.forces_ac, expected) for one in found)


def test_memory_does_not_grow(silicon):
    atoms = rattled()

    def work():
        for _ in range(20):
            with_calculator(atoms, silicon).get_forces()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        work()
        before = work()
        assert work() - before < 20_000  # the arrays of a single call are larger
    finally:
        tracemalloc.stop()


# ---- ASE -------------------------------------------------------------------------------------------------------------


# ---- a list that is used again ---------------------------------------------------------------------------------------


def walk(atoms, n_steps, amplitude, seed=3):
    """The same atoms after steps at random."""
    random = np.random.default_rng(seed)
    for _ in range(n_steps):
        atoms.positions += random.normal(0, amplitude, atoms.positions.shape)
        yield atoms


def assert_like_fresh(atoms, potential):
    """Energy, forces and stress to the last digits as with a new calculator."""
    fresh = with_calculator(atoms, potential)
    assert atoms.get_potential_energy() == pytest.approx(fresh.get_potential_energy(), rel=1e-13, abs=1e-12)
    scale = np.abs(fresh.get_forces()).max()
    np.testing.assert_allclose(atoms.get_forces(), fresh.get_forces(), rtol=0, atol=1e-12 * scale)
    if atoms.pbc.all():
        np.testing.assert_allclose(atoms.get_stress(), fresh.get_stress(), rtol=0, atol=1e-13 * scale)


@pytest.mark.parametrize("pbc", [True, (True, False, True), False])
@pytest.mark.parametrize("skin", [0.0, 0.3, 2.0])
def test_a_list_used_again_gives_what_a_fresh_one_gives(carbide, pbc, skin):
    atoms = rattled("SiC", (2, 1, 1))
    atoms.pbc = pbc
    atoms.calc = BPCalculator(carbide, on_extrapolation="ignore", skin=skin)
    for moved in walk(atoms, 25, 0.02):
        assert_like_fresh(moved, carbide)
    if hasattr(atoms.calc.pair_list, "rebuilds"):  # not with plain kernels
        most = {0.0: (25, 25), 0.3: (3, 20), 2.0: (1, 1)}[skin]
        assert most[0] <= atoms.calc.pair_list.rebuilds <= most[1]


def test_a_list_is_not_used_for_something_else(carbide):
    """Cell, periodicity, elements and number of atoms may change from one call to the next."""
    atoms = rattled("SiC", (2, 1, 1))
    atoms.calc = BPCalculator(carbide, on_extrapolation="ignore", skin=1.0)
    assert_like_fresh(atoms, carbide)
    for change in (
        lambda: atoms.set_cell(atoms.cell * 1.001),
        lambda: atoms.set_pbc([True, False, True]),
        lambda: atoms.set_atomic_numbers(atoms.numbers[::-1].copy()),
        lambda: atoms.__delitem__(3),
        lambda: atoms.set_cell(atoms.cell * 0.99, scale_atoms=True),
        lambda: atoms.positions.__setitem__(0, atoms.positions[0] + atoms.cell[0]),  # the same place, an image farther
    ):
        change()
        assert_like_fresh(atoms, carbide)


def test_bad_positions_are_named_although_the_list_is_there(carbide):
    atoms = rattled("SiC", (2, 1, 1))
    atoms.calc = BPCalculator(carbide, on_extrapolation="ignore", skin=4.0)
    atoms.get_forces()
    atoms.positions[3] = np.nan
    with pytest.raises(ValueError, match="the position of atom 3"):
        atoms.get_forces()
    atoms.positions[3] = atoms.positions[2] + [1e-5, 0, 0]
    with pytest.raises(ValueError, match="are at one place"):
        atoms.get_forces()


def test_a_skin_must_be_a_length(silicon):
    for skin in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="the skin must be 0 or a positive number"):
            BPCalculator(silicon, skin=skin)


def test_energies_alone(carbide):
    frames = [rattled("SiC", seed=m) for m in range(3)]
    functions = carbide.symmetry_functions
    found = carbide.energies(functions.pair_list().pairs(frames))
    np.testing.assert_allclose(found, carbide.evaluate(frames).energy_m, rtol=1e-14)


def test_a_copy_in_a_process_with_other_kernels(carbide, tmp_path):
    """A pickled calculator makes the list that the kernels of its new process want."""
    atoms = with_calculator(rattled("SiC"), carbide)
    expected = atoms.get_forces()
    (tmp_path / "calculator").write_bytes(pickle.dumps((atoms.calc, atoms.copy())))
    code = (
        "import pickle, sys; import numpy as np\n"
        "calculator, atoms = pickle.load(open(sys.argv[1], 'rb')); atoms.calc = calculator\n"
        "atoms.rattle(0.0); np.save(sys.argv[2], calculator.get_property('forces', atoms))"
    )
    for kernels in ("plain", "2"):
        run = [sys.executable, "-c", code, tmp_path / "calculator", tmp_path / "forces.npy"]
        subprocess.run(run, env=os.environ | {"BPNUMBA_KERNELS": kernels}, check=True, stderr=subprocess.DEVNULL)
        np.testing.assert_allclose(np.load(tmp_path / "forces.npy"), expected, rtol=0, atol=1e-12)


def test_pairs_of_other_functions_are_refused(silicon, carbide):
    functions = carbide.symmetry_functions
    wider = SymmetryFunctions(["Si", "C"], CUTOFF + 1.0, g2_params=[[0.1, 0.0]])
    for other in (silicon.symmetry_functions, wider):
        if not other.parts:
            pytest.skip("no fast kernels on this machine")
        with pytest.raises(ValueError, match=r"these pairs were made for .* take pairs of their own pair_list\(\)"):
            functions.describe(other.pair_list().pairs(rattled("Si")))
    narrow = SymmetryFunctions(["Si"], CUTOFF, g4_params=[[0.01, 1, 1]])
    wide = SymmetryFunctions(["Si"], CUTOFF, g5_params=[[0.01, 1, 1]])
    with pytest.raises(ValueError, match="these pairs are for other kernels"):
        wide.describe(narrow.pair_list().pairs(rattled("Si")))


def test_plain_kernels_give_the_same(carbide, monkeypatch):
    """Where a processor lacks what the fast kernels need."""
    atoms = rattled("SiC", (2, 1, 1))
    fast = with_calculator(atoms, carbide)
    fast.get_forces()
    monkeypatch.setenv("BPNUMBA_KERNELS", "plain")
    functions = SymmetryFunctions.from_functions(carbide.symmetry_functions.functions)
    plain = with_calculator(atoms, replace(carbide, symmetry_functions=functions))
    assert type(plain.calc.pair_list).__name__ == "FreshList"
    np.testing.assert_allclose(plain.get_forces(), fast.get_forces(), rtol=0, atol=1e-12)
    np.testing.assert_allclose(plain.get_stress(), fast.get_stress(), rtol=0, atol=1e-12)


def test_results_are_kept_until_the_atoms_change(silicon, monkeypatch):
    atoms, calls = with_calculator(rattled(), silicon), []
    evaluate = Potential.evaluate
    monkeypatch.setattr(Potential, "evaluate", lambda *given: calls.append(1) or evaluate(*given))
    energy = atoms.get_potential_energy()
    assert atoms.get_potential_energy(force_consistent=True) == energy
    for get in (atoms.get_forces, atoms.get_stress, atoms.get_potential_energies):
        get()[:] = 0.0  # results are copies
    atoms.set_initial_magnetic_moments(np.ones(len(atoms)))
    assert np.abs(atoms.get_forces()).max() > 0.0
    assert len(calls) == 1
    atoms.positions[0, 0] += 0.01
    assert atoms.get_potential_energy() != energy
    atoms.pbc = False
    atoms.get_forces()
    assert len(calls) == 3


def test_stress_needs_three_periodic_directions(silicon):
    atoms = with_calculator(rattled(), silicon)
    atoms.pbc = (True, True, False)
    with pytest.raises(PropertyNotImplementedError, match=r"periodic directions; these atoms have pbc \[True, True"):
        atoms.get_stress()
    assert np.isfinite(atoms.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()  # also when energy and forces are known
    assert atoms.get_forces().shape == (8, 3)


def test_stress_of_a_slab_leaves_nothing_of_the_crystal(silicon):
    """Whoever calls `calculate` himself, as mixing calculators do, gets the energy of the atoms that he asks about."""
    atoms, calculator = rattled(), BPCalculator(silicon, on_extrapolation="ignore")
    calculator.calculate(atoms, ["energy"])
    slab = atoms.copy()
    slab.pbc = (True, True, False)
    slab.cell[2] *= 3
    with pytest.raises(PropertyNotImplementedError):
        calculator.calculate(slab, ["stress"])
    assert calculator.results == {}
    assert calculator.get_potential_energy(slab) == silicon.evaluate(slab).energy_m[0]
    assert calculator.get_potential_energy(slab) != silicon.evaluate(atoms).energy_m[0]


def test_nothing_is_left_after_a_failure(silicon):
    atoms, calculator = rattled(), BPCalculator(silicon)
    calculator.calculate(atoms, ["energy"])
    carbon = atoms.copy()
    carbon.symbols[0] = "C"
    for _ in range(2):
        with pytest.raises(ValueError, match="atom 0 is C"):
            calculator.calculate(carbon, ["energy"])
        with pytest.raises(ValueError, match="atom 0 is C"):
            calculator.get_potential_energy(carbon)


def test_parameters_are_told_and_cannot_be_set(silicon):
    calculator = BPCalculator(silicon)
    before = dict(calculator.parameters)
    assert before == {"model": "in memory", "species": "Si", "cutoff": silicon.cutoff, "on_extrapolation": "warn",
                      "skin": 0.5}
    with pytest.raises(ValueError, match=r"^cutoff, model cannot be set: a trained potential has no free parameters"):
        calculator.set(cutoff=3.0, model="other")
    assert calculator.parameters == before
    assert calculator.set() == {}


def test_bad_frames_of_a_long_list_are_named(silicon):
    """Beyond the first batch, too: frame as in the list, atom as in the frame."""
    frames = [rattled()] * 1500
    for bad, message in [
        (spoiled(position=np.nan), r"^frame 1400: the position of atom 3 \(Si\) is not finite"),
        (spoiled(symbols="Si5CSi2"), "^frame 1400: atom 5 is C, which has no symmetry functions"),
    ]:
        for use in (silicon.evaluate, lambda frames: values(silicon.symmetry_functions, frames)):
            with pytest.raises(ValueError, match=message):
                use([*frames[:1400], bad, *frames[1401:]])
    nan = replace(silicon, reference_energies={"Si": np.nan})
    with pytest.raises(ValueError, match=r"energy or forces are not finite \(structure 0\)"):
        nan.evaluate(frames[:2])


def test_forces_that_are_not_finite_name_the_structure(silicon, monkeypatch):
    predict = Potential.predict

    def spoiled_predict(self, pairs):
        prediction = predict(self, pairs)
        prediction.forces_ac[9] = np.nan
        return prediction

    monkeypatch.setattr(Potential, "predict", spoiled_predict)
    with pytest.raises(ValueError, match=r"energy or forces are not finite \(structure 1\)"):
        silicon.evaluate([rattled(), rattled()])


def test_pickle_copy_and_files(silicon, tmp_path):
    atoms = with_calculator(rattled(), silicon)
    energy = atoms.get_potential_energy()
    again = pickle.loads(pickle.dumps(atoms))
    assert again.get_potential_energy() == energy
    again.positions[0] += 0.1
    assert again.get_potential_energy() != energy
    assert atoms.copy().calc is None
    atoms.get_forces()
    for name in ("frame.traj", "frame.extxyz", "frame.json"):
        write(tmp_path / name, atoms)
        assert read(tmp_path / name).get_potential_energy() == pytest.approx(energy, abs=1e-7)


def test_from_a_file(silicon, tmp_path):
    save(silicon, tmp_path / "si.npz")
    one, two = with_calculator(rattled(), silicon), with_calculator(rattled(), tmp_path / "si.npz")
    assert one.get_forces().tobytes() == two.get_forces().tobytes()
    known = {"model": str(tmp_path / "si.npz"), "species": "Si", "cutoff": CUTOFF, "on_extrapolation": "ignore",
             "skin": 0.5}
    assert two.calc.todict() == known
    with pytest.raises(FileNotFoundError, match="none"):
        BPCalculator(tmp_path / "none.npz")
    with pytest.raises(TypeError, match="a Committee, a Composite or the path of a model file, not float"):
        BPCalculator(1.0)


def test_relaxation_of_positions_and_cell(silicon):
    atoms = with_calculator(rattled(amplitude=0.02), silicon)
    start = atoms.get_potential_energy()
    optimizer = BFGS(FrechetCellFilter(atoms), logfile=None)
    optimizer.run(fmax=0.05, steps=15)
    assert atoms.get_potential_energy() < start


def test_molecular_dynamics_conserves_energy_and_momentum(silicon):
    """Velocity Verlet is of second order: half the step, a quarter of the fluctuation."""
    momenta = np.random.default_rng(0).normal(0.0, np.sqrt(28.085 * 300 * units.kB), (8, 3))

    def fluctuation(femtoseconds):
        atoms = with_calculator(rattled(amplitude=0.05), silicon)
        atoms.set_momenta(momenta - momenta.mean(axis=0))
        dynamics, energies = VelocityVerlet(atoms, femtoseconds * units.fs), []
        dynamics.attach(lambda: energies.append(atoms.get_total_energy()), interval=1)
        dynamics.run(int(100 / femtoseconds))
        assert np.abs(atoms.get_momenta().sum(axis=0)).max() < 1e-10
        return np.ptp(energies)

    assert fluctuation(0.5) / fluctuation(0.25) == pytest.approx(4.0, abs=0.5)


def test_langevin_and_trajectory(silicon, tmp_path):
    atoms = with_calculator(rattled(), silicon)
    rng = np.random.default_rng(0)
    dynamics = Langevin(atoms, 1.0 * units.fs, temperature_K=300, friction=0.01 / units.fs, rng=rng, fixcm=False)
    with Trajectory(tmp_path / "md.traj", "w", atoms) as trajectory:
        dynamics.attach(trajectory.write, interval=1)
        dynamics.run(5)
    frames = read(tmp_path / "md.traj", ":")
    assert len(frames) == 6
    assert frames[-1].get_potential_energy() == atoms.get_potential_energy()
    assert np.array_equal(frames[-1].get_forces(), atoms.get_forces())


def test_phonons(silicon, tmp_path):
    phonons = Phonons(bulk("Si"), BPCalculator(silicon), supercell=(2, 2, 2), name=str(tmp_path / "phonons"))
    phonons.run()
    phonons.read(acoustic=True)
    energies = phonons.band_structure([[0.0, 0.0, 0.0]], verbose=False)[0]
    assert np.isfinite(energies).all()
    assert np.abs(energies[np.argsort(np.abs(energies))[:3]]).max() < 1e-3  # acoustic


# ---- bad input (what must happen is in the table of physics.md, section 7) -------------------------------------------


def spoiled(**changes):
    """A structure with something wrong."""
    atoms = rattled()
    for name, value in changes.items():
        if name == "position":
            atoms.positions[3, 1] = value
        elif name == "twin":
            atoms.positions[5] = atoms.positions[2] + value
        elif name == "cell":
            atoms.cell[:] = value
        else:
            setattr(atoms, name, value)
    return atoms


BAD = {
    "nan position": (spoiled(position=np.nan), r"position of atom 3 \(Si\) is not finite"),
    "infinite position": (spoiled(position=np.inf), r"position of atom 3 \(Si\) is not finite"),
    "nan cell": (spoiled(cell=np.full((3, 3), np.nan)), "the cell is not finite"),
    "one place": (spoiled(twin=0.0), r"atom 2 \(Si\) and atom 5 \(Si\) are at one place"),
    "one place as an image": (spoiled(twin=np.array([5.43, 0, 0])), r"atom 2 .* atom 5 \(Si\) shifted .* one place"),
    "own image": (spoiled(cell=np.diag([1e-5, 5.0, 5.0])), "no volume"),
    "flat cell": (spoiled(cell=[[5, 0, 0], [0, 5, 0], [5, 5, 0]]), "the cell has no volume in the periodic directions"),
    "no cell": (spoiled(cell=np.zeros((3, 3))), "the cell has no volume in the periodic directions"),
    "unknown element": (spoiled(symbols="Si4CSi3"), "atom 4 is C, which has no symmetry functions; supported: Si"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name, silicon):
    atoms, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        with_calculator(atoms, silicon).get_potential_energy()


def test_calculator_works_after_bad_input(silicon):
    atoms = with_calculator(rattled(), silicon)
    energy, x = atoms.get_potential_energy(), atoms.positions[3, 1]
    atoms.positions[3, 1] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        atoms.get_forces()
    atoms.positions[3, 1] = x
    assert atoms.get_potential_energy() == energy


def test_few_atoms(silicon):
    none = with_calculator(Atoms(), silicon)
    assert none.get_potential_energy() == 0.0
    assert none.get_forces().shape == (0, 3)
    single, two = with_calculator(Atoms("Si"), silicon), with_calculator(Atoms("Si2", [[0, 0, 0], [0, 0, 9]]), silicon)
    assert np.array_equal(single.get_forces(), np.zeros((1, 3)))
    assert two.get_potential_energy() == pytest.approx(2 * single.get_potential_energy(), rel=1e-14)
    alone = with_calculator(Atoms("Si", cell=[20, 20, 20], pbc=True), silicon)
    assert not alone.get_stress().any()


def test_left_handed_cell_and_atoms_outside(silicon):
    atoms = with_calculator(structures()["skew"], silicon)
    left = with_calculator(atoms, silicon)
    left.set_cell(atoms.cell.array[[1, 0, 2]])
    outside = with_calculator(atoms, silicon)
    outside.positions += np.array([[3, -2, 7], [-4, 0, 1]]) @ atoms.cell.array
    for other in (left, outside):
        same(other.get_potential_energy(), atoms.get_potential_energy())
        same(other.get_forces(), atoms.get_forces())
        same(other.get_stress(), atoms.get_stress())


@pytest.mark.parametrize("change", [lambda x: x.astype(np.float32), lambda x: np.repeat(x, 2, axis=1)[:, ::2],
                                    np.asfortranarray, lambda x: np.rint(x).astype(int)])  # fmt: skip
def test_kinds_of_arrays(silicon, change):
    positions = change(rattled().positions)
    atoms, plain = rattled(), rattled()
    atoms.arrays["positions"] = positions
    plain.positions = np.array(positions, dtype=float)
    one, two = with_calculator(atoms, silicon), with_calculator(plain, silicon)
    assert one.get_potential_energy() == two.get_potential_energy()
    assert np.array_equal(one.get_forces(), two.get_forces())


def test_pickled_potential_is_small(silicon):
    assert len(pickle.dumps(silicon)) < 50_000
    assert pickle.load(io.BytesIO(pickle.dumps(silicon))).theta.tobytes() == silicon.theta.tobytes()

"""The physics report against potentials whose answers are known, and against direct calculations."""

import json

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from ase.neighborlist import neighbor_list
from ase.optimize import FIRE

import bpnumba
from bpnumba import cli, plots_properties
from bpnumba.elasticity import elastic_constants, relax
from bpnumba.properties.choice import choose, kind_of
from bpnumba.properties.crystal import equation_of_state, vacancy_energy
from bpnumba.properties.dynamics import energy_conservation, radial_distribution, suitable_timestep, thermalize
from bpnumba.properties.lattice import bravais, heights, primitive, repeats
from bpnumba.properties.report import Row, Section, examine
from bpnumba.properties.vibrations import PER_CM, force_constants, molecular_frequencies, phonon_bands
from bpnumba.units import GPA

PNG = b"\x89PNG"


def ground(symbol):
    atoms = bulk(symbol)
    atoms.calc = EMT()
    return relax(atoms, fmax=1e-5)


@pytest.fixture(scope="module")
def copper():
    return ground("Cu")


@pytest.fixture(scope="module")
def aluminium():
    return ground("Al")


# ---- lattice --------------------------------------------------------------------------------------------------------

CRYSTALS = {
    "silicon": (lambda: bulk("Si", cubic=True) * (2, 2, 1), 2, "FCC"),
    "iron": (lambda: bulk("Fe", cubic=True) * (3, 2, 2), 1, "BCC"),
    "magnesium": (lambda: bulk("Mg") * (2, 2, 3), 2, "HEX"),
    "salt": (lambda: bulk("NaCl", "rocksalt", a=5.6, cubic=True) * (1, 2, 1), 2, "FCC"),
    "stretched iron": (lambda: bulk("Fe", "bct", a=2.8, c=3.3) * (2, 2, 2), 1, "BCT"),
    "cesium chloride": (lambda: bulk("CsCl", "cesiumchloride", a=4.1) * (2, 1, 3), 2, "CUB"),
    "already primitive": (lambda: bulk("Bi"), 2, "RHL"),
}


def shells(atoms, radius=4.5):
    """Sorted distances around an average atom, with the elements."""
    i, j, d = neighbor_list("ijd", atoms, radius)
    key = sorted(zip(*(np.sort([atoms.numbers[i], atoms.numbers[j]], axis=0)), d))
    return np.array(key)[:: len(atoms)], len(d) / len(atoms)


@pytest.mark.parametrize("name", CRYSTALS)
@pytest.mark.parametrize("mirrored", [1.0, -1.0])
def test_primitive_cell_is_the_same_crystal(name, mirrored):
    make, n, lattice = CRYSTALS[name]
    atoms = make()
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turn *= mirrored * np.linalg.det(turn)
    turned = Atoms(atoms.numbers, atoms.positions @ turn + 0.3, cell=atoms.cell.array @ turn, pbc=True)
    found = primitive(turned)
    assert len(found) == n
    assert bravais(found).name == lattice
    assert found.cell.array == pytest.approx(bravais(found).tocell().array, abs=1e-8)
    assert found.get_volume() / n == pytest.approx(atoms.get_volume() / len(atoms), rel=1e-9)
    (wanted, many), (distances, as_many) = shells(atoms), shells(found)
    assert as_many == pytest.approx(many)
    assert distances == pytest.approx(wanted, abs=1e-6)


def test_small_displacements_are_averaged_and_large_ones_are_kept():
    atoms = bulk("Si", cubic=True) * 2
    atoms.rattle(0.005, seed=1)
    assert len(primitive(atoms)) == 2
    atoms.positions[5] += 0.3
    assert len(primitive(atoms)) == len(atoms)
    assert np.sort(primitive(atoms).get_all_distances(mic=True).ravel()) == pytest.approx(
        np.sort(atoms.get_all_distances(mic=True).ravel()), abs=1e-4
    )


def test_supercells():
    atoms = bulk("Cu")
    assert heights(atoms.cell) == pytest.approx(3 * [3.61 / 3**0.5])
    assert repeats(atoms, 10.0) == (5, 5, 5)
    assert repeats(atoms, 6 * 3.61 / 3**0.5) == (6, 6, 6)
    assert repeats(atoms, 6 * 3.61 / 3**0.5, step=2) == (7, 7, 7)
    assert repeats(atoms, 0.1) == (1, 1, 1)


# ---- crystals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["copper", "aluminium"])
def test_equation_of_state_agrees_with_elastic_constants(name, request):
    atoms = request.getfixturevalue(name)
    state, stiffness = equation_of_state(atoms, span=0.03), elastic_constants(atoms)
    c = stiffness.independent()
    assert stiffness.symmetry == "cubic"
    assert state.bulk_modulus == pytest.approx((c["C11"] + 2 * c["C12"]) / 3, rel=5e-3)
    assert state.bulk_modulus == pytest.approx(stiffness.bulk_modulus, rel=5e-3)
    assert state.volume == pytest.approx(atoms.get_volume(), rel=1e-3)
    assert state.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-4)
    assert state.fit(state.volume_k) == pytest.approx(state.energy_k, abs=1e-4)
    assert state.known_k.all()


class Murnaghan(Calculator):
    """A solid that knows its volume only: E = 9 V0 B/16 x^2 (2 + (B' - 4) x), x = (V0/V)^(2/3) - 1."""

    implemented_properties = ["energy", "forces", "stress"]
    V0, B, slope = 20.0, 0.6, 4.7  # Angstrom^3, eV/Angstrom^3

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)

        def energy(V):
            x = (self.V0 / V) ** (2 / 3) - 1
            return 9 * self.V0 * self.B / 16 * x**2 * (2 + (self.slope - 4) * x)

        V = atoms.get_volume()
        pressure = (energy(V - 1e-4) - energy(V + 1e-4)) / 2e-4
        self.results = {"energy": energy(V), "forces": np.zeros((len(atoms), 3)),
                        "stress": -pressure * np.array([1, 1, 1, 0, 0, 0])}  # fmt: skip


def test_equation_of_state_gives_back_what_was_put_in():
    atoms = bulk("Cu", a=(4 * 20.0) ** (1 / 3))
    atoms.calc = Murnaghan()
    state = equation_of_state(atoms)
    assert state.volume == pytest.approx(20.0, abs=1e-4)
    assert state.bulk_modulus == pytest.approx(0.6 * GPA, rel=1e-4)
    assert state.derivative == pytest.approx(4.7, abs=1e-2)
    assert state.residual < 1e-3
    atoms = bulk("Cu", a=(4 * 24.0) ** (1 / 3))
    atoms.calc = Murnaghan()
    with pytest.raises(RuntimeError, match="no minimum between"):
        equation_of_state(atoms)


def test_vacancy_against_a_calculation_by_hand(copper):
    found = vacancy_energy(copper, width=7.0)
    cell = copper.copy() * repeats(copper, 7.0)
    energy = len(cell) * copper.get_potential_energy()
    del cell[7]  # all sites are the same
    cell.calc = EMT()
    n = len(cell)
    assert found.n_atoms == n + 1
    assert found.unrelaxed == pytest.approx(cell.get_potential_energy() - n / (n + 1) * energy, abs=1e-6)
    assert FIRE(cell, logfile=None).run(fmax=1e-3, steps=500)
    assert found.relaxed == pytest.approx(cell.get_potential_energy() - n / (n + 1) * energy, abs=2e-3)
    assert found.relaxed < found.unrelaxed


def test_vacancy_of_a_compound_is_refused():
    atoms = bulk("CuAu", "cesiumchloride", a=3.1)
    atoms.calc = EMT()
    with pytest.raises(ValueError, match="AuCu has several elements"):
        vacancy_energy(atoms)


# ---- vibrations ------------------------------------------------------------------------------------------------------


def direct(atoms, n, q):
    """Frequencies in THz from displaced primitive sublattices: forces on a supercell that q fits into, no Fourier sum
    over images; all cells are displaced by cos and sin of q . R."""
    cell = atoms.copy() * (n, n, n)
    cell.calc = atoms.calc
    R = np.round(np.linalg.solve(atoms.cell.array.T, (cell.positions - np.tile(atoms.positions, (n**3, 1))).T)).T
    phase, size, h = np.exp(2j * np.pi * R @ q), len(atoms), 1e-3
    D = np.zeros((3 * size, 3 * size), dtype=complex)
    for a in range(size):
        mine = np.arange(len(cell)) % size == a
        for c in range(3):
            for factor, part in ((1.0, phase.real), (1j, phase.imag)):
                forces = []
                for sign in (1, -1):
                    moved = cell.copy()
                    moved.calc = atoms.calc
                    moved.positions[mine, c] += sign * h * part[mine]
                    forces.append(moved.get_forces())
                D[:, 3 * a + c] += factor * -((forces[0] - forces[1]) / (2 * h))[:size].ravel()
    mass = np.repeat(atoms.get_masses(), 3)
    square = np.linalg.eigvalsh(0.5 * (D + D.conj().T) / np.sqrt(np.outer(mass, mass)))
    eV_THz = 1e-12 * units._e / units._hplanck
    return np.sign(square) * np.sqrt(np.abs(square)) * units._hbar * 1e10 / np.sqrt(units._e * units._amu) * eV_THz


@pytest.mark.parametrize("q", [(0.5, 0.5, 0.0), (0.5, 0.5, 0.5), (0.5, 0.25, 0.75), (0.25, 0.0, 0.25)])
def test_phonons_against_frozen_waves(copper, q):
    found = force_constants(copper, width=10.0).frequencies(q)
    assert found == pytest.approx(direct(copper, 4, np.array(q)), abs=0.02)


def test_phonons_of_two_elements_against_frozen_waves():
    atoms = bulk("CuAu", "cesiumchloride", a=3.1)
    atoms.calc = EMT()
    atoms = primitive(relax(atoms, fmax=1e-5))
    constants = force_constants(atoms, width=12.0)
    for q in ((0.5, 0.0, 0.0), (0.5, 0.5, 0.25)):
        assert constants.frequencies(q) == pytest.approx(direct(atoms, 4, np.array(q)), abs=0.03)


def test_acoustic_modes(copper):
    """Zero at Gamma; near it, sound along x as the elastic constants say: v^2 = C11/rho and C44/rho."""
    constants, c = force_constants(copper), elastic_constants(copper).independent()
    assert np.abs(constants.frequencies((0, 0, 0))).max() < 1e-5
    density = copper.get_masses().sum() * units._amu / (copper.get_volume() * 1e-30)
    h = 0.01  # q = h (0, 1, 1) of the reciprocal cell lies along x: 2 pi/a (2 h, 0, 0)
    wave = 2 * np.pi * np.array([0, h, h]) @ np.linalg.inv(copper.cell.array).T
    assert np.abs(wave[1:]).max() < 1e-9
    speeds = 2 * np.pi * 1e12 * constants.frequencies((0, h, h)) / (np.linalg.norm(wave) * 1e10)
    wanted = [np.sqrt(c[name] * 1e9 / density) for name in ("C44", "C44", "C11")]
    assert speeds == pytest.approx(wanted, rel=0.01)


def test_bands(copper):
    double = copper * (2, 1, 1)  # its primitive cell is found
    double.calc = copper.calc
    bands = phonon_bands(double, width=10.0)
    assert bands.n_atoms == 125
    assert [names for _, names in bands.ticks] == "G X W K G L U W L K|U X".split()
    assert bands.imaginary() is None
    assert np.abs(bands.at("G")).max() < 1e-5
    assert bands.at("K") == pytest.approx(bands.at("U"), abs=1e-3)  # the same point in the next zone
    assert bands.at("X")[0] == pytest.approx(bands.at("X")[1], abs=1e-3)


def test_imaginary_modes_are_named():
    """A simple cubic crystal of Lennard-Jones atoms wants to shear."""
    atoms = bulk("Ar", "sc", a=1.08)
    atoms.calc = LennardJones(rc=2.5, smooth=True)
    q, frequency = phonon_bands(atoms, width=5.0).imaginary()
    assert frequency < -0.05
    assert len(q) == 3


def test_molecule():
    """Two atoms on a spring: omega^2 = k/mu, k of Lennard-Jones 57.15 epsilon/sigma^2."""
    atoms = Atoms("Ar2", [[0, 0, 0], [0, 0, 2 ** (1 / 6)]])
    atoms.calc = LennardJones(rc=20.0)
    found = molecular_frequencies(relax(atoms, fmax=1e-6), delta=1e-3)
    mu = 0.5 * atoms.get_masses()[0] * units._amu
    wanted = np.sqrt(72 / 2 ** (1 / 3) * units._e * 1e20 / mu) / (2 * np.pi) * 1e-12
    assert np.abs(found[:5]).max() < 1e-2 * wanted
    assert found[5] == pytest.approx(wanted, rel=1e-3)
    assert PER_CM == pytest.approx(0.0299792458)


# ---- molecular dynamics ----------------------------------------------------------------------------------------------


class Springs(Calculator):
    """Every atom on a spring of its own."""

    implemented_properties = ["energy", "forces"]
    k = 5.0

    def __init__(self, places):
        super().__init__()
        self.places = places

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        d = atoms.positions - self.places
        self.results = {"energy": 0.5 * self.k * float((d * d).sum()), "forces": -self.k * d,
                        "extrapolation": (np.arange(len(atoms)) < 2).astype(int)}  # fmt: skip


def springs(n=50):
    rng = np.random.default_rng(1)
    atoms = Atoms(f"Ar{n}", rng.uniform(0, 20, (n, 3)), cell=20 * np.eye(3), pbc=True)
    atoms.calc = Springs(atoms.positions.copy())
    atoms.set_momenta(rng.normal(size=(n, 3)) * np.sqrt(39.95 * units.kB * 300))
    return atoms


def test_energy_is_conserved_as_the_square_of_the_step():
    long, short = (energy_conservation(springs(), time=1.0, timestep=step) for step in (8.0, 4.0))
    assert long.fluctuation / short.fluctuation == pytest.approx(4.0, rel=0.1)
    assert abs(short.drift) < 0.2 * short.fluctuation
    assert len(short.time_k) == 251
    assert short.time_k[-1] == pytest.approx(1.0)


def test_a_drift_is_seen():
    """A force f that the energy does not know does work: free atoms that move along it gain f (v t + f t^2/2m)."""
    f, v = 1e-3, 0.05  # eV/Angstrom, Angstrom per unit of time of ASE

    class Pushing(Springs):
        k = 0.0

        def calculate(self, atoms=None, properties=("energy",), system_changes=()):
            super().calculate(atoms, properties, system_changes)
            self.results["forces"] = self.results["forces"] + [f, 0.0, 0.0]

    atoms = springs(4)
    atoms.calc, mass = Pushing(atoms.calc.places), atoms.get_masses()[0]
    atoms.set_velocities([[v, 0.0, 0.0]] * 4)
    found = energy_conservation(atoms, time=0.2, timestep=2.0)
    t = 200 * units.fs
    assert found.drift == pytest.approx(1000 * (f * v * t + f**2 * t**2 / (2 * mass)) / 0.2, rel=1e-3)


def test_thermostat():
    """Mean temperature of many springs, within five standard errors; atoms outside of the training data are counted."""
    found = thermalize(springs(200), temperature=200.0, time=2.0, timestep=5.0, seed=1)
    assert found.temperature == pytest.approx(200.0, rel=0.15)
    assert found.outside == pytest.approx(2 / 200)
    assert np.abs(found.atoms.get_momenta().sum(axis=0)).max() < 1e-9
    again = thermalize(springs(200), temperature=200.0, time=2.0, timestep=5.0, seed=1)
    assert np.array_equal(again.atoms.positions, found.atoms.positions)


def test_atoms_that_fly_away_are_noticed():
    atoms = springs()
    atoms.calc.k = -5.0
    with pytest.raises(RuntimeError, match=r"the atoms fly away: .* K after .* ps"):
        thermalize(atoms, time=1.0)
    with pytest.raises(RuntimeError, match=r"the atoms fly away: .* K after .* ps"):
        energy_conservation(atoms, time=1.0)


def test_time_steps():
    assert [suitable_timestep(Atoms(symbols)) for symbols in ("H2O", "CO2", "Si2")] == [0.5, 1.0, 2.0]


def test_ideal_gas():
    """Uncorrelated atoms: g = 1 within five standard errors of the counts, also for two elements."""
    rng = np.random.default_rng(0)
    frames = [Atoms("Ar40Ne20", rng.uniform(0, 1, (60, 3)) @ CELL, cell=CELL, pbc=True) for _ in range(100)]
    found = radial_distribution(frames, width=0.2)
    assert set(found.g) == {("Ar", "Ar"), ("Ar", "Ne"), ("Ne", "Ne")}
    assert found.r_k[-1] < 0.5 * heights(CELL).min()
    for (a, b), n_pairs in ((("Ar", "Ar"), 40 * 39 / 2), (("Ar", "Ne"), 40 * 20), (("Ne", "Ne"), 20 * 19 / 2)):
        shell = 4 * np.pi * found.r_k**2 * 0.2
        error = 1 / np.sqrt(100 * n_pairs * shell / abs(np.linalg.det(CELL)))
        far = found.r_k > 1.0
        assert (np.abs(found.g[a, b] - 1)[far] < 5 * error[far]).all()


CELL = np.array([[12.0, 0, 0], [3.0, 11.0, 0], [-2.0, 1.0, 13.0]])


def test_shells_of_a_crystal():
    atoms = bulk("Cu", cubic=True, a=3.61) * 4
    found = radial_distribution([atoms], r_max=6.0)
    filled = found.r_k[found.g["Cu", "Cu"] > 0]
    wanted = 3.61 * np.sqrt([0.5, 1.0, 1.5, 2.0, 2.5])
    assert filled == pytest.approx(wanted, abs=0.025 + 1e-9)
    steps = found.coordination["Cu", "Cu"]
    assert [steps[np.searchsorted(found.r_k, r + 0.1)] for r in wanted] == [12, 18, 42, 54, 78]
    place, height, end, neighbors = found.first_shell(("Cu", "Cu"))
    assert place == pytest.approx(3.61 / 2**0.5, abs=0.05)
    assert neighbors == pytest.approx(12)


def test_radial_distribution_of_small_cells_counts_images():
    """Beyond half a cell, what a supercell says."""
    atoms = Atoms("SiC", [[0, 0, 0], [1.1, 1.2, 1.4]], cell=[3.0, 3.1, 3.3], pbc=True)
    one, many = (radial_distribution([a], r_max=4.0).coordination["C", "Si"] for a in (atoms, atoms * 4))
    assert one == pytest.approx(many)
    with pytest.raises(ValueError, match="periodic in three directions"):
        radial_distribution([molecule("H2O")])
    with pytest.raises(ValueError, match="needs frames"):
        radial_distribution([])


# ---- which structures ------------------------------------------------------------------------------------------------


def test_kinds_of_structures():
    silicon = bulk("Si", cubic=True) * 2
    calm, wild = np.zeros((64, 3)), np.full((64, 3), 0.8)
    assert kind_of(silicon, calm) == "crystal"
    assert kind_of(silicon, wild) == "liquid"
    assert kind_of(bulk("Si"), wild[:2]) == "crystal"
    assert kind_of(molecule("CH4"), wild[:5]) == "molecule"
    assert kind_of(Atoms("Si"), wild[:1]) is None
    surface = silicon.copy()
    surface.cell[2, 2] += 12.0
    assert kind_of(surface, calm) is None
    wire = silicon.copy()
    wire.pbc = [True, False, False]
    assert kind_of(wire, calm) is None


def test_the_lowest_of_the_most_frequent_formula():
    frames = [bulk("Si", a=5.6), bulk("Si"), bulk("SiC", "zincblende", a=4.4), molecule("SiH4")]
    found = choose(frames, list("abcd"), [-8.0, -10.0, -20.0, -5.0], [np.zeros((len(a), 3)) for a in frames])
    assert {kind: name for kind, (name, _) in found.items()} == {"crystal": "b", "molecule": "d"}


# ---- the report ------------------------------------------------------------------------------------------------------


def test_report_of_a_metal(tmp_path):
    atoms = bulk("Cu", cubic=True)
    seen = list(examine(EMT(), {"crystal": ("fcc", atoms)}, time=0.03))
    assert [section.part for section in seen] == ["lattice", "elastic constants", "equation of state", "vacancy",
                                                  "phonons", "molecular dynamics"]  # fmt: skip
    assert not [section for section in seen if section.failed or section.notes]
    text = "\n".join(map(str, seen)) + "\n"
    assert "crystal: fcc\nlattice\n" in text
    assert "lattice constant a 3.590 Angstrom" in " ".join(text.split())
    for unit in ("GPa", "Angstrom^3/atom", "eV/atom", "THz", "ps", "fs", "K", "meV/atom/ps"):
        assert f" {unit}\n" in text
    plain = json.loads(json.dumps([section.to_json() for section in seen], allow_nan=False))
    assert plain[0]["lattice_constant_a_angstrom"] == pytest.approx(3.59, abs=1e-3)
    assert plain[1]["c11_gpa"] == pytest.approx(172.6, abs=0.5)
    paths = plots_properties.draw(seen, tmp_path)
    assert {path.name for path in paths} == {"equation_of_state.png", "phonons.png", "radial_distribution.png",
                                             "energy.png"}  # fmt: skip
    assert all(path.read_bytes().startswith(PNG) for path in paths)


def test_report_of_a_liquid_and_a_molecule(tmp_path):
    rng = np.random.default_rng(0)
    gas = Atoms("Ar16", 1.3 * np.indices((4, 2, 2)).reshape(3, -1).T + 0.02 * rng.normal(size=(16, 3)),
                cell=[5.2, 2.6, 2.6], pbc=True)  # fmt: skip
    pair = Atoms("Ar2", [[0, 0, 0], [0, 0, 1.2]])
    calculator = LennardJones(epsilon=0.01, rc=2.5, smooth=True)
    seen = list(examine(calculator, {"liquid": ("l", gas), "molecule": ("m", pair)}, temperature=20.0, time=0.1))
    assert [(section.kind, section.part) for section in seen] == [
        ("liquid", "molecular dynamics"), ("molecule", "geometry"), ("molecule", "molecular dynamics"),
    ]  # fmt: skip
    assert not [section.failed for section in seen if section.failed]
    assert len(plots_properties.draw(seen, tmp_path)) == 3


class Broken(EMT):
    """Says something impossible as soon as an atom is missing, and does not know stress."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        if len(atoms) == 124:
            raise ValueError("an atom is missing")
        super().calculate(atoms, properties, system_changes)
        if len(atoms) > 200:
            self.results["forces"] = self.results["forces"] * np.nan


def test_what_fails_says_so_and_the_rest_goes_on():
    with np.errstate(all="ignore"):
        seen = {s.part: s for s in examine(Broken(), {"crystal": ("fcc", bulk("Cu"))}, time=0.02)}
    assert seen["vacancy"].failed == "an atom is missing"
    assert "  failed: an atom is missing" in str(seen["vacancy"])
    assert seen["phonons"].failed
    assert seen["molecular dynamics"].failed is None
    assert seen["lattice"].failed is None


def test_without_a_lattice_there_is_nothing_else():
    crystal = Atoms("Xe", cell=np.eye(3), pbc=True)
    (only,) = examine(EMT(), {"crystal": ("xenon", crystal)})
    assert only.failed


def test_numbers_that_are_none_are_not_printed():
    section = Section((Row("good", 1.0, 1, "eV"), Row("bad", np.nan, 1, "eV")), part="x").checked()
    assert "nan" not in str(section).lower()
    assert section.notes == ("bad is not finite",)
    assert Row("lattice constant a", 1.0, 1, "eV/Angstrom^3").key == "lattice_constant_a_ev_per_angstrom3"


# ---- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A potential that has learned EMT copper near its ground state, in a second."""
    folder, frames = tmp_path_factory.mktemp("properties"), []
    for seed in range(24):
        rng = np.random.default_rng(seed)
        atoms = bulk("Cu", cubic=True, a=3.59 * (1 + 0.02 * rng.normal()))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3))), scale_atoms=True)
        atoms.rattle(0.08 if seed else 0.0, seed=seed)
        atoms.calc = EMT()
        found = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces(), "stress": atoms.get_stress()}
        atoms.calc = SinglePointCalculator(atoms, **found)
        frames.append(atoms)
    write(folder / "copper.xyz", frames, format="extxyz")
    arguments = ["fit", str(folder / "copper.xyz"), "--output", str(folder / "copper.npz"), "--max-iterations", "150",
                 "--cutoff", "5", "--n-functions", "10", "--hidden", "8", "--seed", "0"]  # fmt: skip
    assert cli.main(arguments) == 0
    return folder


def test_command(fitted, capsys, tmp_path):
    json_path, folder = tmp_path / "out.json", tmp_path / "pictures"
    arguments = ["evaluate", str(fitted / "copper.npz"), str(fitted / "copper.xyz"), "--json", str(json_path),
                 "--time", "0.02", "--temperature", "50", "--properties", str(folder)]  # fmt: skip
    capsys.readouterr()
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "properties, with molecular dynamics of 2 x 0.02 ps at 50 K" in text
    assert "crystal: " in text
    assert "Bravais lattice FCC" in " ".join(text.split())
    crystal = json.loads(json_path.read_text())["properties"]["crystal"]
    assert crystal["lattice"]["lattice_constant_a_angstrom"] == pytest.approx(3.59, abs=0.05)
    assert set(crystal) == {"structure", "lattice", "elastic_constants", "equation_of_state", "vacancy", "phonons",
                            "molecular_dynamics"}  # fmt: skip
    assert "NaN" not in json_path.read_text()
    assert "nan" not in text.lower()
    assert (folder / "equation_of_state.png").read_bytes().startswith(PNG)


def test_command_with_another_structure(fitted, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write("pair.xyz", Atoms("Cu2", [[0, 0, 0], [0, 0, 2.4]]))
    write("atom.xyz", Atoms("Cu"))
    arguments = ["evaluate", str(fitted / "copper.npz"), str(fitted / "copper.xyz"), "--properties", "--time", "0.01"]
    assert cli.main([*arguments, "--structure", "pair.xyz"]) == 0
    assert "molecule: pair.xyz" in capsys.readouterr().out  # it may fly apart, and then says so
    assert (tmp_path / "properties").is_dir()
    assert cli.main([*arguments, "--structure", "atom.xyz"]) == 0
    assert "no crystal, liquid or molecule to look at; name one with --structure" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "message"), [
    (["--properties", "--temperature", "-3"], "temperature of the molecular dynamics must be a positive number of K"),
    (["--properties", "--time", "nan"], "time of the molecular dynamics must be a positive number of ps, not nan"),
    (["--time", "2"], "--time belong"),
    (["--properties", "copper.xyz"], "copper.xyz is a file; --properties needs the name of a folder"),
    (["--properties", "--structure", "none.xyz"], "none.xyz"),
])  # fmt: skip
def test_mistakes_end_in_a_line(fitted, capsys, monkeypatch, options, message):
    monkeypatch.chdir(fitted)
    assert cli.main(["evaluate", "copper.npz", "copper.xyz", *options]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["elastic_constants", "equation_of_state", "vacancy_energy", "phonon_bands"])
def test_public_names(name):
    assert callable(getattr(bpnumba, name))

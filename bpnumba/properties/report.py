"""The physics report: what a potential makes of a crystal, a liquid or a molecule, part by part.

Comes in: structures, a calculator of ASE.  Goes out: one `Section` after the other, with numbers and their units, and
what is needed to draw them.  A part that fails says so in a line, and the others go on.

>>> from ase.build import bulk
>>> from ase.calculators.emt import EMT
>>> for section in examine(EMT(), {"crystal": ("copper", bulk("Cu"))}, parts=("lattice", "elastic constants")):
...     print(section)  # doctest: +NORMALIZE_WHITESPACE
crystal: copper
lattice
  Bravais lattice                     FCC
  atoms in the primitive cell           1
  lattice constant a                3.590 Angstrom
  volume                           11.565 Angstrom^3/atom
  energy                          -0.0070 eV/atom
elastic constants
  C11                               172.6 GPa
  C12                               115.4 GPa
  C44                                89.9 GPa
  bulk modulus                      134.5 GPa
  shear modulus                      56.9 GPa
"""

from typing import NamedTuple

import numpy as np

from bpnumba.elasticity import elastic_constants, relax
from bpnumba.properties.crystal import equation_of_state, vacancy_energy
from bpnumba.properties.dynamics import energy_conservation, radial_distribution, suitable_timestep, thermalize
from bpnumba.properties.lattice import bravais, primitive, repeats
from bpnumba.properties.vibrations import PER_CM, molecular_frequencies, phonon_bands

__all__ = ["PARTS", "Section", "examine"]

MANY = 32
"""Atoms of a primitive cell from which on a crystal is too large for phonons and a vacancy in a report."""

WIDTH = 10.0
"""Angstrom, least distance of opposite faces of the supercell of a crystal in molecular dynamics."""

ZERO = 1.0
"""THz, of a molecule: translations and rotations come out smaller, and count as no imaginary vibration."""

FAILURES = (RuntimeError, ValueError, ArithmeticError, MemoryError, np.linalg.LinAlgError)
"""What calculators, relaxations and fits raise of structures that they cannot handle."""

STABLE = "every small strain must cost energy, but an eigenvalue of the elastic constants is not positive: unstable"


class Row(NamedTuple):
    """A number, several numbers or a word, with its name and unit."""

    name: str
    value: object
    digits: int = 0
    unit: str = ""

    @property
    def key(self):
        """Name with unit for JSON: lattice_constant_a_angstrom."""
        unit = self.unit.replace("/", " per ").replace("^", "").replace("%", "percent")
        return "_".join(f"{self.name} {unit}".lower().replace("-", " ").replace(",", "").split())

    @property
    def is_finite(self):
        """Whether it can be printed."""
        return isinstance(self.value, str) or bool(np.isfinite(self.value).all())

    def __str__(self):
        if isinstance(self.value, str | int):
            text = f"{self.value}"
        else:
            text = " ".join(f"{value:.{self.digits}f}" for value in np.atleast_1d(self.value))
        return f"  {self.name:<29} {text:>11} {self.unit}".rstrip()


class Section(NamedTuple):
    """One part of the report."""

    rows: tuple = ()
    notes: tuple = ()
    curves: dict = {}  #: what `bpnumba.plots_properties` draws
    failed: str | None = None  #: what went wrong, in words
    kind: str = ""  #: crystal, liquid, molecule
    part: str = ""  #: name in `PARTS`
    structure: str = ""  #: name, in the first part of a kind

    def checked(self):
        """Without numbers that are not finite, which become notes."""
        wrong = tuple(f"{row.name} is not finite" for row in self.rows if not row.is_finite)
        return self._replace(rows=tuple(row for row in self.rows if row.is_finite), notes=self.notes + wrong)

    def to_json(self):
        """Plain dictionary: numbers by name with unit, "notes", and "failed" where it did."""
        plain = {row.key: np.asarray(row.value).tolist() for row in self.rows}
        return plain | {"notes": list(self.notes)} | ({} if self.failed is None else {"failed": self.failed})

    def __str__(self):
        head = [f"{self.kind}: {self.structure}"] if self.structure else []
        lines = [*head, self.part, *map(str, self.rows), *(f"  note: {note}" for note in self.notes)]
        return "\n".join(lines + ([] if self.failed is None else [f"  failed: {self.failed}"]))


def examine(calculator, structures, temperature=300.0, time=1.0, parts=None, progress=None):
    """The report, section by section, as soon as each is ready.

    Parameters
    ----------
    calculator : ase.calculators.calculator.Calculator
    structures : dict
        "crystal", "liquid", "molecule" -> (name, Atoms), of `bpnumba.properties.choice.choose`.
    temperature : float
        K, of molecular dynamics.
    time : float
        ps, of molecular dynamics with a thermostat, and again at constant energy.
    parts : sequence of str, optional
        Which of `PARTS`; by default all that apply.
    progress : callable, optional
        ``progress(label)`` gives a context whose value is called as ``report(done, of)``, as
        `bpnumba.training.progress.Steps`.

    Yields
    ------
    Section
    """
    shows = _Silent if progress is None else progress
    run = {"temperature": temperature, "time": time}
    for kind, (name, atoms) in structures.items():
        start, state = atoms.copy(), {}
        start.set_constraint()
        start.calc = calculator
        for part, work in PARTS[kind].items():
            if parts is not None and part not in parts:
                continue
            try:
                with shows(part) as report:
                    section = work(start, state, run, report)
            except FAILURES as error:
                section = Section(failed=" ".join(str(error).split()) or type(error).__name__)
            yield section._replace(kind=kind, part=part, structure=name).checked()
            name = ""
            if section.failed and part == next(iter(PARTS[kind])):
                break  # nothing is known of what the other parts need


# ---- the parts: (structure, results of parts before, settings of a run, report) -> Section ---------------------------


def _lattice(start, state, run, report):
    """Relaxed primitive cell."""
    crystal = start.copy()
    if not crystal.get_volume() > 0:
        raise ValueError("the cell has no volume")
    crystal.calc = start.calc
    crystal = relax(_smaller(crystal, 0.2), fmax=1e-3, max_steps=1000)
    state["crystal"] = crystal = relax(_smaller(crystal, 0.05), fmax=1e-4, max_steps=1000)
    lattice = bravais(crystal)
    rows = [Row("Bravais lattice", lattice.name), Row("atoms in the primitive cell", len(crystal))]
    for name, value in lattice.vars().items():
        angle = name in ("alpha", "beta", "gamma")
        label = f"angle {name}" if angle else f"lattice constant {name}"
        rows.append(Row(label, float(value), 2 if angle else 3, "degrees" if angle else "Angstrom"))
    rows += [Row("volume", crystal.get_volume() / len(crystal), 3, "Angstrom^3/atom"),
             Row("energy", crystal.get_potential_energy() / len(crystal), 4, "eV/atom")]  # fmt: skip
    return Section(tuple(rows), _outside(crystal))


def _elastic(start, state, run, report):
    found = elastic_constants(state["crystal"], report=report)
    rows = [Row(name, value, 1, "GPa") for name, value in found.independent().items()]
    if not found.is_stable:
        return Section(tuple(rows), (STABLE,))
    rows += [Row("bulk modulus", found.bulk_modulus, 1, "GPa"), Row("shear modulus", found.shear_modulus, 1, "GPa")]
    rough = found.asymmetry > 0.05 * np.abs(found.c_vv).max()
    notes = (f"the constants are symmetric only within {found.asymmetry:.1f} GPa",) if rough else ()
    return Section(tuple(rows), notes)


def _state(start, state, run, report):
    found = equation_of_state(state["crystal"], report=report)
    rows = (
        Row("volume", found.volume, 3, "Angstrom^3/atom"),
        Row("bulk modulus", found.bulk_modulus, 1, "GPa"),
        Row("its pressure derivative", found.derivative, 2),
        Row("residual of the fit", found.residual, 3, "meV/atom"),
    )
    n = int((~found.known_k).sum())
    notes = (f"{n} of {len(found.known_k)} volumes are outside the range of the training data",) if n else ()
    return Section(rows, notes, {"equation of state": found})


def _vacancy(start, state, run, report):
    crystal = _small(state["crystal"])
    found = vacancy_energy(crystal)
    rows = (
        Row("formation energy", found.relaxed, 3, "eV"),
        Row("ions not relaxed", found.unrelaxed, 3, "eV"),
        Row("atoms without vacancy", found.n_atoms),
    )
    notes = ("negative: the crystal would fill with vacancies",) if found.relaxed < 0 else ()
    return Section(rows, notes + _outside(found.atoms))


def _phonons(start, state, run, report):
    bands = phonon_bands(_small(state["crystal"]))
    rows = [Row("highest frequency", float(bands.frequency_qb.max()), 2, "THz"),
            Row("atoms of the supercell", bands.n_atoms)]  # fmt: skip
    for name in dict.fromkeys(name for _, names in bands.ticks for name in names.split("|")):
        values = bands.at(name)
        if len(values) <= 12:
            rows.append(Row(f"at {name}", np.where(np.abs(values) < 5e-3, 0.0, values), 2, "THz"))
    worst, notes = bands.imaginary(), ()
    if worst is not None:
        q, frequency = worst
        notes = (f"imaginary modes: down to {abs(frequency):.2f}i THz at q = ({', '.join(f'{x:.3f}' for x in q)}): the "
                 "crystal is no minimum",)  # fmt: skip
    return Section(tuple(rows), notes, {"phonons": bands})


def _dynamics(start, state, run, report):
    """Thermostat, radial distribution, constant energy."""
    atoms = start.copy()
    if "crystal" in state:
        atoms = state["crystal"].copy() * repeats(state["crystal"], WIDTH)
    elif "molecule" in state:
        atoms = state["molecule"].copy()
    atoms.calc, timestep = start.calc, suitable_timestep(atoms)
    warm = thermalize(atoms, **run, timestep=timestep, report=lambda done, of: report(done, 2 * of))
    rows = [Row("atoms", len(atoms)), Row("time step", timestep, 1, "fs"),
            Row("with thermostat", run["time"], 2, "ps"),
            Row("mean temperature", warm.temperature, 0, "K")]  # fmt: skip
    curves, notes = {}, ()
    if atoms.pbc.all() and warm.frames:
        curves["radial distribution"] = distribution = radial_distribution(warm.frames)
        for pair in distribution.g:
            shell, name = distribution.first_shell(pair), "-".join(pair)
            if shell is not None:
                place, height, end, neighbors = shell
                rows += [Row(f"{name} first peak at", place, 2, "Angstrom"), Row(f"{name} height of it", height, 2),
                         Row(f"{name} neighbors to {end:.2f} A", neighbors, 1)]  # fmt: skip
    outside = warm.outside
    try:
        kept = energy_conservation(warm.atoms, run["time"], timestep, lambda done, of: report(done + of, 2 * of))
        rows += [Row("at constant energy", run["time"], 2, "ps"),
                 Row("mean temperature, NVE", kept.temperature, 0, "K"),
                 Row("drift of the energy", kept.drift, 3, "meV/atom/ps"),
                 Row("fluctuation of the energy", kept.fluctuation, 3, "meV/atom")]  # fmt: skip
        curves["energy"], outside = kept, 0.5 * (outside + kept.outside)
    except FAILURES as error:
        notes = (f"at constant energy: {' '.join(str(error).split())}",)
    if outside > 0:
        notes += (f"{100 * outside:.3g} % of all atoms and steps are outside the range of the training data",)
    return Section(tuple(rows), notes, curves)


def _geometry(start, state, run, report):
    """Relaxed molecule and its vibrations."""
    state["molecule"] = molecule = relax(start, fmax=1e-3, max_steps=1000)
    frequencies = molecular_frequencies(molecule)
    is_linear = len(molecule) == 2 or molecule.get_moments_of_inertia()[0] < 1e-3
    kept = np.sort(frequencies[np.argsort(np.abs(frequencies))[5 if is_linear else 6 :]])
    rows = [Row("formula", molecule.get_chemical_formula()),
            Row("energy", molecule.get_potential_energy(), 4, "eV")]  # fmt: skip
    for name, value in (("lowest vibration", kept[0]), ("highest vibration", kept[-1])):
        rows += [Row(name, float(value), 2, "THz"), Row(name, float(value / PER_CM), 0, "1/cm")]
    n = int((frequencies < -ZERO).sum())
    notes = (f"{n} imaginary vibration{'s' * (n > 1)}: no minimum",) if n else ()
    return Section(tuple(rows), notes + _outside(molecule))


DYNAMICS = "molecular dynamics"

PARTS = {
    "crystal": {"lattice": _lattice, "elastic constants": _elastic, "equation of state": _state, "vacancy": _vacancy,
                "phonons": _phonons, DYNAMICS: _dynamics},
    "liquid": {DYNAMICS: _dynamics},
    "molecule": {"geometry": _geometry, DYNAMICS: _dynamics},
}  # fmt: skip
"""What is done with each kind of structure, in this order."""


class _Silent:
    """Progress that nobody wants to see."""

    def __init__(self, label):
        self.label = label

    def __enter__(self):
        return lambda done, of: None

    def __exit__(self, *exception):
        pass


def _smaller(atoms, tolerance):
    """Primitive cell in the standard orientation; as it is where ASE does not recognize the lattice."""
    try:
        return primitive(atoms, tolerance)
    except (RuntimeError, ValueError, AssertionError):
        return atoms


def _small(crystal):
    if len(crystal) > MANY:
        raise ValueError(f"left out: the primitive cell has {len(crystal)} atoms, and {MANY} are the limit here")
    return crystal


def _outside(atoms):
    """A note where a structure that has been calculated last leaves the training data."""
    n = int(np.count_nonzero(atoms.calc.results.get("extrapolation", 0)))
    return (f"{n} of {len(atoms)} atoms are outside the range of the training data",) if n else ()

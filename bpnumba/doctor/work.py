"""What `doctor` finds out by comparing frames with their neighbors: is the energy the integral of forces and stress?

Comes in: a `Dataset` of sound frames.  Goes out: sections and findings.  For two frames of the same atoms, close to
each other, with u the displacement at fixed cell and e the strain between them, ::

    E_n - E_m  =  - mean(F) . u  +  mean(V stress) : e  +  (third order in u and e)

whatever the potential is. A ratio of both sides other than 1 is a sign or a unit: forces in Hartree/bohr give 51.4,
forces of the wrong sign -1, stresses in kbar 1/1602. A single frame that contradicts all its neighbors is wrong itself.
"""

from collections import defaultdict
from itertools import permutations

import numpy as np

from bpnumba.doctor.pairs import fitted_forces
from bpnumba.doctor.report import Finding, Section
from bpnumba.doctor.steps import steps
from bpnumba.units import BOHR, GPA, HARTREE, MEV

BENT = 0.8
"""Pairs count if |work| exceeds this part of its second-order part, (F_n - F_m) . u / 2: across a minimum work cancels,
and what is left is anharmonicity. 1 would leave out the way from a minimum up, where both are equal."""

NOISE = 1e-4  # eV/atom; energies of one cell and one set of settings are as smooth as that
FEWEST = 4  # pairs that a verdict needs
AGREED = 1.25  # ratio up to which energies and work agree
CERTAIN = 1.12  # off the factor of a unit, for it to be named
UNEXPLAINED = 0.6
"""Of the bend. Hard walls between unrelated frames move energies by 0.4 of it; work of a wrong sign or unit is off by
more than the bend."""

TINY = 1e-12  # eV
PAIRWISE = 0.4  # part of work and bend that the third order may take; 0.04 in dynamics at 600 K, more in collisions
MANY = 0.25  # part of the frames; more is no matter of single ones
SMALLEST_GAP = 2e-3  # eV/atom, of a wrong frame; different cells have different meshes of k-points
KCAL, KJ = 23.0605, 96.4853  # 1 eV in kcal/mol and kJ/mol
FORCE_FACTORS = {
    "forces in Hartree/bohr": HARTREE / BOHR,
    "forces in Rydberg/bohr": HARTREE / BOHR / 2,
    "forces in Hartree/Angstrom": HARTREE,
    "energies in Hartree": 1 / HARTREE,
    "energies in Rydberg": 2 / HARTREE,
    "forces per bohr with positions in Angstrom": 1 / BOHR,
    "positions in bohr": BOHR,
    "energies in kcal/mol": KCAL,
    "energies in kJ/mol": KJ,
    "forces in kcal/mol/Angstrom": 1 / KCAL,
    "forces in kJ/mol/Angstrom": 1 / KJ,
}
STRESS_FACTORS = {
    "stresses in GPa": 1 / GPA,
    "stresses in kbar": 0.1 / GPA,
    "stresses in Hartree/bohr^3": HARTREE / BOHR**3,
    "energies in Hartree": 1 / HARTREE,
}
"""(E_n - E_m) / work for labels in another unit."""


def work(dataset):
    """Energies, forces and stresses of neighboring frames against each other."""
    found = steps(dataset)
    moved, strained = ([step for step in found if step.strained == wanted] for wanted in (False, True))
    of_forces, of_stresses = _force_ratios(dataset, moved), _stress_ratios(dataset, strained)
    lines, wrong = fitted_forces(dataset)
    if dataset.has_forces_m.any():
        lines.insert(0, _summary(of_forces, "forces"))
    if dataset.has_stress_m.any():
        lines.append(_summary(of_stresses, "stresses"))

    wrong = list(_wrong_factors(dataset, of_forces, "forces", FORCE_FACTORS)) or wrong
    clear = not wrong  # what follows relies on the forces
    wrong += _wrong_factors(dataset, of_stresses, "stresses", STRESS_FACTORS)
    if not wrong:
        wrong += _wrong_shear(dataset, strained)
    if clear:
        wrong += _contradictions(dataset, moved if wrong else found)
    return Section("Work", tuple(lines) or ("nothing to compare",)), wrong


def _summary(ratios, what):
    if len(ratios) < FEWEST:
        return f"{what} against energies: not tested, {len(ratios)} pairs of frames are close enough"
    low, middle, high = np.percentile([ratio for _, ratio, _ in ratios], (25, 50, 75))
    return (
        f"{what} against energies: energy difference / work = {middle:.3g} (should be 1; half of the pairs between "
        f"{low:.3g} and {high:.3g}), {len(ratios)} pairs of close frames"
    )


def _force_ratios(dataset, moved):
    """(step, ratio, gap over bend) where forces do enough work for a comparison."""
    return [
        (step, step.difference / step.forces_work, abs(step.difference - step.forces_work) / (step.forces_bend + TINY))
        for step in moved
        if abs(step.forces_work) > BENT * step.forces_bend
        and max(abs(step.difference), abs(step.forces_work)) > NOISE * len(dataset.atoms[step.m])
    ]


def _stress_ratios(dataset, strained):
    """(step, ratio, gap over bend) where the stress does enough work, and the forces little."""
    chosen = []
    for step in strained:
        difference, done = step.difference - step.forces_work, step.stress_work
        most = max(abs(difference), abs(done))
        bend = abs(step.bend_v @ step.strain_v)
        if abs(done) > BENT * bend and abs(step.forces_work) < 0.3 * most and most > NOISE * len(dataset.atoms[step.m]):
            chosen.append((step, difference / done, abs(difference - done) / (bend + TINY)))
    return chosen


def _wrong_factors(dataset, ratios, what, table):
    """Findings for each part of the set whose ratio is not 1."""
    parts = defaultdict(list)
    for step, ratio, gap in ratios:
        place_m, place_n = ((dataset.config_type_m[k], dataset.source_m[k].rpartition(",")[0]) for k in step[:2])
        if place_m == place_n:
            parts[place_m].append((step, ratio, gap))
    bad = {}
    for (kind, place), members in parts.items():
        middle = _conclusive(members)
        if not 1 / AGREED < middle < AGREED:
            bad.setdefault(_explained(middle, what, table), []).append((kind, place, middle, members))
    for cause, entries in bad.items():
        frames = dict.fromkeys(k for *_, members in entries for step, *_ in members for k in step[:2])
        kinds = ", ".join(dict.fromkeys(kind for kind, *_ in entries))
        everywhere = len(entries) == len(parts)
        yield Finding(
            "error",
            f"{what} contradict energies{'' if everywhere else f' in config_type {kinds}'}: the energy difference of "
            f"close frames is {entries[0][2]:.3g} times the work",
            tuple(dataset.source_m[m] for m in sorted(frames)),
            f"{cause}; bring all labels to eV, eV/Angstrom, eV/Angstrom^3",
        )


def _conclusive(members):
    """The median of ratios, if they agree with each other and no bent path can explain them, else 1."""
    if len(members) < FEWEST:
        return 1.0
    _, ratios, gaps = zip(*members, strict=True)
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return middle if high - low < abs(middle) and np.median(gaps) > UNEXPLAINED else 1.0


def _explained(ratio, what, table):
    sign = ""
    if ratio < 0:
        sign = {
            "forces": "the sign of the forces is wrong (these are gradients)",
            "stresses": "the sign of the stress is wrong: positive under tension (VASP prints the opposite), and a "
            "virial is -volume times stress",
        }[what]
    if 1 / AGREED < abs(ratio) < AGREED:
        return sign
    name = min(table, key=lambda name: abs(np.log(abs(ratio) / table[name])))
    unit = {
        "forces": "a unit is wrong (forces in Hartree/bohr give 51, energies in Hartree 1/27)",
        "stresses": "a unit is wrong (stresses in GPa give 1/160, in kbar 1/1602)",
    }[what]
    if 1 / CERTAIN < abs(ratio) / table[name] < CERTAIN:
        unit = f"this is what {name} give"
    return "; ".join(filter(None, (sign, unit)))


def _wrong_shear(dataset, strained):
    """Shear stresses that contradict the energies: in another order, or wrong altogether."""
    asked = {id(step): _shear_energy(step) for step in strained}
    chosen = [
        step
        for step in strained
        if np.abs(step.strain_v[3:]).sum() > np.abs(step.strain_v[:3]).sum()
        and np.linalg.norm(step.stress_v[3:]) > BENT * np.linalg.norm(step.bend_v[3:])  # whatever the order
        and abs(asked[id(step)]) > max(NOISE * len(dataset.atoms[step.m]), 3 * abs(step.forces_work))
    ]
    if len(chosen) < FEWEST:
        return

    def gap(step, order=(0, 1, 2)):
        return abs(asked[id(step)] - step.stress_v[3:][list(order)] @ step.strain_v[3:])

    def misfit(order):
        return sum(gap(step, order) for step in chosen) / sum(abs(asked[id(step)]) for step in chosen)

    misfits = {order: misfit(order) for order in permutations(range(3))}
    best = min(misfits, key=misfits.get)
    if misfits[0, 1, 2] < 0.5:
        return
    chosen.sort(key=gap, reverse=True)
    frames = tuple(dataset.source_m[m] for m in dict.fromkeys(k for step in chosen for k in step[:2]))
    words = ("yz", "xz", "xy")
    if misfits[best] < 0.3 * misfits[0, 1, 2]:
        order = [words[best.index(k)] for k in range(3)]
        yield Finding(
            "error",
            f"shear stresses are in the order {', '.join(order)}: the energies of {len(chosen)} pairs of strained "
            "frames fit no other",
            frames,
            "the order is xx, yy, zz, yz, xz, xy (VASP: xx, yy, zz, xy, yz, xz)",
        )
        return
    yield Finding(
        "warning",
        f"shear stresses contradict the energies in {len(chosen)} pairs of strained frames: what is left after the "
        f"work is {misfits[0, 1, 2]:.2g} of the energy differences",
        frames,
        "recompute them, or leave these stresses out (Keys(stress=None), --stress-key none)",
    )


def _shear_energy(step):
    """What the work of the shear stresses should be."""
    return step.difference - step.forces_work - step.stress_v[:3] @ step.strain_v[:3]


def _contradictions(dataset, found):
    """Single frames that contradict at least half of the frames close to them; their neighbors contradict only them."""
    scores = defaultdict(dict)
    for step in found:
        done = step.forces_work + step.stress_work
        bend = step.forces_bend + abs(step.bend_v @ step.strain_v)
        allowed = PAIRWISE * (abs(done) + bend) + SMALLEST_GAP * len(dataset.atoms[step.m])
        gap = step.difference - done
        scores[step.m][step.n] = (abs(gap) / allowed, -gap)
        scores[step.n][step.m] = (abs(gap) / allowed, gap)
    middle = {m: sorted(near.values())[(len(near) - 1) // 2] for m, near in scores.items() if len(near) > 1}
    odd = sorted((m for m in middle if middle[m][0] > 1), key=lambda m: -middle[m][0])
    if len(odd) > MANY * len(middle):
        yield Finding(
            "error",
            f"energy differences are not the work of forces and stress in {len(odd)} of {len(middle)} frames",
            tuple(dataset.source_m[m] for m in odd),
            "not a matter of single frames: another unit or sign in part of the set, labels of several methods, or "
            "energies with corrections that the forces lack",
        )
    elif odd:
        gap = middle[odd[0]][1]
        yield Finding(
            "warning",
            f"{len(odd)} frames contradict most frames close to them: energy differences are not the work done; "
            f"the first is off by {gap:+.3g} eV ({MEV * gap / len(dataset.atoms[odd[0]]):+.3g} meV/atom)",
            tuple(dataset.source_m[m] for m in odd),
            "energy, forces or stress of these frames are wrong: look at the calculation, or remove them",
        )

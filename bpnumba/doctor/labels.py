"""What `doctor` sees in the labels of every frame: which there are, and forces that are strange.

Comes in: a `Dataset` of sound frames and the `Surroundings` of its atoms.  Goes out: sections and findings.  Labels of
different frames are compared with each other in `bpnumba.doctor.work`.
"""

from collections import Counter

import numpy as np

from bpnumba.doctor.report import Finding, Section
from bpnumba.io.keys import DEFAULT_KEYS, PLAIN, stored_in
from bpnumba.training.labels import SMEARING
from bpnumba.training.plausibility import LARGE_FORCE
from bpnumba.units import MEV

LISTED_TYPES = 12
ENOUGH = 500  # frames to look for other names in
LONE = 10.0
"""Times the force that 95 % of the frames stay below: a collision, or an electronic structure that did not converge."""

NET = 0.1
"""Net force over the root of the summed squares: 1 for random vectors, 0 where atoms act on each other only."""

NET_PER_ATOM = 0.01  # eV/Angstrom; codes and rounding in files reach less
NO_SYMMETRY = 0.01  # asymmetry beyond which a force of exactly zero is no matter of symmetry


def coverage(dataset, frames, labels_m):
    """Labels of each kind, where they were found, and what may be one under another name."""
    lines, findings = [], []
    names = Counter((kind, name) for labels in labels_m for kind, name in labels.names.items())
    for kind in ("energy", "forces", "stress"):
        has_m = getattr(dataset, f"has_{kind}_m")
        found = [f"{n} as {name}" for (k, name), n in names.items() if k == kind or (kind, k) == ("stress", "virial")]
        lines.append(f"{kind:<7} {has_m.sum():>6} of {len(has_m)} frames" + f" ({', '.join(found)})" * bool(found))
        some = () if has_m.any() else frames[:: 1 + len(frames) // ENOUGH]
        similar = Counter(name for frame in some for name in stored_in(frame) if _resembles(name, kind))
        if similar:
            name = max(similar, key=similar.get)
            findings.append(Finding(
                "warning", f"no {kind}, but frames have {name}", (),
                f"if that is the label: --{'virial' if 'virial' in name.lower() else kind}-key {name}",
            ))  # fmt: skip
    types = Counter(dataset.config_type_m)
    partial = [kind for kind in ("energy", "forces", "stress") if 0 < _part(dataset, kind) < 1]
    for config_type, n in types.most_common(LISTED_TYPES) if len(types) > 1 and partial else ():
        mine = np.array(dataset.config_type_m) == config_type
        counts = ", ".join(f"{getattr(dataset, f'has_{kind}_m')[mine].sum()} {kind}" for kind in partial)
        lines.append(f"  {config_type}: {n} frames, {counts}")
    bare = ~(dataset.has_energy_m | dataset.has_forces_m | dataset.has_stress_m)
    if bare.any():
        findings.append(Finding(
            "error" if bare.all() else "warning", f"{bare.sum()} frames have no label",
            tuple(dataset.source_m[m] for m in np.flatnonzero(bare)),
            "there is nothing to fit: name the keys (--energy-key ...)" if bare.all() else
            "remove them, or find out what became of their labels; a fit does not learn from them",
        ))  # fmt: skip
    plain = [name for kind, name in names if name in PLAIN[kind]]
    own = [name for kind, name in names if name in DEFAULT_KEYS]
    if plain and own:
        odd = [m for m, labels in enumerate(labels_m) if any(found in plain for found in labels.names.values())]
        findings.append(Finding(
            "warning", f"labels under REF_ keys ({', '.join(own)}) and under plain names ({', '.join(plain)})",
            tuple(dataset.source_m[m] for m in odd),
            "if they are not of one method, name the keys to use (--energy-key ...)",
        ))  # fmt: skip
    smearing_m = np.abs([labels.smearing for labels in labels_m])
    if smearing_m.max(initial=0.0) > SMEARING:
        findings.append(Finding(
            "warning",
            f"energy and free_energy differ in {np.sum(smearing_m > SMEARING)} frames, by up to "
            f"{MEV * smearing_m.max():.3g} meV/atom; forces and stress are derivatives of the free energy",
            _worst(dataset, smearing_m, SMEARING),
            "choose: --energy-key free_energy, or --energy-key energy",
        ))  # fmt: skip
    return Section("Labels", tuple(lines)), findings


def forces(dataset, surroundings):
    """Forces that are large, do not add up to zero, or are exactly zero where no symmetry asks for it."""
    has_a = np.repeat(dataset.has_forces_m & ~dataset.isolated_m, dataset.n_atoms_m)
    if not has_a.any():
        return Section("Forces", ("none",)), []
    frame_a = np.repeat(np.arange(len(dataset)), dataset.n_atoms_m)
    first_m = np.cumsum(dataset.n_atoms_m) - dataset.n_atoms_m
    size_a, findings = np.linalg.norm(dataset.forces_ac, axis=1), []
    largest_m, square_m = np.maximum.reduceat(size_a, first_m), np.add.reduceat(size_a**2, first_m)
    net_m = np.linalg.norm(np.add.reduceat(dataset.forces_ac, first_m), axis=1)
    rms = np.sqrt(np.mean(dataset.forces_ac[has_a] ** 2))
    a = size_a.argmax()
    usual = np.percentile(largest_m[dataset.has_forces_m], 95)
    lines = (
        f"rms {rms:.4g} eV/Angstrom per component; 95 % of the frames stay below {usual:.4g} eV/Angstrom",
        f"largest {size_a[a]:.4g} eV/Angstrom on atom {a - first_m[frame_a[a]]} of {dataset.source_m[frame_a[a]]}",
        f"net force per frame: median {np.median(net_m[dataset.has_forces_m]):.2g}, largest {net_m.max():.2g} "
        f"eV/Angstrom in {dataset.source_m[net_m.argmax()]}",
    )
    limit = min(LONE * usual if usual > 0 else LARGE_FORCE, LARGE_FORCE)
    if (largest_m > limit).any():
        findings.append(Finding(
            "warning",
            f"forces beyond {limit:.3g} eV/Angstrom in {np.sum(largest_m > limit)} frames, the largest "
            f"{size_a[a]:.4g} on atom {a - first_m[frame_a[a]]}; 95 % of the frames stay below {usual:.3g}",
            _worst(dataset, largest_m, limit),
            "a unit other than eV/Angstrom, an electronic structure that did not converge, or a collision: correct or "
            "remove them; they pull the fit away from all others",
        ))  # fmt: skip
    ratio_m = net_m / np.sqrt(np.maximum(square_m, 1e-300))
    drift_m = np.where((ratio_m > NET) & (dataset.n_atoms_m > 1), net_m / np.sqrt(dataset.n_atoms_m), 0.0)
    if (drift_m > NET_PER_ATOM).any():
        m = drift_m.argmax()
        findings.append(Finding(
            "warning",
            f"forces do not add up to zero in {np.sum(drift_m > NET_PER_ATOM)} frames; most {net_m[m]:.3g} "
            f"eV/Angstrom, {100 * ratio_m[m]:.0f} % of what random vectors would give",
            _worst(dataset, drift_m, NET_PER_ATOM),
            "noise of the reference, forces of fixed atoms left out, or an external field; no potential can learn the "
            f"part of about {drift_m[m]:.2g} eV/Angstrom per atom",
        ))  # fmt: skip
    odd_a = has_a & (size_a == 0) & (surroundings.asymmetry_a > NO_SYMMETRY)
    odd_m = np.add.reduceat(odd_a.astype(int), first_m)
    for what, advice, chosen_m in (
        ("forces are all zero, though the structure is not symmetric",
         "a label that is missing is not zero: leave it out, or repeat the calculation",
         (odd_m > 0) & (largest_m == 0)),
        (f"forces of {odd_m[largest_m > 0].sum()} single atoms are exactly zero, which no symmetry asks for",
         "forces of fixed atoms are set to zero by many codes and by ASE's constraints; take the forces without "
         "constraints: get_forces(apply_constraint=False)", (odd_m > 0) & (largest_m > 0)),
    ):  # fmt: skip
        if chosen_m.any():
            frames = tuple(dataset.source_m[m] for m in np.flatnonzero(chosen_m))
            findings.append(Finding("error", f"{what}, in {len(frames)} frames", frames, advice))
    return Section("Forces", lines), findings


def _part(dataset, kind):
    return getattr(dataset, f"has_{kind}_m").mean()


def _resembles(name, kind):
    words = ("stress", "virial") if kind == "stress" else (kind.removesuffix("s"),)
    return any(word in name.lower() for word in words) and "weight" not in name.lower()


def _worst(dataset, value_m, limit):
    """Names of the frames beyond a limit, the worst first."""
    return tuple(dataset.source_m[m] for m in np.argsort(-value_m, kind="stable") if value_m[m] > limit)

"""Speed of the kernels, as ratios to a yardstick in C that is timed in the same run.

    python benchmarks/speed.py            # the table; some minutes
    python benchmarks/speed.py --large    # cost and memory per atom of 108,000 atoms
    python benchmarks/speed.py --gate     # water and silicon only; fails where a ratio fell by more than a tenth

* energy, forces and virial on a fixed list (pair vectors brought up to date from positions), of four potentials of
  n2p2: water (narrow functions), copper sulfide (narrow and wide), silicon (narrow) and anisole (350 compact functions
  per element), against the speed of n2p2 itself, whose time in yardsticks is known for the same potentials and atoms;
  the plain kernels beside the fast ones;
* water besides: the energy alone; loss and gradient with all forces and nothing stored; a step of molecular dynamics
  in ASE; threads;
* one loss and gradient over the silicon training set (13,233 atoms) with stored Jacobian blocks, and its set-up.

The data lie in ``../shared`` beside the repository; gcc compiles the yardstick.  CPU time of this thread (of threads,
wall time), best of several repeats, so that other programs on the machine disturb little.
"""

import os

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BPNUMBA_THREADS"):
    os.environ[name] = "1"  # one core; before NumPy is imported

import argparse
import io
import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

import ase.io
import numpy as np
from ase import units
from ase.md.verlet import VelocityVerlet

from bpnumba.calculator import BPCalculator
from bpnumba.io.runner import load_runner
from bpnumba.kernels import threads
from bpnumba.pairs import Pairs
from bpnumba.training.dataset import read
from bpnumba.training.objective import Objective
from bpnumba.training.preparation import untrained
from bpnumba.training.settings import Settings
from bpnumba.training.storage import Nowhere
from bpnumba.training.targets import Factors, Scales
from bpnumba.units import of_files

SHARED = Path(__file__).parents[2] / "shared"
N2P2_PER_YARDSTICK = {"predict_H2O_RPBE-D3": 0.84, "mlearn_Si1000": 0.285, "predict_Cu2S_PBE": 1.08,
                      "predict_Anisole_SCAN": 17.4}  # fmt: skip
"""Measured side by side, see the README beside the yardstick."""

ENERGY_ALONE = 136.0 / 193.0
"""Part of its step that n2p2 takes for the energy of water alone, measured with it once."""

LOWEST = {"predict_H2O_RPBE-D3": 17.0, "mlearn_Si1000": 14.0}
"""What `--gate` accepts, times the speed of n2p2, on a processor with AVX-512: a tenth below what was measured."""

SKIN = 0.5


def best(function, repeats, clock=time.thread_time):
    """Shortest time of a call in seconds."""
    times = []
    for _ in range(repeats):
        start = clock()
        function()
        times.append(clock() - start)
    return min(times)


def yardstick(folder):
    """Compile the yardstick; returns a function that gives its microseconds per atom."""
    program = Path(folder) / "yardstick"
    subprocess.run(["gcc", "-O3", "-march=native", "-o", program, SHARED / "tools" / "yardstick.c", "-lm"], check=True)
    return lambda: json.loads(subprocess.run([program, "1"], check=True, capture_output=True).stdout)[
        "yardstick_us_per_atom"
    ]


def potential_of_n2p2(case):
    """A potential of n2p2, the structure that its numbers are known for, and their units."""
    name, folder = ("metal" if "Cu2S" in case else "atomic"), SHARED / "reference" / "runner" / case
    length, energy = of_files(name)
    reference = np.load(folder / "reference.npz")
    positions, cell = reference["s0000_positions"] * length, reference["s0000_lattice"] * length
    atoms = ase.Atoms(reference["s0000_numbers"], positions, cell=cell, pbc=True)
    return load_runner(folder / "potential", name), atoms, reference["s0000_forces"] * energy / length, energy / length


def timed(parts, measure, rounds, repeats=5):
    """Shortest times of named functions in seconds and of the yardstick in microseconds, taking turns."""
    times, sticks = {name: [] for name in parts}, []
    for _ in range(rounds):
        sticks.append(measure())
        for name, part in parts.items():
            times[name].append(best(part, repeats))
    return {name: min(values) for name, values in times.items()}, min(sticks)


def steps(case, measure, rounds, plain_too=True):
    """Parts of a step in microseconds per atom; returns its ratio to n2p2."""
    potential, atoms, known, unit = potential_of_n2p2(case)
    functions, pair_list = potential.symmetry_functions, potential.symmetry_functions.pair_list(SKIN)
    pairs = pair_list.pairs(atoms)
    deviation = np.abs(potential.predict(pairs).forces_ac - known).max() / unit
    assert deviation < 1e-10, f"not the forces of n2p2: {deviation}"
    descriptors = functions.describe(pairs)
    x_e = potential.inputs(descriptors)
    _, dE_dG = potential.energies_and_slopes(descriptors.layout, x_e)
    parts = {
        "list brought up to date": lambda: pair_list.pairs(atoms),
        "symmetry functions": lambda: functions.describe(pairs),
        "networks": lambda: potential.energies_and_slopes(descriptors.layout, potential.inputs(descriptors)),
        "forces and virial": lambda: descriptors.forces(dE_dG),
        "whole step": lambda: potential.predict(pair_list.pairs(atoms)),
        "energy alone": lambda: potential.energies(pair_list.pairs(atoms)),
    }
    times, stick = timed(parts, measure, rounds)
    if plain_too:
        plain = Pairs.from_atoms(atoms, potential.cutoff)
        parts["plain kernels, whole step"] = lambda: potential.predict(plain)
        times["plain kernels, whole step"] = best(parts["plain kernels, whole step"], 3)
    n2p2, per_atom = N2P2_PER_YARDSTICK[case] * stick, 1e6 / len(atoms)
    widths = ", ".join(f"{symbol} {n}" for symbol, n in zip(potential.species, functions.table.n_functions))
    print(f"{case}: {len(atoms)} atoms, functions {widths}; one core, us per atom; largest deviation of a force from "
          f"n2p2 {deviation:.0e} (units of its files)")  # fmt: skip
    for name, value in times.items():
        print(f"   {name:28}{per_atom * value:9.2f}")
    ratio = n2p2 / (per_atom * times["whole step"])
    print(f"   {f'n2p2 (yardstick {stick:.0f})':28}{n2p2:9.2f}   -> {ratio:.1f} times the speed of n2p2")
    if case == "predict_H2O_RPBE-D3":
        alone = ENERGY_ALONE * n2p2 / (per_atom * times["energy alone"])
        print(f"   energy alone                           -> {alone:.1f} times the speed of n2p2")
    return ratio


def training_without_memory(measure, rounds):
    """Loss and gradient with all forces of water, visiting the pairs each time, in steps of prediction."""
    potential, atoms, known, _ = potential_of_n2p2("predict_H2O_RPBE-D3")
    pair_list = potential.symmetry_functions.pair_list(SKIN)
    labels = labeled(atoms, known)
    objective = Objective.prepare(potential, labels, Factors(Scales(0.01, 0.1, 0.01)), Nowhere())
    theta = potential.theta
    parts = {"step": lambda: potential.predict(pair_list.pairs(atoms)),
             "loss": lambda: objective.loss_and_gradient(theta)}  # fmt: skip
    times, _ = timed(parts, measure, rounds)
    print(f"water, loss and gradient with all forces, no stored Jacobian: {1e6 * times['loss'] / len(atoms):.2f} us "
          f"per atom, {times['loss'] / times['step']:.2f} steps of prediction")  # fmt: skip


def labeled(atoms, forces):
    """The structure as a data set with forces."""
    with tempfile.TemporaryDirectory() as folder:
        one = atoms.copy()
        one.info["REF_energy"], one.arrays["REF_forces"] = 0.0, forces
        ase.io.write(Path(folder) / "one.xyz", one, format="extxyz")
        return read(Path(folder) / "one.xyz")


def dynamics(measure, n_steps=60):
    """Molecular dynamics of water in ASE: wall time of a step beside that of the kernels on a fixed list."""
    potential, atoms, _, _ = potential_of_n2p2("predict_H2O_RPBE-D3")
    atoms.calc = BPCalculator(potential, on_extrapolation="ignore")
    widths = np.sqrt(300 * units.kB * atoms.get_masses())
    atoms.set_momenta(np.random.default_rng(0).normal(0, widths[:, None], (len(atoms), 3)))
    run = VelocityVerlet(atoms, 0.5 * units.fs)
    run.run(5)
    pair_list = potential.symmetry_functions.pair_list(SKIN)
    pair_list.pairs(atoms)
    ratios = []
    for _ in range(3):
        one = best(lambda: potential.predict(pair_list.pairs(atoms)), 5)
        start = time.thread_time()
        run.run(n_steps)
        ratios.append((time.thread_time() - start) / n_steps / one)
    searches = atoms.calc.pair_list.rebuilds
    print(f"water, molecular dynamics in ASE, 0.5 fs, 300 K: a step takes {min(ratios):.3f} times the kernels on a "
          f"fixed list ({searches} searches in {3 * n_steps + 5} steps, skin {SKIN} Angstrom)")  # fmt: skip


def one_step(potential, atoms):
    """Energy, forces and virial of the same atoms with a list that is brought up to date."""
    pair_list = potential.symmetry_functions.pair_list(SKIN)
    return lambda: potential.predict(pair_list.pairs(atoms))


def with_threads(counts=(1, 2)):
    """Wall time of a step with threads."""
    potential, atoms, _, _ = potential_of_n2p2("predict_H2O_RPBE-D3")
    for repeats in (1, 3):
        many = atoms.repeat((repeats, 1, 1))
        times, bits, step = {}, set(), one_step(potential, many)
        for n in counts:
            os.environ[threads.VARIABLE] = str(n)
            bits.add(step().forces_ac.tobytes())
        for _ in range(5):
            for n in counts:
                os.environ[threads.VARIABLE] = str(n)
                times[n] = min(best(step, 5, time.perf_counter), times.get(n, np.inf))
        os.environ[threads.VARIABLE] = "1"
        print(f"water, {len(many)} atoms, wall time: " + ", ".join(
            f"{n} threads {times[1] / times[n]:.2f} times one" for n in counts[1:]
        ) + f"; {'the same' if len(bits) == 1 else 'DIFFERENT'} bits")  # fmt: skip


def many_atoms(rounds):
    """Cost and memory per atom of a large system."""
    potential, atoms, _, _ = potential_of_n2p2("predict_H2O_RPBE-D3")
    one = None
    for repeats in ((1, 1, 1), (5, 5, 4)):
        many = atoms.repeat(repeats)
        before, step = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, one_step(potential, many)
        step()
        kept = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
        once = best(step, rounds) / len(many)
        one = one or once
        print(f"water, {len(many)} atoms: {1e6 * once:.2f} us per atom, {once / one:.2f} times that of 1080"
              + (f", {kept / len(many) / 1000:.1f} kB per atom" if len(many) > 10_000 else ""))  # fmt: skip


def silicon(measure, rounds):
    """Silicon training set: set-up, and one loss with its gradient."""
    data, settings = read(SHARED / "data" / "mlearn" / "Si_train.xyz.gz"), Settings(seed=1)
    potential = untrained(data, settings, io.StringIO())

    def prepare():
        return Objective.prepare(potential, data, Factors(Scales.from_data(data, settings)))

    objective = prepare()
    jacobian = sum(chunk.stored.descriptors.J.nbytes for chunk in objective.chunks)
    theta, stick = potential.theta, min(measure() for _ in range(rounds))
    once = best(lambda: objective.loss_and_gradient(theta), 3 * rounds)
    print(
        f"silicon training set, {data.n_atoms:,} atoms, {potential.networks[0].sizes[0]} functions, "
        f"{len(theta)} weights, Jacobian {jacobian / 1e6:.0f} MB, one core"
    )
    print(f"   choice of functions  {best(lambda: untrained(data, settings, io.StringIO()), 1):8.2f} s")
    print(f"   list, G and Jacobian {best(prepare, 2):8.2f} s")
    print(
        f"   loss and gradient    {once:8.4f} s   ({1e6 * once / data.n_atoms:.2f} us per atom, "
        f"{1e6 * once / data.n_atoms / stick:.4f} of the yardstick)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often yardstick and measurements take turns")
    parser.add_argument("--gate", action="store_true", help="fail where the kernels became slower")
    parser.add_argument("--large", action="store_true", help="only the large system, whose memory is a process's own")
    options = parser.parse_args()
    if options.large:
        many_atoms(options.rounds)
        raise SystemExit
    with tempfile.TemporaryDirectory() as folder:
        measure = yardstick(folder)
        if options.gate:
            found = {case: steps(case, measure, options.rounds, plain_too=False) for case in LOWEST}
            slow = [f"{case}: {found[case]:.1f}, not {low}" for case, low in LOWEST.items() if found[case] < low]
            raise SystemExit("slower than it was: " + ", ".join(slow) if slow else 0)
        for case in N2P2_PER_YARDSTICK:
            steps(case, measure, options.rounds)
        training_without_memory(measure, options.rounds)
        dynamics(measure)
        with_threads()
        silicon(measure, options.rounds)

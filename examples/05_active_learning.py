"""Active learning: let a committee of potentials say which frames are worth computing.

Copper with the effective medium theory (EMT) of ASE in the place of density-functional theory: it costs nothing, so
that the whole loop runs in a minute.  A committee that has seen eight frames at 300 K runs molecular dynamics up to
1200 K.  Eight of these frames are computed, chosen by `bpnumba.select_frames` or drawn at random, and the committee is
fitted again.  Which eight were worth more is seen on hot frames that neither fit knows.

    python 05_active_learning.py [picture.png] [--max-iterations 40]
"""
import argparse
import io

import numpy as np
from ase import units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.md.verlet import VelocityVerlet
from matplotlib.figure import Figure

import bpnumba
from bpnumba.calibration import Calibration
from bpnumba.training.dataset import read

HOT = 1200.0  # K
N_NEW = 8  # frames computed in one round
MEMBERS = 4
TOO_FAR = 1.0  # eV/Angstrom; where the members disagree by so much, a trajectory is no longer one of copper

FUNCTIONS = bpnumba.SymmetryFunctions(
    ["Cu"],
    r_cut=5.0,
    g2_params=[[eta, shift] for eta, shift in zip((0.1, 1.0, 4.0, 4.0, 4.0, 4.0, 4.0), (0, 0, 2, 2.5, 3, 3.5, 4))],
    g5_params=[[0.02, zeta, lam] for zeta in (1, 4, 16) for lam in (-1, 1)],
)


def dynamics(calculator, temperature, n_frames, seed):
    """Frames of molecular dynamics, one every 5 fs: n_frames, or fewer if the members of a committee fall out."""
    random = np.random.default_rng(seed)
    atoms = bulk("Cu", cubic=True).repeat(2)
    atoms.calc = calculator
    width = np.sqrt(2 * units.kB * temperature * atoms.get_masses())  # twice: half of it becomes potential energy
    momenta = width[:, None] * random.normal(size=(len(atoms), 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    run = VelocityVerlet(atoms, 5 * units.fs)
    frames = []
    for _ in range(n_frames):
        run.run(1)
        if np.linalg.norm(calculator.results.get("forces_std", np.zeros((1, 3))), axis=1).max() > TOO_FAR:
            break
        frames.append(atoms.copy())
    return frames


def computed(frames):
    """The frames with labels: here EMT, in real life density-functional theory."""
    calculator = EMT()
    for atoms in frames:
        atoms.info["REF_energy"] = calculator.get_potential_energy(atoms)
        atoms.info["REF_stress"] = calculator.get_stress(atoms)
        atoms.arrays["REF_forces"] = calculator.get_forces(atoms)
    return frames


def committee(frames, max_iterations):
    """Potentials that differ in their first weights alone; they know how their spread compares with their errors."""
    quiet = io.StringIO()
    return bpnumba.fit(frames, committee=MEMBERS, symmetry_functions=FUNCTIONS, hidden=(10, 10),
                       max_iterations=max_iterations, stream=quiet).potential


def spreads(model, frames):
    """Of each frame, the largest disagreement about the force on one atom in eV/Angstrom."""
    std_a = np.linalg.norm(model.evaluate(frames).spread.forces_std_ac, axis=1)
    return std_a.reshape(len(frames), -1).max(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", default="active_learning.png")
    parser.add_argument("--max-iterations", type=int, default=40, help="of each of the twenty fits")
    options = parser.parse_args()

    # 1. A start that is too small: eight frames at 300 K, 10 fs apart.  And what is to be predicted: 1200 K.
    cold = computed(dynamics(EMT(), 300.0, 24, seed=0)[8::2])
    hot = read(computed(dynamics(EMT(), HOT, 60, seed=1)[20::2]))
    first = committee(cold, options.max_iterations)
    print(f"{len(cold)} frames at 300 K computed, a committee of {MEMBERS} fitted")

    # 2. A pool: the committee itself runs hotter and hotter, as far as its members agree.
    pool = []
    for temperature in (300.0, 600.0, 900.0, HOT):
        calculator = bpnumba.BPCalculator(first, on_extrapolation="ignore")
        part = dynamics(calculator, temperature, 30, seed=int(temperature))
        print(f"pool: {len(part)} of 30 frames at {temperature:.0f} K before the members disagree by "
              f"{TOO_FAR:g} eV/Angstrom")
        pool += part

    # 3. Which of them are worth computing?
    choice = bpnumba.select_frames(first, pool, n=N_NEW, distinct_from=cold)
    print(choice)

    # 4. Compute them, fit again; and the same with as many frames drawn at random.
    random, refused = np.random.default_rng(0), dict(choice.refused)
    physical = [m for m in range(len(pool)) if f"frame {m}" not in refused]
    drawn = [random.choice(physical, len(choice.frames), replace=False) for _ in range(3)]
    models = {"8 frames at 300 K": first}
    for k, draw_k in enumerate(drawn):
        new = [pool[m].copy() for m in draw_k]
        models[f"and 8 drawn ({k + 1})"] = committee(cold + computed(new), options.max_iterations)
    models["and 8 chosen"] = committee(cold + computed(list(choice.frames)), options.max_iterations)

    # 5. Errors on hot frames, and whether the spread tells them.
    print(f"\nerrors on {len(hot)} frames at {HOT:.0f} K")
    for name, model in models.items():
        total = bpnumba.evaluate(model, hot).total
        print(f"{name:<18} energy RMSE {total.energy_rmse_mev_per_atom:7.2f} meV/atom   "
              f"forces RMSE {total.forces_rmse_ev_per_angstrom:.4f} eV/Angstrom")
    print(f"\nthe last of them, {Calibration.of(models[name].evaluate(hot.atoms), hot, MEMBERS)}")

    draw(options.picture, spreads(first, pool), [one.index for one in choice.chosen], drawn,
         {name: model.evaluate(hot.atoms).forces_ac - hot.forces_ac for name, model in models.items()})
    print(f"wrote {options.picture}")


def draw(path, spread, chosen, drawn, errors):
    """Left: the pool, and what was taken of it.  Right: errors of forces on hot frames."""
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.semilogy(spread, color="#8c8c8c", linewidth=1)
    left.plot(drawn[0], spread[drawn[0]], "o", color="#2f6db3", label="drawn at random (1)")
    left.plot(chosen, spread[chosen], "D", color="#d9542b", label="chosen")
    left.set(xlabel="frame of the pool", ylabel="largest spread of a force (eV/Å)", title="The pool")
    for (name, error_ac), color in zip(errors.items(), ("#8c8c8c", *["#2f6db3"] * len(drawn), "#d9542b"), strict=True):
        size = np.sort(np.linalg.norm(error_ac, axis=1))
        right.semilogx(size, np.linspace(0, 100, len(size)), color=color, label=name)
    right.set(xlabel="error of the force on an atom (eV/Å)", ylabel="atoms with a smaller one (%)",
              title=f"Errors at {HOT:.0f} K")
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()

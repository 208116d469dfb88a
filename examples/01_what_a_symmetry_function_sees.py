"""What a symmetry function sees: four pictures in one file.

A symmetry function turns the neighbors of an atom into one number.  It is built of factors of distances (top left) and
of angles (top right).  Summed over all neighbors, radial functions with different shifts are a soft radial distribution
function, which tells crystal structures apart (bottom left).  No single function sees everything: the radial function
of the oxygen atom is blind to the bending of a water molecule (bottom right).

    python 01_what_a_symmetry_function_sees.py [picture.png]
"""
import argparse

import numpy as np
from ase import Atoms
from ase.build import bulk
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from bpnumba import G2, G4, SymmetryFunctions
from bpnumba.formulas.angular import angular
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.formulas.radial import pair_factor

RC = 6.0  # cutoff radius in Angstrom
WINDOW = (list(CUTOFFS).index("poly2"), 0.0, RC, False)  # as formulas want it: number, inner radius, RC, not mirrored
BLUE, ORANGE, GREEN, VIOLET, GRAY = "#2f6db3", "#d9542b", "#3a9d5d", "#8a5bb5", "#8c8c8c"


def pair_factors(axes):
    """phi(r) = exp(-eta (r - rs)^2) fc(r), the factor of one distance."""
    r = np.linspace(0.05, 6.5, 300)

    def phi(eta, rs):
        return [pair_factor(0.5 * d * d, eta, rs, *WINDOW)[0] for d in r]

    axes.plot(r, phi(0.0, 0.0), color=GRAY, linestyle="--", label="fc alone (η = 0)")
    for eta, color in ((0.1, BLUE), (0.5, GREEN)):
        axes.plot(r, phi(eta, 0.0), color=color, label=f"η = {eta}, rs = 0")
    for rs, color in ((2.4, ORANGE), (3.8, VIOLET)):
        axes.plot(r, phi(6.0, rs), color=color, label=f"η = 6, rs = {rs} Å")
    axes.set(title="Factor of a distance", xlabel="r (Å)", ylabel="φ(r) = exp(−η (r − rs)²) fc(r)", xlim=(0, 6.5),
             ylim=(0, 1.05))


def angular_factors(axes):
    """2^(1-zeta) (1 + lam cos theta)^zeta, the factor of one angle."""
    theta = np.linspace(0.0, np.pi, 181)
    for zeta, color in ((1.0, BLUE), (4.0, ORANGE), (16.0, GREEN)):
        for lam, style in ((1.0, "-"), (-1.0, "--")):
            value = [2.0 ** (1.0 - zeta) * angular(x, lam, zeta)[0] for x in np.cos(theta)]
            axes.plot(np.degrees(theta), value, style, color=color, label=f"λ = {lam:+.0f}, ζ = {zeta:.0f}")
    axes.set(title="Factor of an angle", xlabel="θ (degrees)", ylabel="2^(1−ζ) (1 + λ cos θ)^ζ",
             xticks=range(0, 181, 30), xlim=(0, 180), ylim=(0, 2.75))


def fingerprints(axes):
    """G2 with a running shift, for crystals of silicon with the lattice constants of their PBE minima (about)."""
    shifts = np.linspace(1.5, 5.5, 161)
    functions = SymmetryFunctions(["Si"], RC, g2_params=[(12.0, rs) for rs in shifts])
    diamond = bulk("Si", a=5.47)
    warm = bulk("Si", a=5.47, cubic=True).repeat(2)
    warm.rattle(0.12, seed=0)
    G_warm = functions.create(warm)
    axes.fill_between(shifts, G_warm.min(0), G_warm.max(0), color=BLUE, alpha=0.18, linewidth=0,
                      label="diamond, shaken by 0.12 Å: all atoms")
    crystals = {"diamond": (diamond, BLUE), "beta-tin": (beta_tin(4.82, 2.65), GREEN),
                "fcc": (bulk("Si", "fcc", a=3.87), ORANGE)}
    for name, (atoms, color) in crystals.items():
        axes.plot(shifts, functions.create(atoms)[0], color=color, label=name)
    axes.set(title="Sum over the neighbors: G2 of silicon crystals", xlabel="rs (Å)", ylabel="G2, η = 12",
             xlim=(shifts[0], shifts[-1]), ylim=(0, None))


def beta_tin(a, c):
    """The structure of silicon under pressure: a tetragonal cell of four atoms."""
    return Atoms("Si4", cell=[a, a, c], pbc=True,
                 scaled_positions=[[0.0, 0.0, 0.0], [0.0, 0.5, 0.25], [0.5, 0.5, 0.5], [0.5, 0.0, 0.75]])


def bending(axes):
    """Symmetry functions of a water molecule against its angle, with bonds of fixed length."""
    functions = SymmetryFunctions.from_functions([
        G2("O", "H", eta=0.5, rs=0.0, rc=RC),
        G4("O", "H", "H", eta=0.05, zeta=1.0, lam=1.0, rc=RC),
        G2("H", "H", eta=0.5, rs=0.0, rc=RC),
    ])  # fmt: skip
    angles, bond = np.linspace(60.0, 180.0, 121), 0.97
    G = []
    for angle in np.radians(angles):
        second = bond * np.array([np.cos(angle), np.sin(angle), 0.0])
        oxygen, hydrogen, _ = functions.create(Atoms("OHH", [[0.0, 0.0, 0.0], [bond, 0.0, 0.0], second]))
        G.append((oxygen[0], oxygen[1], hydrogen[0]))
    labels = ("G2 of O, neighbors H: blind", "G4 of O, neighbors H H", "G2 of H, neighbor H")
    for values, label, color in zip(np.transpose(G), labels, (BLUE, ORANGE, GREEN), strict=True):
        axes.plot(angles, values, color=color, label=label)
    axes.set(title="A water molecule bends", xlabel="angle H-O-H (degrees)", ylabel="G", xticks=range(60, 181, 20),
             xlim=(60, 180), ylim=(0, 1.75))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture", nargs="?", default="symmetry_functions.png")
    path = parser.parse_args().picture

    figure = Figure(figsize=(9.6, 7.0), layout="constrained")
    FigureCanvasAgg(figure)
    panels = pair_factors, angular_factors, fingerprints, bending
    for axes, draw in zip(figure.subplots(2, 2).flat, panels, strict=True):
        draw(axes)
        axes.grid(color="#e6e6e6", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=100)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

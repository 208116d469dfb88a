"""Forces by hand: one water molecule, from coordinates to forces, in plain Python.

Every step of the theory once, with numbers that can be followed on paper: pair vectors, pair factors, symmetry
functions, scaling, a network with two hidden neurons per element, energy; then the chain rule back to the forces.  In
the end the same model is built with the library, which must agree, and so must finite differences.

    python 02_forces_by_hand_for_water.py
"""
import math

import numpy as np
from ase import Atoms

from bpnumba import G2, G4, Potential, SymmetryFunctions
from bpnumba.formulas.angular import angular, cosine
from bpnumba.formulas.cutoff import CUTOFFS
from bpnumba.formulas.numbers import rsqrt
from bpnumba.formulas.radial import pair_factor
from bpnumba.formulas.tape import Node, pullback, triplet
from bpnumba.network import Network
from bpnumba.scaling import Scaling

# ---- the model: small enough to be written down ----------------------------------------------------------------------

RC = 6.0  # cutoff radius, Angstrom
# formulas know a cutoff function by its position in the table; it falls from an inner radius to RC, not mirrored
WINDOW = (list(CUTOFFS).index("cosine"), 0.0, RC, False)

# center -> (neighbor, eta) of each G2, with rs = 0, and (neighbor, neighbor, eta, zeta, lam) of each G4
RADIAL = {"H": [("H", 0.3), ("O", 0.5)], "O": [("H", 0.5)]}
ANGULAR = {"H": [("H", "O", 0.05, 2.0, 1.0)], "O": [("H", "H", 0.05, 1.0, -1.0)]}
SHIFT = {"H": [0.4, 0.5, 0.6], "O": [1.1, 0.9]}
FACTOR = {"H": [4.0, 3.0, 2.0], "O": [2.5, 1.5]}
W1 = {"H": [[0.3, -0.5], [0.7, 0.2], [-0.4, 0.6]], "O": [[0.8, -0.3], [0.5, 0.9]]}  # input s -> hidden neuron n
B1 = {"H": [0.1, -0.2], "O": [-0.1, 0.3]}
W2 = {"H": [0.6, -0.8], "O": [1.2, 0.4]}
B2 = {"H": -0.3, "O": 0.2}
E0 = {"H": -13.6, "O": -432.0}  # eV, energies of the separate atoms (about)

SYMBOLS = ["O", "H", "H"]
POSITIONS = [[0.00, 0.00, 0.00], [0.96, 0.02, -0.05], [-0.21, 0.98, 0.10]]  # Angstrom; not quite the minimum


def angular_term(u_j, u_k, u_c, eta, zeta, lam):
    """One term of G4 and its slopes in u of the pairs ij, ik and jk: the product rule, written out."""
    x, x_j, x_k, x_c = cosine(u_j, u_k, u_c, rsqrt(2.0 * u_j), rsqrt(2.0 * u_k))
    angle, angle_x = angular(x, lam, zeta)
    (phi_j, dphi_j), (phi_k, dphi_k), (phi_c, dphi_c) = (pair_factor(u, eta, 0.0, *WINDOW) for u in (u_j, u_k, u_c))
    norm = 2.0 ** (1.0 - zeta)
    return (norm * angle * phi_j * phi_k * phi_c,
            norm * (angle_x * x_j * phi_j + angle * dphi_j) * phi_k * phi_c,
            norm * (angle_x * x_k * phi_k + angle * dphi_k) * phi_j * phi_c,
            norm * (angle_x * x_c * phi_c + angle * dphi_c) * phi_j * phi_k)


def main():
    atoms = range(3)

    print("1. Pair vectors r_ij = x_j - x_i, and u = r^2/2")
    r, u = {}, {}
    for i in atoms:
        for j in atoms:
            if i != j:
                r[i, j] = [b - a for a, b in zip(POSITIONS[i], POSITIONS[j])]
                u[i, j] = 0.5 * sum(c * c for c in r[i, j])
                print(f"   {SYMBOLS[i]}{i} -> {SYMBOLS[j]}{j}:  r = {numbers(r[i, j])},  "
                      f"|r| = {math.sqrt(2 * u[i, j]):.4f},  u = {u[i, j]:.4f}")

    print("\n2. Symmetry functions, and how they change with u of every pair")
    G, dG_du = [], []  # per atom: values; per atom and function: {pair: slope}
    for i in atoms:
        values, slopes = [], []
        for neighbor, eta in RADIAL[SYMBOLS[i]]:  # G2: a sum of pair factors
            terms = {(i, j): pair_factor(u[i, j], eta, 0.0, *WINDOW)
                     for j in atoms if j != i and SYMBOLS[j] == neighbor}
            values.append(sum(phi for phi, _ in terms.values()))
            slopes.append({pair: dphi for pair, (_, dphi) in terms.items()})
        for _, _, eta, zeta, lam in ANGULAR[SYMBOLS[i]]:  # G4: here only one couple of neighbors
            j, k = (a for a in atoms if a != i)
            value, *slope = angular_term(u[i, j], u[i, k], u[j, k], eta, zeta, lam)
            values.append(value)
            slopes.append(dict(zip(((i, j), (i, k), (j, k)), slope)))
        G.append(values)
        dG_du.append(slopes)
        print(f"   {SYMBOLS[i]}{i}:  G = {numbers(values)}")

    print("\n   The tape does the product rule by itself.  G4 of the oxygen atom, slopes in u of ij, ik, jk:")
    _, _, eta, zeta, lam = ANGULAR["O"][0]
    nodes = [Node(u[pair]) for pair in ((0, 1), (0, 2), (1, 2))]
    term = triplet(*nodes, (2.0 ** (1.0 - zeta), angular, lam, zeta), True, (eta, 0.0, *WINDOW))
    taped = pullback([(term, 1.0)], nodes)
    print(f"   by hand {numbers(dG_du[0][1].values(), 6)}\n   tape    {numbers(taped, 6)}")
    assert np.allclose(list(dG_du[0][1].values()), taped, rtol=0.0, atol=1e-14)

    print("\n3. Scaling x = (G - shift) factor, network e = b2 + sum_n W2_n tanh(b1_n + sum_s W1_sn x_s), its slopes")
    energy, dE_dG = 0.0, []
    for i in atoms:
        z = SYMBOLS[i]
        x = [(g - shift) * factor for g, shift, factor in zip(G[i], SHIFT[z], FACTOR[z])]
        a = [math.tanh(B1[z][n] + sum(W1[z][s][n] * x[s] for s in range(len(x)))) for n in range(2)]
        e = B2[z] + sum(W2[z][n] * a[n] for n in range(2))
        de_dx = [sum(W2[z][n] * (1.0 - a[n] ** 2) * W1[z][s][n] for n in range(2)) for s in range(len(x))]
        dE_dG.append([slope * factor for slope, factor in zip(de_dx, FACTOR[z])])
        energy += E0[z] + e
        print(f"   {z}{i}:  x = {numbers(x)},  hidden {numbers(a)},  e = {e:+.6f} eV,  de/dG = {numbers(dE_dG[i])}")
    print(f"   E = sum of E0 + e = {energy:.6f} eV")

    print("\n4. One vector per pair: g_ij = dE/dr_ij = (dE/du_ij) r_ij, because du = r . dr")
    g = {pair: np.zeros(3) for pair in r}
    for i in atoms:
        for slope, terms in zip(dE_dG[i], dG_du[i]):
            for (a, b), dG in terms.items():
                step = slope * dG * np.array(r[a, b])
                if a == i:
                    g[a, b] += step
                else:  # the pair jk opposite to the center: r_jk = r_ik - r_ij, so it belongs to the center's own pairs
                    g[i, b] += step
                    g[i, a] -= step
    for (i, j), vector in g.items():
        print(f"   {SYMBOLS[i]}{i} -> {SYMBOLS[j]}{j}:  {numbers(vector, 6)} eV/Angstrom")

    print("\n5. Forces F_i += g_ij, F_j -= g_ij (because r_ij = x_j - x_i), and the virial W = sum of g (outer) r")
    forces, virial = np.zeros((3, 3)), np.zeros((3, 3))
    for (i, j), vector in g.items():
        forces[i] += vector
        forces[j] -= vector
        virial += np.outer(vector, r[i, j])
    for i in atoms:
        print(f"   {SYMBOLS[i]}{i}:  {numbers(forces[i], 6)} eV/Angstrom")

    print("\n6. The same with the library, and by finite differences")
    water, potential = Atoms(SYMBOLS, POSITIONS), with_the_library()
    prediction = potential.evaluate(water)
    differences = {
        "energy": abs(prediction.energy_m[0] - energy),
        "forces": np.abs(prediction.forces_ac - forces).max(),
        "virial": np.abs(prediction.virial_mcc[0] - virial).max(),
    }
    for name, difference in differences.items():
        print(f"   {name}: by hand and library differ by {difference:.1e}")
        assert difference < 1e-12 * max(1.0, abs(energy) if name == "energy" else 1.0)
    error = np.abs(finite_differences(potential, water) - forces).max()
    print(f"   forces: by hand and central differences of the energy differ by {error:.1e}")
    assert error < 1e-8


def with_the_library():
    """The same model, made of the library's parts; elements in the order of their atomic numbers."""
    functions = []
    for center in ("H", "O"):
        functions += [G2(center, neighbor, eta, 0.0, RC, "cosine") for neighbor, eta in RADIAL[center]]
        functions += [G4(center, j, k, eta, zeta, lam, RC, cutoff="cosine") for j, k, eta, zeta, lam in ANGULAR[center]]
    scalings, networks = [], []
    for z in ("H", "O"):
        shift, factor = np.array(SHIFT[z]), np.array(FACTOR[z])
        scalings.append(Scaling(shift, factor, np.full(len(shift), -np.inf), np.full(len(shift), np.inf)))
        theta = np.concatenate([np.ravel(W1[z]), B1[z], W2[z], [B2[z]]])  # layer after layer: W row by row, then b
        networks.append(Network((len(shift), 2, 1), ("tanh", "identity"), theta))
    return Potential(SymmetryFunctions.from_functions(functions), tuple(scalings), tuple(networks), E0)


def finite_differences(potential, atoms, h=1e-3):
    """-dE/dx by a stencil of fourth order, of the energy without E0: large numbers would cost digits."""
    offset, forces = sum(E0[symbol] for symbol in atoms.symbols), np.zeros((len(atoms), 3))

    def energy(a, c, step):
        moved = atoms.copy()
        moved.positions[a, c] += step
        return potential.evaluate(moved).energy_m[0] - offset

    for a in range(len(atoms)):
        for c in range(3):
            near, far = energy(a, c, h) - energy(a, c, -h), energy(a, c, 2 * h) - energy(a, c, -2 * h)
            forces[a, c] = -(8 * near - far) / (12 * h)
    return forces


def numbers(values, digits=4):
    """Numbers as text, for printing."""
    return "(" + ", ".join(f"{value:+.{digits}f}" for value in values) + ")"


if __name__ == "__main__":
    main()

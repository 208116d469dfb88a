"""The loop of `bpnumba.repulsion`: every pair once from each side, half of its energy to either atom."""

from bpnumba.formulas.repulsion import zbl
from bpnumba.kernels.compiling import compiled


@compiled()
def repel(first_a, j_p, r_pc, element_a, table_ee, number, energy_a, dE_dr):
    """Energies of all centers, and dE/dr of every pair vector; `table_ee` as in `bpnumba.repulsion`."""
    for i in range(len(first_a) - 1):
        energy_a[i] = 0.0
        for p in range(first_a[i], first_a[i + 1]):
            row = table_ee[element_a[i], element_a[j_p[p]]]
            u = 0.5 * (r_pc[p, 0] ** 2 + r_pc[p, 1] ** 2 + r_pc[p, 2] ** 2)
            value, slope = zbl(u, row.strength, row.length, number, row.inner, row.outer)
            energy_a[i] += 0.5 * value
            for a in range(3):
                dE_dr[p, a] = 0.5 * slope * r_pc[p, a]

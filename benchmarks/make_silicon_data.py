#!/usr/bin/env python3
"""Make the silicon PBE data set ``bpnumba/data/silicon_pbe.extxyz.gz``.

Needs ASE and GPAW (with the PBE setups); bpnumba itself is not imported.

    python make_silicon_data.py --frames-dir frames --workers 2     # calculate
    python make_silicon_data.py --frames-dir frames --reference     # a0, B, Cij
    python make_silicon_data.py --frames-dir frames --convergence   # cutoff, k
    python make_silicon_data.py --frames-dir frames --assemble OUT.extxyz.gz
    python make_silicon_data.py --list                              # what is planned

Every frame is one small JSON file in ``--frames-dir``, written when the frame
is done, so that a run can be stopped and started again at any time, and
``--assemble`` can be called whenever some frames exist.  The structures depend
only on ``--seed``; the frames are calculated in a shuffled order so that each
family is represented early.

Energies are free energies F = E - TS of the Fermi-Dirac smeared system: forces
and stresses are the derivatives of F, not of the energy extrapolated to zero
smearing.
"""
import argparse
import gzip
import json
import os
import time
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import bulk, diamond100, diamond111
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list

# --------------------------------------------------------------- DFT settings
XC = 'PBE'
ECUT = 350.0        # eV, plane-wave cutoff
WIDTH = 0.1         # eV, Fermi-Dirac width
DK = 0.315          # 1/Angstrom (with the factor 2 pi), largest k-point spacing
DK_METAL = 0.20     # the same for the ideal, small cells of metallic phases
A0 = 5.47           # Angstrom, diamond lattice constant the structures start from
CONVERGENCE = {'energy': 1e-5, 'density': 1e-4, 'eigenstates': 4e-8}
MIN_DISTANCE = 1.8  # Angstrom, no frame has a closer pair
MIN_RATTLE = 1.88   # Angstrom, the same for rattled structures
GPA = 1.0 / units.GPa


def kpoint_grid(cell, dk=DK, vacuum_axis=None):
    """Gamma-centred grid: the smallest even n_i with |b_i| / n_i <= dk.

    It is derived from the undistorted cell of a family and kept when that cell
    is strained, so that energies are smooth in the strain.
    """
    lengths = 2 * np.pi * np.linalg.norm(np.linalg.inv(cell).T, axis=1)
    grid = [int(2 * np.ceil(b / dk / 2 - 1e-6)) for b in lengths]
    if vacuum_axis is not None:
        grid[vacuum_axis] = 1
    return grid


def make_calculator(kpts, ecut=ECUT, width=WIDTH, txt=None, careful=False):
    from gpaw import GPAW, PW, Davidson, FermiDirac, Mixer
    mixer = Mixer(0.05, 5, 50) if careful else Mixer(0.5, 5, 1)
    return GPAW(mode=PW(ecut, dedecut='estimate'), xc=XC,
                kpts={'size': tuple(kpts), 'gamma': True},
                occupations=FermiDirac(width), eigensolver=Davidson(2),
                mixer=mixer, convergence=CONVERGENCE,
                maxiter=300 if careful else 70, txt=txt)


def single_point(atoms, kpts, **kwargs):
    """Free energy, forces, stress (Voigt) and extrapolated energy."""
    from gpaw import KohnShamConvergenceError
    for careful in (False, True):
        work = Atoms(atoms.numbers, positions=atoms.positions, cell=atoms.cell,
                     pbc=atoms.pbc)
        work.calc = make_calculator(kpts, careful=careful, **kwargs)
        try:
            free = work.get_potential_energy(force_consistent=True)
        except KohnShamConvergenceError:
            if careful:
                raise
            continue
        return {'energy': float(free),
                'energy_extrapolated': float(work.get_potential_energy()),
                'forces': work.get_forces(),
                'stress': work.get_stress(voigt=True)}


# ----------------------------------- cheap potential for the liquid-like frames
class StillingerWeber(Calculator):
    """Stillinger-Weber silicon (Phys. Rev. B 31, 5262), for small cells."""
    implemented_properties = ['energy', 'forces']
    eps, sigma, a, lam, gam = 2.1683, 2.0951, 1.80, 21.0, 1.20
    A, B = 7.049556277, 0.6022245584

    def calculate(self, atoms=None, properties=('energy',),
                  system_changes=all_changes):
        super().calculate(atoms, properties, system_changes)
        n = len(self.atoms)
        rc = self.a * self.sigma
        i, j, d, D = neighbor_list('ijdD', self.atoms, rc - 1e-6)
        x = d / self.sigma
        forces = np.zeros((n, 3))
        # pairs (each seen twice)
        cut = np.exp(1 / (x - self.a))
        pair = self.A * (self.B * x**-4 - 1) * cut
        dpair = (-4 * self.A * self.B * x**-5 * cut
                 - pair / (x - self.a)**2)
        energy = 0.5 * self.eps * pair.sum()
        np.add.at(forces, i, (self.eps / self.sigma * dpair / d)[:, None] * D)
        # triplets centred on atom i
        g = np.exp(self.gam / (x - self.a))
        dg = -self.gam / (x - self.a)**2 * g / self.sigma
        unit = D / d[:, None]
        for centre in range(n):
            m = np.nonzero(i == centre)[0]
            u, w = np.triu_indices(len(m), 1)
            p, q = m[u], m[w]
            cos = (unit[p] * unit[q]).sum(1)
            c = cos + 1 / 3
            scale = self.eps * self.lam
            energy += scale * (g[p] * g[q] * c**2).sum()
            radial_p = (dg[p] * g[q] * c**2)[:, None] * unit[p]
            radial_q = (g[p] * dg[q] * c**2)[:, None] * unit[q]
            angular = (2 * g[p] * g[q] * c)[:, None]
            grad_p = scale * (radial_p + angular
                              * (unit[q] - cos[:, None] * unit[p]) / d[p][:, None])
            grad_q = scale * (radial_q + angular
                              * (unit[p] - cos[:, None] * unit[q]) / d[q][:, None])
            np.add.at(forces, j[p], -grad_p)
            np.add.at(forces, j[q], -grad_q)
            forces[centre] += (grad_p + grad_q).sum(0)
        self.results = {'energy': energy, 'forces': forces}


# ------------------------------------------------------------------ structures
def min_distance(atoms):
    d = neighbor_list('d', atoms, 3.2)
    return d.min() if len(d) else np.inf


def deform(atoms, strain):
    """Apply the symmetric strain tensor (3x3) to cell and atoms."""
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell[:] @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def voigt(xx=0., yy=0., zz=0., yz=0., xz=0., xy=0.):
    """Strain tensor from engineering strains."""
    return np.array([[xx, xy / 2, xz / 2], [xy / 2, yy, yz / 2],
                     [xz / 2, yz / 2, zz]])


def random_strain(rng, amplitude):
    return voigt(*(amplitude * rng.uniform(-1, 1, 6) * [1, 1, 1, 2, 2, 2]))


def rattle(atoms, rng, amplitude):
    """Gaussian displacements; redrawn until no pair is too close."""
    for _ in range(1000):
        new = atoms.copy()
        new.positions += rng.normal(0, amplitude, (len(atoms), 3))
        if min_distance(new) > MIN_RATTLE:
            return new
    raise RuntimeError('no acceptable rattled structure found')


def beta_tin(a, c):
    cell = np.array([[-a, a, c], [a, -a, c], [a, a, -c]]) / 2
    return Atoms('Si2', positions=[[0, 0, 0], [0, a / 2, c / 4]], cell=cell,
                 pbc=True)


def beta_tin_conventional(a, c):
    return Atoms('Si4', scaled_positions=[[0, 0, 0], [0, .5, .25],
                                          [.5, .5, .5], [.5, 0, .75]],
                 cell=[a, a, c], pbc=True)


def slab(face, size, vacuum):
    """Bulk-terminated slab in a fully periodic cell with a vacuum gap."""
    build = {'100': diamond100, '111': diamond111}[face]
    atoms = build('Si', size, a=A0, vacuum=vacuum / 2)
    atoms.pbc = True
    return atoms


def dimerised_slab(vacuum, buckling=0.0):
    """(001) 2x1 slab, four layers, dimers on both faces."""
    atoms = slab('100', (1, 1, 4), vacuum)
    z = np.round(atoms.positions[:, 2], 6)
    top, bottom = np.argmax(z), np.argmin(z)
    edges = {}
    for name, index in (('top', top), ('bottom', bottom)):
        # the dimer axis is the in-plane direction of the back bonds' gap
        layer = np.argsort(abs(z - z[index]))[1]
        delta = atoms.get_distance(index, layer, mic=True, vector=True)
        edges[name] = 1 - int(np.argmax(abs(delta[:2])))
    axis = edges['top']
    repeat = [1, 1, 1]
    repeat[axis] = 2
    double = atoms.repeat(repeat)
    n = len(atoms)
    length = atoms.cell.lengths()[axis]
    shift = (length - 2.35) / 2
    double.positions[top, axis] += shift
    double.positions[n + top, axis] -= shift
    double.positions[top, 2] += buckling
    if edges['bottom'] == axis:
        double.positions[bottom, axis] += shift
        double.positions[n + bottom, axis] -= shift
    return double


def liquid(rng, n, volume, temperature, steps):
    """Random packing, relaxed and then hot under Stillinger-Weber."""
    from ase.md.langevin import Langevin
    from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
    length = (n * volume)**(1 / 3)
    cell = length * (np.eye(3) + random_strain(rng, 0.05))
    while True:
        atoms = Atoms('Si', positions=[[0, 0, 0]], cell=cell, pbc=True)
        for _ in range(20000):
            if len(atoms) == n:
                break
            trial = atoms + Atoms('Si', positions=[rng.random(3) @ cell])
            if trial.get_distances(-1, range(len(atoms)), mic=True).min() > 1.95:
                atoms = trial
        if len(atoms) < n:
            continue
        atoms.calc = StillingerWeber()
        for _ in range(60):             # damped descent, limited step
            forces = atoms.get_forces()
            step = 0.02 * forces
            longest = np.linalg.norm(step, axis=1).max()
            atoms.positions += step * min(1.0, 0.08 / longest)
        MaxwellBoltzmannDistribution(atoms, temperature_K=temperature, rng=rng)
        dyn = Langevin(atoms, 1.5 * units.fs, temperature_K=temperature,
                       friction=0.05, rng=rng)
        dyn.run(steps)
        for _ in range(40):             # until no pair is too close
            if min_distance(atoms) > 1.95:
                atoms.calc = None
                atoms.wrap()
                return atoms
            dyn.run(5)


def build_frames(seed):
    """All frames as a list of (name, config_type, atoms, k-point grid)."""
    frames = []

    def add(kind, atoms, kpts):
        number = sum(f[1] == kind for f in frames)
        atoms = atoms.copy()
        atoms.set_positions(np.round(atoms.positions, 8))
        atoms.set_cell(np.round(atoms.cell[:], 8))
        assert min_distance(atoms) > MIN_DISTANCE, (kind, number)
        frames.append((f'{kind}_{number:03d}', kind, atoms, kpts))

    def generator(*key):                # one independent stream per family
        return np.random.default_rng([seed, *key])

    prim = bulk('Si', 'diamond', a=A0)
    conv = bulk('Si', 'diamond', a=A0, cubic=True)
    kprim, kconv = kpoint_grid(prim.cell), kpoint_grid(conv.cell)

    # --- diamond, strained
    rng = generator(1)
    kind = 'diamond_strain'
    for v in (0.88, 0.90, 0.92, 0.94, 0.96, 0.98, 0.99, 0.995, 1.0, 1.005, 1.01,
              1.02, 1.04, 1.06, 1.08, 1.10, 1.125, 1.15):
        add(kind, deform(prim, np.eye(3) * (v**(1 / 3) - 1)), kprim)
    for e in (-0.04, -0.02, -0.01, -0.005, 0.005, 0.01, 0.02, 0.04):
        add(kind, deform(prim, voigt(zz=e)), kprim)
    for e in (0.005, 0.01, 0.02, 0.04, 0.06):           # clamped ions
        add(kind, deform(prim, voigt(xy=e)), kprim)
    for e in (0.005, 0.01, 0.02, 0.04, 0.06):           # partly relaxed ions
        # a shear xy moves the sublattices apart along z
        atoms = deform(prim, voigt(xy=e))
        atoms.positions[1, 2] -= rng.uniform(0.3, 0.7) * e * A0 / 4
        add(kind, atoms, kprim)
    for amplitude in (0.004,) * 3 + (0.01,) * 4 + (0.03,) * 7 + (0.05,) * 5:
        add(kind, deform(prim, random_strain(rng, amplitude)), kprim)
    for amplitude in (0.02, 0.03, 0.05):
        add(kind, deform(conv, random_strain(rng, amplitude)), kconv)

    # --- diamond, rattled (and strained)
    rng = generator(2)
    kind = 'diamond_rattle'
    for amplitude in (0.01, 0.01, 0.02, 0.03, 0.04, 0.06, 0.08, 0.11):  # 2 atoms
        add(kind, rattle(deform(prim, random_strain(rng, 0.01)), rng, amplitude),
            kprim)
    for amplitude in (0.02, 0.04, 0.06, 0.09, 0.12, 0.16, 0.20, 0.25, 0.30, 0.35):
        for strain in (0.0, 0.006, 0.02, 0.045):
            add(kind, rattle(deform(conv, random_strain(rng, strain)), rng,
                             amplitude), kconv)
    for amplitude in (0.05, 0.1, 0.2, 0.3):             # 16 atoms
        big = conv.repeat((1, 1, 2))
        add(kind, rattle(deform(big, random_strain(rng, 0.015)), rng, amplitude),
            kpoint_grid(big.cell))

    # --- beta-tin
    rng = generator(3)
    kind = 'beta_tin'
    a, c = 4.81, 2.65
    cell = beta_tin(a, c)
    kpts = kpoint_grid(cell.cell, DK_METAL)
    for v in (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.13):
        add(kind, deform(cell, np.eye(3) * (v**(1 / 3) - 1)), kpts)
    for ratio in (0.94, 1.06):
        s = ratio**(1 / 3)
        for v in (0.96, 1.04):
            w = v**(1 / 3)
            add(kind, deform(cell, np.diag([w / s - 1, w / s - 1, w * s * s - 1])),
                kpts)
    cell = beta_tin_conventional(a, c)
    kpts = kpoint_grid(cell.cell)
    for amplitude in (0.03, 0.06, 0.09, 0.12, 0.16, 0.20, 0.25):
        add(kind, rattle(deform(cell, random_strain(rng, 0.03)), rng, amplitude),
            kpts)

    # --- close-packed and simple cubic
    for key, kind, a, supercells in (
            (4, 'fcc', 3.87, ((1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 1), (1, 1, 2))),
            (5, 'bcc', 3.08, ((1, 1, 1), (1, 1, 1), (1, 1, 2), (1, 1, 2), (2, 2, 1))),
            (6, 'sc', 2.54, ((1, 1, 2), (1, 1, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)))):
        rng = generator(key)
        cell = bulk('Si', kind, a=a)
        kpts = kpoint_grid(cell.cell, DK_METAL)
        for v in (0.90, 0.95, 1.0, 1.06, 1.13, 1.20):
            add(kind, deform(cell, np.eye(3) * (v**(1 / 3) - 1)), kpts)
        add(kind, deform(cell, voigt(zz=0.05)), kpts)
        add(kind, deform(cell, voigt(zz=-0.04, xy=0.05)), kpts)
        cubic = bulk('Si', kind, a=a, cubic=True) if kind != 'sc' else cell
        for repeat, amplitude in zip(supercells, (0.05, 0.09, 0.13, 0.17, 0.22)):
            big = cubic.repeat(repeat)
            strained = deform(big, np.eye(3) * rng.uniform(-0.01, 0.04)
                              + random_strain(rng, 0.025))
            add(kind, rattle(strained, rng, amplitude), kpoint_grid(big.cell))

    # --- vacancy
    rng = generator(7)
    kind = 'vacancy'
    hole = conv.copy()
    del hole[0]
    for amplitude, strain in ((0.02, 0.0), (0.04, 0.01), (0.07, 0.02), (0.1, 0.0),
                              (0.1, 0.04), (0.13, 0.02), (0.16, 0.01), (0.2, 0.03),
                              (0.25, 0.02), (0.3, 0.04)):
        add(kind, rattle(deform(hole, random_strain(rng, strain)), rng, amplitude),
            kconv)
    big = conv.repeat((1, 1, 2))
    kpts = kpoint_grid(big.cell)
    del big[0]
    for amplitude in (0.04, 0.10, 0.16, 0.24):
        add(kind, rattle(deform(big, random_strain(rng, 0.02)), rng, amplitude), kpts)

    # --- surfaces: three-dimensional periodicity with 9 Angstrom of vacuum
    rng = generator(8)
    kind = 'surface'
    for face, size in (('100', (1, 1, 8)), ('111', (1, 1, 8))):
        ideal = slab(face, size, 9.0)
        kpts = kpoint_grid(ideal.cell, vacuum_axis=2)
        add(kind, ideal, kpts)
        for amplitude in (0.04, 0.08, 0.13, 0.2):
            strain = random_strain(rng, 0.02)
            strain[2, :2] = strain[:2, 2] = 0
            strain[2, 2] = 0
            add(kind, rattle(deform(ideal, strain), rng, amplitude), kpts)
    for buckling, amplitude in ((0.0, 0.02), (0.3, 0.05), (0.5, 0.08), (0.2, 0.12)):
        ideal = dimerised_slab(9.0, buckling)
        kpts = kpoint_grid(ideal.cell, vacuum_axis=2)
        add(kind, rattle(ideal, rng, amplitude), kpts)

    # --- liquid-like
    kind = 'liquid'
    plan = [(8, 17.0), (8, 18.5), (8, 20.0), (8, 22.0), (8, 16.0), (8, 19.0),
            (10, 17.0), (10, 18.0), (10, 19.5), (10, 21.0), (9, 18.0), (9, 20.0),
            (12, 17.0), (12, 18.0), (12, 19.0), (12, 20.0), (12, 22.0), (11, 18.5),
            (14, 18.0), (14, 20.0), (16, 17.5), (16, 18.5), (16, 20.0), (8, 17.5),
            (8, 21.0), (10, 16.5), (9, 17.0), (8, 24.0)]
    for number, (n, volume) in enumerate(plan):
        rng = generator(9, number)
        temperature = (1500, 2500, 3500)[number % 3]
        atoms = liquid(rng, n, volume, temperature, steps=120)
        add(kind, atoms, kpoint_grid(atoms.cell))

    order = np.random.default_rng([seed, 0]).permutation(len(frames))
    return [frames[k] for k in order]


# ------------------------------------------------------------------ production
def write_text(path, text):
    """Write a file so that it is either absent or complete."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    temporary.write_text(text)
    os.replace(temporary, path)


def calculate_frame(job):
    name, kind, atoms, kpts, directory = job
    path = Path(directory) / f'{name}.json'
    if path.exists():
        return name, 0.0
    start = time.time()
    try:
        result = single_point(atoms, kpts)
    except Exception as error:          # one bad frame must not stop the rest
        write_text(Path(directory) / f'{name}.failed', repr(error) + '\n')
        return name + ' FAILED', time.time() - start
    write_text(path, json.dumps({
        'name': name, 'config_type': kind, 'kpts': list(kpts),
        'cell': atoms.cell[:].tolist(), 'positions': atoms.positions.tolist(),
        'pbc': atoms.pbc.tolist(), 'energy': result['energy'],
        'energy_extrapolated': result['energy_extrapolated'],
        'forces': result['forces'].tolist(), 'stress': result['stress'].tolist()}))
    return name, time.time() - start


def run(frames, directory, workers):
    from multiprocessing import get_context
    directory.mkdir(parents=True, exist_ok=True)
    jobs = [(*frame, str(directory)) for frame in frames
            if not (directory / f'{frame[0]}.json').exists()]
    print(f'{len(jobs)} of {len(frames)} frames to calculate', flush=True)
    with get_context('spawn').Pool(workers) as pool:
        done = pool.imap_unordered(calculate_frame, jobs)
        for number, (name, seconds) in enumerate(done, 1):
            print(f'{number:4d} {name:24s} {seconds:7.1f} s', flush=True)


def extxyz(frame):
    """One frame as extended-XYZ text."""
    cell = ' '.join(f'{x:.8f}' for row in frame['cell'] for x in row)
    stress = ' '.join(f'{x:.10f}' for x in frame['stress'])
    pbc = ' '.join('FT'[p] for p in frame['pbc'])
    head = [f'Lattice="{cell}"', 'Properties=species:S:1:pos:R:3:REF_forces:R:3',
            f"config_type={frame['config_type']}", f"frame_name={frame['name']}",
            'kpts="{} {} {}"'.format(*frame['kpts']),
            f"REF_energy={frame['energy']:.8f}", f'REF_stress="{stress}"',
            f'pbc="{pbc}"']
    lines = [str(len(frame['positions'])), ' '.join(head)]
    for numbers in np.hstack([frame['positions'], frame['forces']]):
        lines.append('Si ' + ' '.join(f'{x:14.8f}' for x in numbers))
    return '\n'.join(lines) + '\n'


def assemble(directory, output):
    frames = [json.loads(p.read_text()) for p in sorted(directory.glob('*.json'))]
    text = ''.join(extxyz(frame) for frame in frames)
    output = Path(output)
    temporary = output.with_name('.' + output.name + '.tmp')
    with open(temporary, 'wb') as raw, \
            gzip.GzipFile('', 'wb', 9, raw, mtime=0) as stream:
        stream.write(text.encode())
    os.replace(temporary, output)
    print(f'{len(frames)} frames, {output.stat().st_size} bytes')
    for kind in sorted({f['config_type'] for f in frames}):
        some = [f for f in frames if f['config_type'] == kind]
        energies = [f['energy'] / len(f['positions']) for f in some]
        volumes = [abs(np.linalg.det(f['cell'])) / len(f['positions']) for f in some]
        sizes = [len(f['positions']) for f in some]
        fmax = max(np.linalg.norm(f['forces'], axis=1).max() for f in some)
        print(f'| {kind} | {len(some)} | {min(sizes)}-{max(sizes)} '
              f'| {min(volumes):.1f}-{max(volumes):.1f} '
              f'| {min(energies):.3f} to {max(energies):.3f} | {fmax:.2f} |')


# ---------------------------------------------- reference values and convergence
def reference(output):
    """Equilibrium properties of diamond, at the settings of the data set."""
    from ase.optimize import BFGS
    kpts = kpoint_grid(bulk('Si', 'diamond', a=A0).cell)

    # lattice constant and bulk modulus: Birch-Murnaghan fit of F(V)
    lengths = A0 * np.linspace(0.98, 1.02, 9)
    energies = [single_point(bulk('Si', 'diamond', a=a), kpts)['energy']
                for a in lengths]
    from ase.eos import EquationOfState
    eos = EquationOfState(lengths**3 / 4, energies, eos='birchmurnaghan')
    volume, _, bulk_modulus = eos.fit()
    a0 = (4 * volume)**(1 / 3)
    prim = bulk('Si', 'diamond', a=a0)

    # elastic constants: central differences of the stress
    h = 0.005
    axial = [single_point(deform(prim, voigt(zz=e)), kpts)['stress']
             for e in (-h, h)]
    response = (axial[1] - axial[0]) / (2 * h) * GPA
    c11, c12 = response[2], (response[0] + response[1]) / 2
    clamped, relaxed = [], []
    for e in (-2 * h, 2 * h):
        atoms = deform(prim, voigt(xy=e))
        clamped.append(single_point(atoms, kpts)['stress'][5])
        atoms.calc = make_calculator(kpts)
        BFGS(atoms, logfile=None).run(fmax=0.002)
        relaxed.append(atoms.get_stress(voigt=True)[5])
    c44_clamped = (clamped[1] - clamped[0]) / (4 * h) * GPA
    c44 = (relaxed[1] - relaxed[0]) / (4 * h) * GPA
    values = {'lattice_constant_angstrom': round(a0, 4),
              'bulk_modulus_gpa': round(bulk_modulus * GPA, 2),
              'c11_gpa': round(c11, 2), 'c12_gpa': round(c12, 2),
              'c44_gpa': round(c44, 2), 'c44_clamped_gpa': round(c44_clamped, 2),
              'source': f'GPAW, PBE, PW({ECUT:g} eV), Fermi-Dirac {WIDTH:g} eV, k-point '
                        f'grid {kpts[0]}x{kpts[1]}x{kpts[2]}; a0 and B from a '
                        'Birch-Murnaghan fit of the free energy, elastic constants '
                        'from stress differences; static lattice'}
    write_text(output, json.dumps(values, indent=1) + '\n')
    print(json.dumps(values, indent=1))


def convergence(only=''):
    """Cutoff, k-points, and stress against numerical derivatives."""
    rng = np.random.default_rng(1)
    conv = bulk('Si', 'diamond', a=A0, cubic=True)
    # name: structure, spacing used in the data set, finer spacing
    cases = {'diamond, 2 atoms': (bulk('Si', 'diamond', a=A0), DK, 0.20),
             'fcc, 1 atom': (bulk('Si', 'fcc', a=3.87), DK_METAL, 0.14),
             'beta-tin, 2 atoms': (beta_tin(4.81, 2.65), DK_METAL, 0.14),
             'diamond, 8 atoms rattled 0.1 A': (rattle(conv, rng, 0.1), DK, 0.24),
             'beta-tin, 4 atoms rattled 0.1 A': (
                 rattle(beta_tin_conventional(4.81, 2.65), rng, 0.1), DK, 0.24)}

    print('| case | cutoff | k-points | F (eV/atom) | sxx (GPa) | szz (GPa) '
          '| largest force difference to the first line (meV/A) |')
    cases = {name: case for name, case in cases.items() if only in name}
    for name, (atoms, dk, fine) in cases.items():
        first = None
        for ecut, spacing in ((ECUT, dk), (300, dk), (400, dk), (500, dk),
                              (ECUT, fine)):
            grid = kpoint_grid(atoms.cell, spacing)
            r = single_point(atoms, grid, ecut=ecut)
            first = r['forces'] if first is None else first
            stress = r['stress'] * GPA
            print(f'| {name} | {ecut:g} | {grid[0]}x{grid[1]}x{grid[2]} '
                  f"| {r['energy'] / len(atoms):.4f} | {stress[0]:.3f} "
                  f"| {stress[2]:.3f} | {1e3 * abs(r['forces'] - first).max():.1f} |",
                  flush=True)
    print('| case | component | stress (GPa) | dF/dstrain / V (GPa) |')
    h = 0.004
    for name, (atoms, dk, _) in cases.items():
        grid = kpoint_grid(atoms.cell, dk)
        analytic = single_point(atoms, grid)['stress'] * GPA
        for component, k in (('zz', 2), ('xy', 5)):
            if component == 'xy' and 'diamond, 8' not in name:
                continue
            e = [single_point(deform(atoms, voigt(**{component: s})), grid)['energy']
                 for s in (-h, h)]
            numeric = (e[1] - e[0]) / (2 * h) / atoms.get_volume() * GPA
            print(f'| {name} | {component} | {analytic[k]:.3f} | {numeric:.3f} |',
                  flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--frames-dir', type=Path, default=Path('silicon_frames'))
    parser.add_argument('--workers', type=int, default=1)
    parser.add_argument('--seed', type=int, default=20)
    parser.add_argument('--small-first', action='store_true',
                        help='by cell volume instead of the shuffled order')
    parser.add_argument('--list', action='store_true', help='only list the frames')
    parser.add_argument('--reference', action='store_true',
                        help='write silicon_pbe_reference.json to --frames-dir/..')
    parser.add_argument('--convergence', nargs='?', const='', metavar='CASE',
                        help='print the convergence tables (of the cases whose name '
                             'contains CASE)')
    parser.add_argument('--assemble', metavar='OUT',
                        help='gather the finished frames into one .extxyz.gz file')
    args = parser.parse_args()
    os.environ.setdefault('OMP_NUM_THREADS', '1')
    if args.assemble:
        assemble(args.frames_dir, args.assemble)
    elif args.reference:
        args.frames_dir.mkdir(parents=True, exist_ok=True)
        reference(args.frames_dir.parent / 'silicon_pbe_reference.json')
    elif args.convergence is not None:
        convergence(args.convergence)
    else:
        frames = build_frames(args.seed)
        if args.small_first:
            frames.sort(key=lambda frame: frame[2].get_volume())
        if args.list:
            for name, _, atoms, kpts in frames:
                print(f'{name:22s} {len(atoms):3d} atoms  k {kpts}  '
                      f'{atoms.get_volume() / len(atoms):6.2f} A^3/atom  '
                      f'closest {min_distance(atoms):.2f} A')
            print(len(frames), 'frames')
            return
        run(frames, args.frames_dir, args.workers)


if __name__ == '__main__':
    main()

"""Pictures of the physics report: equation of state, phonons, radial distribution, energy in molecular dynamics.

Comes in: sections of `bpnumba.properties.report`, or the records of the rooms beside it.  Goes out: pictures; the
ending of a name chooses the format.
"""

from pathlib import Path

import numpy as np

from bpnumba.plots import COLORS, FAINT, _figure, _finish
from bpnumba.units import MEV

__all__ = ["draw", "energy", "equation_of_state", "phonons", "radial_distribution"]


def draw(sections, folder):
    """Draw what the sections of a report hold; returns the paths of the pictures.

    Parameters
    ----------
    sections : sequence of Section
    folder : str or Path
        It must be there.
    """
    found, paths = [(name, curve) for section in sections for name, curve in section.curves.items()], []
    for name, curve in found:
        path = Path(folder) / f"{name.replace(' ', '_')}.png"
        if path in paths:  # of another kind of structure
            path = path.with_name(f"{path.stem}_{1 + len(paths)}.png")
        PICTURES[name](curve, path)
        paths.append(path)
    return paths


def equation_of_state(state, path, title="Equation of state"):
    """Energies against volume, and the Birch-Murnaghan fit; energies count from the minimum.

    Parameters
    ----------
    state : State
    path : str or Path
        Written to; the ending chooses the format.
    title : str, optional
    """
    figure = _figure(4.8, 3.8)
    axes = figure.add_subplot()
    volume = np.linspace(state.volume_k.min(), state.volume_k.max(), 200)
    axes.plot(volume, MEV * (state.fit(volume) - state.energy), color=COLORS[0], linewidth=1.5, zorder=2,
              label="Birch–Murnaghan fit")  # fmt: skip
    for known, face, label in ((True, COLORS[1], "potential"), (False, "white", "outside the training data")):
        shown = state.known_k == known
        if shown.any():
            axes.plot(state.volume_k[shown], MEV * (state.energy_k[shown] - state.energy), "o", color=COLORS[1],
                      markerfacecolor=face, markersize=5, zorder=3, label=label)  # fmt: skip
    axes.axvline(state.volume, color=FAINT, linewidth=0.8, linestyle="--", zorder=1)
    words = (f"$V_0$ = {state.volume:.2f} Å$^3$/atom\n$B_0$ = {state.bulk_modulus:.1f} GPa\n"
             f"$B_0' = {state.derivative:.2f}$")  # fmt: skip
    axes.set(title=title, xlabel="volume (Å$^3$/atom)", ylabel="energy above the minimum (meV/atom)")
    _finish(axes, loc="upper center", title=words, title_fontsize=8)
    axes.get_legend().set(frame_on=True, zorder=4)
    axes.get_legend().get_frame().set(facecolor="white", edgecolor="none", alpha=1.0)
    figure.savefig(path, dpi=150)


def phonons(bands, path, title="Phonon dispersion"):
    """Frequencies along the path through the Brillouin zone; imaginary ones below zero and in another color.

    Parameters
    ----------
    bands : Bands
    path : str or Path
        Written to; the ending chooses the format.
    title : str, optional
    """
    figure = _figure(6.4, 4.2)
    axes = figure.add_subplot()
    x_q, frequency_qb, places = bands.x_q, bands.frequency_qb, [x for x, _ in bands.ticks]
    jumps = np.flatnonzero(np.diff(x_q) < 1e-9)  # where the path goes on elsewhere
    for part in np.split(np.arange(len(x_q)), jumps + 1):
        axes.plot(x_q[part], frequency_qb[part], color=COLORS[0], linewidth=1.3, zorder=3)
        if bands.imaginary() is not None:
            imaginary = np.where(frequency_qb[part] < 0.0, frequency_qb[part], np.nan)
            axes.plot(x_q[part], imaginary, color=COLORS[1], linewidth=1.6, zorder=4)
    for x in places:
        axes.axvline(x, color=FAINT, linewidth=0.6, zorder=1)
    axes.axhline(0.0, color=FAINT, linewidth=0.8, zorder=2)
    low, high = (0.0 if bands.imaginary() is None else frequency_qb.min()), frequency_qb.max()
    axes.set(title=title, ylabel="frequency (THz)" if low == 0.0 else "frequency (THz), imaginary below 0",
             xlim=(x_q[0], x_q[-1]), ylim=(1.05 * low, 1.05 * high))  # fmt: skip
    axes.set_xticks(places, [names.replace("G", "Γ") for _, names in bands.ticks])
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def radial_distribution(distribution, path, title="Radial distribution"):
    """g(r) of every pair of elements, one panel each, with the number of neighbors on the right axis.

    Parameters
    ----------
    distribution : Distribution
    path : str or Path
        Written to; the ending chooses the format.
    title : str, optional
    """
    n_columns = min(3, len(distribution.g))
    n_rows = -(-len(distribution.g) // n_columns)
    figure = _figure(max(4.8, 3.6 * n_columns), 3.4 * n_rows + 0.3)
    figure.suptitle(title)
    for panel, (pair, g) in enumerate(distribution.g.items()):
        axes = figure.add_subplot(n_rows, n_columns, panel + 1)
        neighbors = axes.twinx()
        axes.plot(distribution.r_k, g, color=COLORS[0], linewidth=1.5, zorder=3)
        neighbors.plot(distribution.r_k, distribution.coordination[pair], color=COLORS[1], linewidth=1.0,
                       linestyle="--")  # fmt: skip
        axes.axhline(1.0, color=FAINT, linewidth=0.8, zorder=2)
        shell = distribution.first_shell(pair)
        top = 4.0 * distribution.coordination[pair][np.searchsorted(distribution.r_k, shell[2])] if shell else None
        neighbors.set(ylim=(0.0, top or None))
        axes.set(xlabel=f"distance {pair[0]}–{pair[1]} (Å)", xlim=(0.0, distribution.r_k[-1]), ylim=(0.0, None))
        axes.set_ylabel("$g(r)$", color=COLORS[0])
        neighbors.set_ylabel("neighbors within $r$", color=COLORS[1])
        for sides in (axes, neighbors):
            sides.spines["top"].set_visible(False)
    figure.savefig(path, dpi=150)


def energy(kept, path, title="Molecular dynamics at constant energy"):
    """Total energy against time, and the line that gives the drift.

    Parameters
    ----------
    kept : Conservation
    path : str or Path
        Written to; the ending chooses the format.
    title : str, optional
    """
    figure = _figure(5.6, 3.6)
    axes = figure.add_subplot()
    drift, start = np.polyfit(kept.time_k, kept.energy_k, 1)
    axes.plot(kept.time_k, kept.energy_k, color=COLORS[0], linewidth=0.8, zorder=3,
              label=f"fluctuation {kept.fluctuation:.3f} meV/atom")  # fmt: skip
    axes.plot(kept.time_k, start + drift * kept.time_k, color=COLORS[1], linewidth=1.5, zorder=4,
              label=f"drift {kept.drift:+.3f} meV/atom/ps")  # fmt: skip
    low, high = kept.energy_k.min(), kept.energy_k.max()
    room = 0.05 * (high - low) or 1.0
    axes.set(title=f"{title}, {kept.temperature:.0f} K", xlabel="time (ps)", ylabel="$E(t) - E(0)$ (meV/atom)",
             xlim=(0.0, kept.time_k[-1]), ylim=(low - room, high + 8 * room))  # fmt: skip
    _finish(axes, loc="upper right", ncols=2)
    figure.savefig(path, dpi=150)


PICTURES = {"equation of state": equation_of_state, "phonons": phonons, "radial distribution": radial_distribution,
            "energy": energy}  # fmt: skip
"""Names of curves in sections -> what draws them."""

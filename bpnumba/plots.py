"""Pictures: parity plots and learning curves, written to files.

Comes in: a potential and labelled frames, or the history of a training.  Goes out: a picture (the ending of the name
chooses its format).  matplotlib is imported when a picture is made, and only in this file; no display is needed and no
global state of matplotlib is touched.
"""

from pathlib import Path

import numpy as np

from bpnumba.evaluation import compare, stress_of
from bpnumba.io.archive import check_target
from bpnumba.units import GPA, MEV

__all__ = ["check_picture", "learning_curves", "parity"]

COLORS = ("#2f6db3", "#d9542b", "#3a9d5d", "#8a5bb5")  # blue, orange, green, violet: also told apart by their lightness
FAINT = "#8c8c8c"
MANY = 3000  # points from which on markers become small and faint
COARSE, FINE = {"s": 14, "alpha": 0.6}, {"s": 4, "alpha": 0.4}


def check_picture(path):
    """Raise ValueError or OSError if no picture of this name can be written, before any work is done for it."""
    figure = _figure(1, 1)
    endings = sorted(figure.canvas.get_supported_filetypes())
    if Path(path).suffix[1:].lower() not in endings:
        raise ValueError(f"{path}: a picture must end in one of .{', .'.join(endings)}")
    check_target(path)


def parity(potential, data, path, title=""):
    """Predicted against labelled energies, forces and stresses, one panel each.

    The energies shown are per atom, with the reference energies of the atoms taken off. Isolated atoms are not shown.

    Parameters
    ----------
    potential : Potential, Committee or Composite
    data : Dataset, or dict of str to Dataset
        Several are drawn in their order in different colors, for example ``{"training": ..., "validation": ...}``.
    path : str or Path
        Written to; the ending chooses the format.
    title : str, optional
    """
    parts = {name: _shown(dataset) for name, dataset in (data if isinstance(data, dict) else {"": data}).items()}
    parts = {name: (dataset, potential.evaluate(dataset.atoms)) for name, dataset in parts.items() if len(dataset)}
    errors = {name: compare(prediction, dataset).total for name, (dataset, prediction) in parts.items()}
    kinds = [kind for kind in PANELS if any(getattr(dataset, f"has_{kind}_m").any() for dataset, _ in parts.values())]
    figure = _figure(4.3 * max(len(kinds), 1), 4.5)
    figure.suptitle(title if kinds else f"{title}: no labels to compare with")
    for panel, kind in enumerate(kinds):
        axes = figure.add_subplot(1, len(kinds), panel + 1)
        heading, unit, of, digits = PANELS[kind]
        pairs = {name: of(*part, potential.reference_energies) for name, part in parts.items()}
        low, high = (end([end(pair) for pair in pairs.values() if pair[0].size]) for end in (np.min, np.max))
        many = sum(label.size for label, _ in pairs.values()) > MANY
        for color, (name, (label, predicted)) in zip(np.resize(COLORS, len(pairs)), pairs.items(), strict=True):
            if label.size:
                error = f"RMSE {getattr(errors[name], RMSE[kind]):.{digits}f} {RMSE_UNIT[kind]}"
                axes.scatter(label, predicted, color=color, linewidths=0, zorder=3, **(FINE if many else COARSE),
                             label=f"{name}: {error}" if name else error)  # fmt: skip
        margin = 0.05 * (high - low) or 0.5
        limits = (low - margin, high + margin)
        axes.plot(limits, limits, color=FAINT, linewidth=0.8, zorder=2)
        axes.set(xlim=limits, ylim=limits, aspect="equal", title=heading, xlabel=f"label ({unit})",
                 ylabel=f"prediction ({unit})")  # fmt: skip
        _finish(axes, markerscale=2.5 if many else 1.2, loc="upper left")
    figure.savefig(path, dpi=150)


def learning_curves(histories, path):
    """Loss and errors of energy, forces and stress against time, on logarithmic axes.

    Parameters
    ----------
    histories : list of History
        Of `bpnumba.fit`: one, or those of the members of a committee, of which the first has the legend.
    path : str or Path
        Written to; the ending chooses the format.
    """
    all_columns = [history.as_array() for history in histories]
    panels = []
    for title, unit, parts in CURVES:
        series = [(name, k) for name, k in parts if any((columns[:, k] > 0.0).any() for columns in all_columns)]
        if series:
            panels.append((title, unit, series))
    n_columns = min(2, max(1, len(panels)))
    n_rows = max(1, -(-len(panels) // n_columns))
    figure = _figure(4.8 * n_columns, 3.3 * n_rows)
    for panel, (title, unit, series) in enumerate(panels):
        axes = figure.add_subplot(n_rows, n_columns, panel + 1)
        for color, (name, k) in zip(COLORS, series, strict=False):
            for n, columns in enumerate(all_columns):
                shown = columns[columns[:, k] > 0.0]  # neither absent (0 or NaN) nor beyond a logarithm
                label = f"{name}: {unit * shown[-1, k]:.4g} at the end" if n == 0 and len(shown) else None
                axes.plot(shown[:, -1], unit * shown[:, k], color=color, linewidth=1.5 if n == 0 else 0.7, zorder=3,
                          marker=".", markersize=3 if len(shown) < 40 else 0, label=label)  # fmt: skip
        axes.set(title=title, xlabel="time (s)", yscale="log")
        _finish(axes, loc="upper right")
    figure.savefig(path, dpi=150)


# ---- what the panels show: (label, prediction) as flat arrays -------------------------------------------------------


def _energy(dataset, prediction, reference_energies):
    has, n = dataset.has_energy_m, dataset.n_atoms_m
    offset = np.array([sum(reference_energies.get(symbol, 0.0) for symbol in atoms.symbols) for atoms in dataset.atoms])
    return ((dataset.energy_m - offset) / n)[has], ((prediction.energy_m - offset) / n)[has]


def _forces(dataset, prediction, reference_energies):
    has = np.repeat(dataset.has_forces_m, dataset.n_atoms_m)
    return dataset.forces_ac[has].ravel(), prediction.forces_ac[has].ravel()


def _stress(dataset, prediction, reference_energies):
    has = np.flatnonzero(dataset.has_stress_m)
    return GPA * dataset.stress_mv[has].ravel(), GPA * stress_of(prediction, has).ravel()


PANELS = {
    "energy": ("Binding energy per atom", "eV/atom", _energy, 1),
    "forces": ("Force components", "eV/Å", _forces, 3),
    "stress": ("Stress components", "GPa", _stress, 2),
}
RMSE = {"energy": "energy_rmse_mev_per_atom", "forces": "forces_rmse_ev_per_angstrom", "stress": "stress_rmse_gpa"}
RMSE_UNIT = {"energy": "meV/atom", "forces": "eV/Å", "stress": "GPa"}

CURVES = (  # title, unit, curves as columns of History.as_array()
    ("Loss", 1.0, (("training", 1),)),
    ("RMSE energy (meV/atom)", MEV, (("training", 2), ("validation", 5))),
    ("RMSE forces (eV/Å)", 1.0, (("training", 3), ("validation", 6))),
    ("RMSE stress (GPa)", GPA, (("training", 4), ("validation", 7))),
)


def _shown(dataset):
    """The frames with labels, without isolated atoms."""
    labelled_m = dataset.has_energy_m | dataset.has_forces_m | dataset.has_stress_m
    return dataset.subset(np.flatnonzero(labelled_m & ~dataset.isolated_m))


def _figure(width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(axes, **legend):
    axes.grid(color="#e6e6e6", linewidth=0.6, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, handletextpad=0.3, **legend)

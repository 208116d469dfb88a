"""Pictures of `bpnumba.calibration`: errors against the spread of a committee, on logarithmic axes.

Comes in: a prediction with a spread and the labels of its frames.  Goes out: a picture (the ending of the name chooses
its format) with one panel for energies and one for forces.
"""

from pathlib import Path

import numpy as np

from bpnumba.calibration import ROUNDING, Match, pairs
from bpnumba.plots import COARSE, COLORS, FAINT, MANY, _figure, _finish
from bpnumba.units import MEV

__all__ = ["beside", "calibration"]

PANELS = {"energy": ("Energy per atom", "meV/atom", MEV), "forces": ("Force per component", "eV/Å", 1.0)}
DECADES = 3.0
"""Errors further below the median spread come from chance alone and would only stretch the axis."""


def beside(path):
    """Where to put this picture next to another: si.png -> si_calibration.png."""
    path = Path(path)
    return path.with_name(f"{path.stem}_calibration{path.suffix}")


def calibration(prediction, dataset, path, title=""):
    """Size of the errors against the spread: every value, quartiles and root mean squares in bins, the diagonal.

    Points on the diagonal have errors as large as their spread; the dashed line is the spread times alpha.

    Parameters
    ----------
    prediction : Prediction
        Of ``dataset.atoms``, with a spread.
    dataset : Dataset
    path : str or Path
        Written to; the ending chooses the format.
    title : str, optional

    Raises
    ------
    ValueError
        The prediction has no spread.
    """
    found = {kind: (*values, Match.of(*values)) for kind, values in pairs(prediction, dataset).items()}
    found = {kind: values for kind, values in found.items() if values[2] is not None and values[2].alpha > 0.0}
    figure = _figure(4.6 * max(len(found), 1), 5.3)
    figure.suptitle(title if found else f"{title}: no labels to compare with")
    for panel, (kind, (spread, error_c, match)) in enumerate(found.items()):
        heading, unit, factor = PANELS[kind]
        shown = spread > ROUNDING
        spread, error = factor * spread[shown], factor * np.sqrt(np.mean(error_c[shown] ** 2, axis=1))
        low = 10.0**-DECADES * np.median(spread)
        limits = (0.7 * max(low, min(spread.min(), error.min())), 1.4 * max(spread.max(), error.max()))
        axes = figure.add_subplot(1, len(found), panel + 1)
        axes.set(xscale="log", yscale="log", xlim=limits, ylim=limits, box_aspect=1, title=heading,
                 xlabel=f"spread ({unit})", ylabel=f"size of the error ({unit})")  # fmt: skip
        error = np.maximum(error, limits[0])
        if len(spread) > MANY:
            axes.hexbin(spread, error, gridsize=70, xscale="log", yscale="log", bins="log", cmap="Blues", mincnt=1,
                        linewidths=0, extent=(*np.log10(limits), *np.log10(limits)), zorder=1)  # fmt: skip
        else:
            axes.scatter(spread, error, color=COLORS[0], linewidths=0, zorder=1, **COARSE)
        axes.plot(limits, limits, color=FAINT, linewidth=0.8, zorder=2, label="error = spread")
        axes.plot(limits, match.alpha * np.array(limits), color=FAINT, linewidth=1.0, linestyle="--", zorder=2,
                  label=f"error = {match.alpha:.2f} spread")  # fmt: skip
        x, y = (factor * np.array([getattr(one, name) for one in match.bins]) for name in ("spread", "error"))
        groups = np.array_split(np.argsort(spread, kind="stable"), len(x))
        quartiles = np.array([np.quantile(error[rows], [0.25, 0.75]) for rows in groups])
        axes.vlines(x, *quartiles.T, color=COLORS[1], linewidth=1.5, zorder=3, label="quartiles of bins")
        axes.plot(x, y, "o", color=COLORS[1], markersize=5, zorder=4, label="RMS of bins")
        _finish(axes, loc="upper left")
    figure.savefig(path, dpi=150)

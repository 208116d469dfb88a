"""What a model file tells of its making, as text with units."""

from bpnumba.calibration import Calibration
from bpnumba.evaluation import Errors

UNIT_OF = {
    "seconds": "s",
    "cutoff": "Angstrom",
    "energy_scale": "eV/atom",
    "forces_scale": "eV/Angstrom",
    "stress_scale": "eV/Angstrom^3",
    "reference_energies": "eV",
    "hidden": "neurons",
    "n_functions": "per element, at most",
    "valid_fraction": "of the frames",
    **dict.fromkeys(("energy_weight", "forces_weight", "stress_weight", "config_type_weights", "l2"), "(no unit)"),
}
"""Of what a model file tells about its training; the rest are counts and words."""


def _indented(entries, depth=0, unit=""):
    """Lines of a nested dictionary, numbers with their units."""
    lines, margin = [], "   " * depth
    for name, value in entries.items():
        of_value = UNIT_OF.get(name, unit)
        if isinstance(value, dict):
            lines += [f"{margin}{name}:", *_indented(value, depth + 1, of_value)]
            continue
        text = f"{value:.6g}" if isinstance(value, float) else f"{value}"
        lines.append(f"{margin}{name}: {text} {of_value if value is not None else ''}".rstrip())
    return lines


def _table(kind, plain):
    """A table that a model file remembers; a model is no worse for a damaged one."""
    try:
        return str(kind.from_json(plain))
    except (AttributeError, KeyError, TypeError, ValueError):
        return "(in a form that this bpnumba cannot read)"


def told(info):
    """Lines about the training of a model or of a member of a committee, tables of errors last."""
    about, tables = dict(info), []
    if isinstance(about.get("training"), dict):
        training = dict(about["training"])
        errors, calibration = training.pop("errors", {}), training.pop("calibration", None)
        about["training"] = training
        for name, plain in errors.items() if isinstance(errors, dict) else [("the", errors)]:
            tables.append(f"\n{name} errors\n{_table(Errors, plain)}")
        if calibration is not None:
            tables.append(f"\n{_table(Calibration, calibration)}")
    return "\n".join([*_indented(about), *tables])

"""The command ``bpnumba``: fit, evaluate, info, demo; each a few lines of public calls.

Options that are not given are not passed on: the defaults stand in one place, the Python functions.  Mistakes of the
user (ValueError, OSError) end with one line on standard error and exit code 2; anything else is a fault of the library
and shows where it happened.
"""

import argparse
import json
import sys
import warnings
from pathlib import Path

import bpnumba

__all__ = ["main"]


def main(arguments=None):
    """Run the command; returns the exit code.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.
    """
    options = vars(parser().parse_args(arguments))
    command = options.pop("command")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            command(**options)
        except (ValueError, OSError) as error:
            print(f"bpnumba: error: {_message(error)}", file=sys.stderr)
            return 2
    return 0


# ---- the commands ----------------------------------------------------------------------------------------------------


def fit(train, reference_energies=None, config_type_weights=None, **options):
    """Fit a potential to labelled structures."""
    given = {"reference_energies": reference_energies, "config_type_weights": config_type_weights}
    options |= {name: dict(pairs) for name, pairs in given.items() if pairs}
    bpnumba.fit(train, keys=_keys(options), **options)


def evaluate(model, data, json_path=None, plot=None, **options):
    """Errors of a potential against labels."""
    from bpnumba import plots
    from bpnumba.training.dataset import read, report

    potential, dataset = bpnumba.load(model), read(data, _keys(options))
    print(report(dataset))
    errors = bpnumba.evaluate(potential, dataset)
    print(errors)
    if json_path is not None:
        Path(json_path).write_text(json.dumps(errors.to_json(), indent=1) + "\n")
    if plot is not None:
        plots.parity(potential, dataset, plot, title=", ".join(data))


def info(model):
    """What is in a model file."""
    from bpnumba.evaluation import Errors

    potential = bpnumba.load(model)
    training = dict(potential.info.get("training", {}))
    errors = training.pop("errors", {})
    print(f"{potential}\n\n{potential.symmetry_functions}\n")
    print("\n".join(_indented({**potential.info, "training": training})))
    for name, plain in errors.items():
        print(f"\n{name} errors\n{Errors.from_json(plain)}")


def demo(folder):
    """Fit silicon from the embedded data and compare with density-functional theory."""
    from bpnumba import demo

    demo.run(folder)


# ---- the command line ------------------------------------------------------------------------------------------------


def parser():
    """The parser of the command line."""
    top = argparse.ArgumentParser(prog="bpnumba", description="Behler-Parrinello neural network potentials")
    top.add_argument("--version", action="version", version=f"bpnumba {bpnumba.__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = _command(commands, "fit", fit)
    one.add_argument("train", nargs="+", help="training structures; any format that ASE reads, extended XYZ first")
    one.add_argument("--valid", nargs="+", metavar="FILE", help="validation structures")
    one.add_argument("--output", metavar="MODEL", default="model.npz", help="model file (default: model.npz)")
    one.add_argument("--resume", action="store_true", help="continue a fit that was interrupted")
    for name, kind, text in FIT_OPTIONS:
        one.add_argument(f"--{name}", type=kind, metavar=kind.__name__.upper(), help=text)
    one.add_argument("--hidden", type=int, nargs="+", metavar="INT", help="neurons of the hidden layers")
    one.add_argument("--config-type-weights", type=_named_number, nargs="+", metavar="TYPE=FLOAT",
                     help="weights of frames by their config_type")  # fmt: skip
    one.add_argument("--reference-energies", type=_named_number, nargs="+", metavar="ELEMENT=EV",
                     help="energies of single atoms")  # fmt: skip
    _add_keys(one)

    two = _command(commands, "evaluate", evaluate)
    two.add_argument("model", help="model file")
    two.add_argument("data", nargs="+", help="labelled structures")
    two.add_argument("--json", dest="json_path", metavar="FILE", help="write the errors as JSON")
    two.add_argument("--plot", metavar="FILE", help="write a parity plot; the ending chooses the format")
    _add_keys(two)

    three = _command(commands, "info", info)
    three.add_argument("model", help="model file")

    four = _command(commands, "demo", demo)
    four.add_argument("--folder", default=".", help="where to write (default: the current folder)")
    return top


FIT_OPTIONS = (
    ("cutoff", float, "cutoff radius in Angstrom"),
    ("n-functions", int, "largest number of symmetry functions per element"),
    ("cutoff-function", str, "cutoff function of the symmetry functions"),
    ("activation", str, "activation function of the hidden layers"),
    ("scaling", str, "scaling of the symmetry functions"),
    ("energy-weight", float, "weight of the energies"),
    ("forces-weight", float, "weight of the forces"),
    ("stress-weight", float, "weight of the stresses"),
    ("energy-scale", float, "error of an energy that counts as noise, eV/atom"),
    ("forces-scale", float, "error of a force that counts as noise, eV/Angstrom"),
    ("stress-scale", float, "error of a stress that counts as noise, eV/Angstrom^3"),
    ("l2", float, "strength of the L2 regularization"),
    ("seed", int, "of the random weights and the choice of validation frames"),
    ("max-iterations", int, "end at the latest after so many iterations"),
    ("valid-fraction", float, "part of the training frames used for validation where --valid is not given"),
    ("patience", int, "end after so many iterations without a better validation error"),
    ("checkpoint-every", int, "iterations between checkpoints"),
)


def _command(commands, name, function):
    command = commands.add_parser(name, help=function.__doc__, description=function.__doc__,
                                  argument_default=argparse.SUPPRESS)  # fmt: skip
    command.set_defaults(command=function)
    return command


def _add_keys(command):
    for kind in ("energy", "forces", "stress", "virial"):
        command.add_argument(f"--{kind}-key", metavar="NAME", help=f"name of the {kind} label (default: REF_{kind})")


def _keys(options):
    """Keys from options, which lose them."""
    from bpnumba.training.dataset import Keys

    return Keys(**{name: options.pop(f"{name}_key") for name in Keys._fields if f"{name}_key" in options})


def _named_number(text):
    name, equals, number = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER")
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{number!r} in {text!r} is not a number") from None


def _indented(entries, depth=0):
    """Lines of a nested dictionary."""
    lines, margin = [], "   " * depth
    for name, value in entries.items():
        if isinstance(value, dict):
            lines += [f"{margin}{name}:", *_indented(value, depth + 1)]
        else:
            lines.append(f"{margin}{name}: {value:.6g}" if isinstance(value, float) else f"{margin}{name}: {value}")
    return lines


def _message(error):
    """One line: without the number of an operating system's error."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"bpnumba: warning: {message}", file=sys.stderr)

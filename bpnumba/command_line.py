"""The options of the command ``bpnumba``.

An option that is not given is not passed on: the defaults stand in one place, the Python functions.
"""

import argparse

from bpnumba import __version__

UNITS_HELP = "of files of RuNNer and n2p2: atomic (bohr, Hartree; the default) or metal (Angstrom, eV)"
FIT_OPTIONS = (
    ("units", str, UNITS_HELP),
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
    ("l2", float, "strength of the L2 regularization (default: chosen on the validation frames)"),
    ("seed", int, "of the random weights and the choice of validation frames"),
    ("optimizer", str, "kalman+gn-lbfgs, kalman, gn-lbfgs or lbfgs (default: by the number of weights)"),
    ("max-iterations", int, "end at the latest after so many iterations"),
    ("max-epochs", int, "passes of the Kalman filter over the training frames"),
    ("max-seconds", float, "end after so many seconds"),
    ("committee", int, "number of potentials to fit, which differ in their random weights; together one model"),
    ("repulsion", str, "zbl: the repulsion of nuclei as a part of the model, which is not learned"),
    ("memory", str, "most memory to use, such as 4GB (default: what is free)"),
    ("jacobian", str, "where derivatives are kept: memory, disk or recompute (default: what fits)"),
    ("precision", str, "of these derivatives: float32 or float64"),
    ("valid-fraction", float, "part of the training frames used for validation where --valid is not given"),
    ("patience", int, "end after so many iterations without a better validation error"),
    ("checkpoint-every", int, "iterations between checkpoints"),
)


def parser(functions):
    """The parser of the command line.

    Parameters
    ----------
    functions : dict
        Command -> function whose arguments are the options that were given; its docstring is the help.
    """
    top = argparse.ArgumentParser(prog="bpnumba", description="Behler-Parrinello neural network potentials")
    top.add_argument("--version", action="version", version=f"bpnumba {__version__}")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    one = _command(commands, "fit", functions["fit"])
    one.add_argument("train", nargs="+", help="training structures: extended XYZ, input.data of RuNNer, what ASE reads")
    one.add_argument("--valid", action="append", metavar="FILE", help="validation structures; may be repeated")
    one.add_argument("--output", metavar="MODEL", default="model.npz", help="model file (default: model.npz)")
    one.add_argument("--resume", action="store_true", help="continue a fit that was interrupted")
    for name, kind, text in FIT_OPTIONS:
        one.add_argument(f"--{name}", type=kind, metavar=kind.__name__.upper(), help=text)
    one.add_argument("--hidden", type=_layers, nargs="+", metavar="INT",
                     help="neurons of the hidden layers: 15 15, or 15,15")  # fmt: skip
    one.add_argument("--config-type-weights", type=_named_number, nargs="+", metavar="TYPE=FLOAT",
                     help="weights of frames by their config_type")  # fmt: skip
    one.add_argument("--functions", metavar="FILE",
                     help="symmetry functions of an input.nn or a model file; by default they are chosen")  # fmt: skip
    one.add_argument("--reference-energies", type=_named_number, nargs="+", metavar="ELEMENT=EV",
                     help="energies of single atoms")  # fmt: skip
    _add_keys(one)

    two = _command(commands, "evaluate", functions["evaluate"])
    two.add_argument("model", help="model file, or folder of RuNNer or n2p2")
    two.add_argument("data", nargs="+", help="labelled structures")
    two.add_argument("--json", dest="json_path", metavar="FILE", help="write the errors as JSON")
    two.add_argument("--plot", metavar="FILE", help="write a parity plot; the ending chooses the format")
    two.add_argument("--properties", nargs="?", const="properties", metavar="FOLDER",
                     help="lattice, elastic constants, equation of state, vacancy and phonons of a crystal, radial "
                          "distribution, energy conservation, vibrations of a molecule; pictures go to the folder "
                          "(default: properties). Files stand before this option")  # fmt: skip
    two.add_argument("--structure", metavar="FILE", help="properties of this structure, not of one of the data")
    two.add_argument("--temperature", type=float, metavar="K",
                     help="properties: of the molecular dynamics in K (default: 300)")  # fmt: skip
    two.add_argument("--time", type=float, metavar="PS",
                     help="properties: length in ps of the molecular dynamics with a thermostat, and again of that at "
                          "constant energy (default: 1; 10 s for 100 Si, 2 min for 64 H2O)")  # fmt: skip
    _add_units(two)
    _add_keys(two)

    look = _command(commands, "doctor", functions["doctor"])
    look.add_argument("data", nargs="+", help="labelled structures: extended XYZ, input.data of RuNNer, what ASE reads")
    look.add_argument("--json", dest="json_path", metavar="FILE", help="write the findings as JSON")
    _add_units(look)
    _add_keys(look)

    three = _command(commands, "info", functions["info"])
    three.add_argument("model", nargs="?", help="model file, or folder of RuNNer or n2p2")
    three.add_argument("--kernels", action="store_true", help="which kernels this machine uses, and why")
    _add_units(three)

    four = _command(commands, "convert", functions["convert"])
    four.add_argument("source", help="model file .npz, folder with input.nn, input.data, or structures that ASE reads")
    four.add_argument("target", help="folder or model file .npz; structures that ASE writes, or input.data")
    four.add_argument("--overwrite", action="store_true", help="also replace the model in a folder")
    _add_units(four)

    five = _command(commands, "demo", functions["demo"])
    five.add_argument("--folder", default=".", help="where to write (default: the current folder)")

    six = _command(commands, "warmup", functions["warmup"])
    six.add_argument("model", help="model file, or folder of RuNNer or n2p2")
    _add_units(six)

    seven = _command(commands, "select-frames", functions["select-frames"])
    seven.add_argument("model", help="model file, best of a committee, or folder of RuNNer or n2p2")
    seven.add_argument("pool", nargs="+", help="structures to choose from; labels are not looked at")
    seven.add_argument("--n", type=int, metavar="INT", help="how many to choose (default: 20)")
    seven.add_argument("--output", metavar="FILE", help="write the chosen frames, without labels, the best first")
    seven.add_argument("--distinct-from", action="append", metavar="FILE",
                       help="frames that are known, such as training data; may be repeated")  # fmt: skip
    _add_units(seven)
    _add_keys(seven)
    return top


def _command(commands, name, function):
    command = commands.add_parser(name, help=function.__doc__, description=function.__doc__,
                                  argument_default=argparse.SUPPRESS)  # fmt: skip
    command.set_defaults(command=function)
    return command


def _add_keys(command):
    for kind in ("energy", "forces", "stress", "virial"):
        command.add_argument(f"--{kind}-key", metavar="NAME",
                             help=f"name of the {kind} label (default: REF_{kind}); none leaves it out")  # fmt: skip


def _add_units(command):
    command.add_argument("--units", metavar="STR", help=UNITS_HELP)


def _layers(text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of neurons; files stand before options") from None


def _named_number(text):
    name, equals, number = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=NUMBER; files stand before options")
    try:
        return name, float(number)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{number!r} in {text!r} is not a number") from None

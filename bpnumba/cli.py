"""The command ``bpnumba``: fit, evaluate, info, convert, demo; each a few lines of public calls.

Options that are not given are not passed on: the defaults stand in one place, the Python functions.  Mistakes of the
user (ValueError, OSError, FloatingPointError, MemoryError) end with one line on standard error and exit code 2, Ctrl-C
with one line and 130; anything else is a fault of the library and shows where it happened.
"""

import argparse
import json
import os
import sys
import warnings

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
            sys.stdout.flush()
        except BrokenPipeError:  # the reader, such as head, has seen enough; the interpreter must not flush once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except (ValueError, OSError, FloatingPointError, MemoryError) as error:
            print(f"bpnumba: error: {_message(error)}", file=sys.stderr)
            return 2
        except KeyboardInterrupt:
            print("bpnumba: interrupted", file=sys.stderr)
            return 130
    return 0


# ---- the commands ----------------------------------------------------------------------------------------------------


def fit(train, functions=None, reference_energies=None, config_type_weights=None, **options):
    """Fit a potential to labelled structures."""
    from bpnumba.training import ranks

    ranks.check_launch()
    if ranks.is_worker():
        return ranks.serve(ranks.communicator())
    if functions is not None:
        options["symmetry_functions"] = _functions(functions, options)
    given = {"reference_energies": reference_energies, "config_type_weights": config_type_weights}
    options |= {name: dict(pairs) for name, pairs in given.items() if pairs}
    if "hidden" in options:
        options["hidden"] = [neurons for part in options["hidden"] for neurons in part]
    bpnumba.fit(train, keys=_keys(options), **options)


def evaluate(model, data, json_path=None, plot=None, **options):
    """Errors of a potential against labels, and with --properties, what it makes of crystals, liquids and molecules."""
    from bpnumba import plots, plots_calibration
    from bpnumba.calibration import members_of
    from bpnumba.conversion import load_model
    from bpnumba.io.archive import check_target, write_atomically
    from bpnumba.io.frames import is_input_data
    from bpnumba.plots_calibration import beside
    from bpnumba.properties.run import run as run_properties
    from bpnumba.training.dataset import read, report
    from bpnumba.units import NAMES

    keys, physics = _keys(options), _properties(options)
    if json_path is not None:
        check_target(json_path)
    if plot is not None:
        plots.check_picture(plot)
    potential, dataset = load_model(model, **options), read(data, keys, **options)
    if os.path.isdir(model) or any(map(is_input_data, data)):
        print(f"files of RuNNer and n2p2 are taken to be in {NAMES[options.get('units', 'atomic')]} (--units)")
    print(report(dataset))
    errors = bpnumba.evaluate(potential, dataset)
    print(errors)
    plain, n_members = errors.to_json(), members_of(potential)
    if n_members:
        prediction = potential.evaluate(dataset.atoms)
        calibration = bpnumba.Calibration.of(prediction, dataset, n_members)
        print(calibration)
        plain["calibration"] = calibration.to_json()
    if physics is not None:
        plain["properties"] = run_properties(potential, dataset, **physics, **options)
    if json_path is not None:
        write_atomically(json_path, (json.dumps(plain, indent=1) + "\n").encode())
    if plot is not None:
        plots.parity(potential, dataset, plot, title=", ".join(data))
        if n_members:
            plots_calibration.calibration(prediction, dataset, beside(plot), title=", ".join(data))


def doctor(data, json_path=None, **options):
    """Look at training data before a fit: what there is, what is strange, and what to do about it."""
    from bpnumba.doctor import examine
    from bpnumba.io.archive import check_target, write_atomically

    if json_path is not None:
        check_target(json_path)
    report = examine(data, _keys(options), **options)
    print(report)
    if json_path is not None:
        write_atomically(json_path, (json.dumps(report.to_json(), indent=1) + "\n").encode())


def info(model=None, kernels=False, **units):
    """What is in a model, and with --kernels, which kernels this machine uses and why."""
    from bpnumba.conversion import load_model

    if kernels or model is None:
        from bpnumba import kernels as room

        print(room.report())
    if model is None:
        return
    potential = load_model(model, **units)
    print(f"{potential}\n\n{potential.symmetry_functions}\n")
    _show_info(potential.info)
    for n, member in enumerate(getattr(getattr(potential, "short_range", potential), "members", ())):
        if member.info:
            print(f"\nmember {n}")
            _show_info(member.info)


def _show_info(info):
    """What a model or a member of a committee tells of its making, the tables of errors last."""
    about, errors = dict(info), {}
    if isinstance(about.get("training"), dict):
        about["training"] = {name: value for name, value in about["training"].items() if name != "errors"}
        errors = info["training"].get("errors", {})
    print("\n".join(_indented(about)))
    for name, plain in errors.items() if isinstance(errors, dict) else [("the", errors)]:
        print(f"\n{name} errors\n{_table(plain)}")


def warmup(model, **units):
    """Compile the kernels for a model now, and keep them for later."""
    from bpnumba import calculator
    from bpnumba.conversion import load_model

    print(calculator.warm_up(load_model(model, **units)))


def convert(source, target, **options):
    """Convert models or structures of RuNNer and n2p2 into those of bpnumba and ASE, or back."""
    from bpnumba import conversion

    print(conversion.convert(source, target, **options))


def select_frames(model, pool, output=None, **options):
    """Choose frames of a pool that are worth computing next, for active learning."""
    from tqdm import tqdm

    from bpnumba.conversion import load_model
    from bpnumba.io.archive import check_target
    from bpnumba.io.frames import named_input_data, write_frames

    if output is not None:
        check_target(output)
        if named_input_data(output):
            raise ValueError(f"{output}: files of RuNNer and n2p2 cannot hold frames without labels; write .xyz")
    units = {name: options[name] for name in ("units",) if name in options}
    with tqdm(desc="frames", unit="", disable=None, leave=False) as bar:
        potential, keys = load_model(model, **units), _keys(options)
        choice = bpnumba.select_frames(potential, pool, keys=keys, report=bar.update, **options)
    print(choice)
    if output is not None and choice.frames:
        write_frames(output, choice.frames)
        print(f"wrote {output}")


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

    two = _command(commands, "evaluate", evaluate)
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

    look = _command(commands, "doctor", doctor)
    look.add_argument("data", nargs="+", help="labelled structures: extended XYZ, input.data of RuNNer, what ASE reads")
    look.add_argument("--json", dest="json_path", metavar="FILE", help="write the findings as JSON")
    _add_units(look)
    _add_keys(look)

    three = _command(commands, "info", info)
    three.add_argument("model", nargs="?", help="model file, or folder of RuNNer or n2p2")
    three.add_argument("--kernels", action="store_true", help="which kernels this machine uses, and why")
    _add_units(three)

    four = _command(commands, "convert", convert)
    four.add_argument("source", help="model file .npz, folder with input.nn, input.data, or structures that ASE reads")
    four.add_argument("target", help="folder or model file .npz; structures that ASE writes, or input.data")
    four.add_argument("--overwrite", action="store_true", help="also replace the model in a folder")
    _add_units(four)

    five = _command(commands, "demo", demo)
    five.add_argument("--folder", default=".", help="where to write (default: the current folder)")

    six = _command(commands, "warmup", warmup)
    six.add_argument("model", help="model file, or folder of RuNNer or n2p2")
    _add_units(six)

    seven = _command(commands, "select-frames", select_frames)
    seven.add_argument("model", help="model file, best of a committee, or folder of RuNNer or n2p2")
    seven.add_argument("pool", nargs="+", help="structures to choose from; labels are not looked at")
    seven.add_argument("--n", type=int, metavar="INT", help="how many to choose (default: 20)")
    seven.add_argument("--output", metavar="FILE", help="write the chosen frames, without labels, the best first")
    seven.add_argument("--distinct-from", action="append", metavar="FILE",
                       help="frames that are known, such as training data; may be repeated")  # fmt: skip
    _add_units(seven)
    _add_keys(seven)
    return top


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


def _functions(path, options):
    """Symmetry functions of a file, which leave nothing to choose."""
    choices = [name for name in ("cutoff", "n_functions", "cutoff_function") if name in options]
    if choices:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in choices)
        raise ValueError(f"--functions {path} says which symmetry functions to use: leave out {names}")
    if path.endswith(".npz"):
        return bpnumba.load(path).symmetry_functions
    from bpnumba.io.runner import read_functions

    path = os.path.join(path, "input.nn") if os.path.isdir(path) else path
    return read_functions(path, **{name: options[name] for name in ("units",) if name in options})


def _properties(options):
    """Settings of the physics report, which options lose, checked; None where it is not asked for."""
    from bpnumba.properties import run

    settings = {name: options.pop(name) for name in ("structure", "temperature", "time") if name in options}
    if "properties" not in options:
        if settings:
            raise ValueError(f"--{' and --'.join(settings)} belong to --properties, which is not asked for")
        return None
    settings["folder"] = options.pop("properties")
    run.check(**{name: value for name, value in settings.items() if name != "structure"})
    return settings


def _keys(options):
    """Keys from options, which lose them."""
    from bpnumba.training.dataset import Keys

    given = {name: options.pop(f"{name}_key") for name in Keys._fields if f"{name}_key" in options}
    return Keys(**{name: None if key.lower() == "none" else key for name, key in given.items()})


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


def _table(plain):
    """The table of errors that a model file remembers; a model is no worse for a damaged one."""
    from bpnumba.evaluation import Errors

    try:
        return str(Errors.from_json(plain))
    except (AttributeError, KeyError, TypeError, ValueError):
        return "(in a form that this bpnumba cannot read)"


def _message(error):
    """One line: without the number of an operating system's error."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"bpnumba: warning: {message}", file=sys.stderr)

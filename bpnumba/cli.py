"""The command ``bpnumba``: fit, evaluate, doctor, select-frames ...; each a few lines of public calls.

Options that are not given are not passed on: the defaults stand in one place, the Python functions.  Mistakes of the
user (ValueError, OSError, FloatingPointError, MemoryError) end with one line on standard error and exit code 2, Ctrl-C
with one line and 130; anything else is a fault of the library and shows where it happened.
"""

import json
import os
import signal
import sys
import threading
import warnings

import bpnumba
from bpnumba.command_line import parser

__all__ = ["main"]


def main(arguments=None):
    """Run the command; returns the exit code.

    Parameters
    ----------
    arguments : list of str, optional
        By default those of the command line.
    """
    options = vars(parser(COMMANDS).parse_args(arguments))
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

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # batch systems: end with the best weights so far
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
    from bpnumba.evaluation import judged
    from bpnumba.io.archive import check_target, write_atomically
    from bpnumba.io.frames import is_input_data
    from bpnumba.plots_calibration import beside
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
    prediction = potential.evaluate(dataset.atoms)
    errors = judged(potential, prediction, dataset)
    print(errors)
    plain, n_members = errors.to_json(), members_of(potential)
    if n_members:
        calibration = bpnumba.Calibration.of(prediction, dataset, n_members)
        print(calibration)
        plain["calibration"] = calibration.to_json()
    if physics is not None:
        from bpnumba.properties.run import run as run_properties

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
    from bpnumba.about import told
    from bpnumba.conversion import load_model

    if kernels or model is None:
        from bpnumba import kernels as room

        print(room.report())
    if model is None:
        return
    potential = load_model(model, **units)
    print(f"{potential}\n\n{potential.symmetry_functions}\n")
    print(told(potential.info))
    for n, member in enumerate(getattr(getattr(potential, "short_range", potential), "members", ())):
        if member.info:
            print(f"\nmember {n}\n{told(member.info)}")


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
        for path in (model, *pool, *options.get("distinct_from", ())):
            if os.path.realpath(path) == os.path.realpath(output):
                raise ValueError(f"{output}: is one of the files that are read; name another --output")
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


COMMANDS = {
    "fit": fit,
    "evaluate": evaluate,
    "doctor": doctor,
    "info": info,
    "convert": convert,
    "demo": demo,
    "warmup": warmup,
    "select-frames": select_frames,
}


# ---- what several of them need ---------------------------------------------------------------------------------------


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
    settings = {name: options.pop(name) for name in ("structure", "temperature", "time") if name in options}
    if "properties" not in options:
        if settings:
            raise ValueError(f"--{' and --'.join(settings)} belong to --properties, which is not asked for")
        return None
    settings["folder"] = options.pop("properties")
    from bpnumba.properties import run

    run.check(**{name: value for name, value in settings.items() if name != "structure"})
    return settings


def _keys(options):
    """Keys from options, which lose them."""
    from bpnumba.training.dataset import Keys

    given = {name: options.pop(f"{name}_key") for name in Keys._fields if f"{name}_key" in options}
    return Keys(**{name: None if key.lower() == "none" else key for name, key in given.items()})


def _message(error):
    """One line: without the number of an operating system's error."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def _show_warning(message, category, filename, lineno, file=None, line=None):
    print(f"bpnumba: warning: {message}", file=sys.stderr)

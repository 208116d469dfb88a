"""The command behind ``bpnumba evaluate --properties``: choose structures, print the report, draw its pictures.

Comes in: a model and the data that it was evaluated on.  Goes out: lines on the screen, pictures in a folder, and a
plain dictionary for JSON.
"""

import math
import time as clock
from pathlib import Path

import numpy as np

from bpnumba import plots_properties
from bpnumba.calculator import BPCalculator
from bpnumba.io.frames import read_frames
from bpnumba.properties.choice import choose_from, kind_of
from bpnumba.properties.report import examine
from bpnumba.training.progress import Steps

__all__ = ["check", "run"]

FOLDER = "properties"
"""Where pictures are written to where nothing else is said."""


def run(potential, dataset, folder=FOLDER, structure=None, temperature=300.0, time=1.0, units="atomic"):
    """Print the physics report and write its pictures.

    Parameters
    ----------
    potential : Potential, Committee or Composite
    dataset : Dataset
        Structures to choose from, as `bpnumba.properties.choice` says.
    folder : str or Path
        Of the pictures; made if it is not there.
    structure : str, optional
        File with a structure, the first of it, in place of those of the data.
    temperature : float
        K, of molecular dynamics.
    time : float
        ps, of molecular dynamics with a thermostat, and again at constant energy.
    units : str
        Of a structure in a file of RuNNer or n2p2.

    Returns
    -------
    dict
        Numbers for JSON: "crystal", "liquid", "molecule" -> part -> name with unit -> number.

    Raises
    ------
    ValueError, OSError
        As `check`, or the structure cannot be read.
    """
    check(folder, temperature, time)
    start, calculator = clock.perf_counter(), BPCalculator(potential, on_extrapolation="ignore")  # counted here
    if structure is None:
        found = choose_from(dataset, potential)
    else:
        atoms = read_frames(structure, units=units)[0]
        kind = kind_of(atoms, potential.evaluate([atoms]).forces_ac)
        found = {} if kind is None else {kind: (structure, atoms)}
    if not found:
        print("properties: no crystal, liquid or molecule to look at; name one with --structure")
        return {}
    sections, plain = [], {}
    print(f"\nproperties, with molecular dynamics of 2 x {time:g} ps at {temperature:g} K")
    with np.errstate(all="ignore"):  # what fails is said in words
        for section in examine(calculator, found, temperature, time, progress=Steps):
            print(section, flush=True)
            sections.append(section)
            of_kind = plain.setdefault(section.kind, {"structure": found[section.kind][0]})
            of_kind[section.part.replace(" ", "_")] = section.to_json()
    Path(folder).mkdir(parents=True, exist_ok=True)
    pictures = plots_properties.draw(sections, folder)
    print(f"{clock.perf_counter() - start:.0f} s; wrote {', '.join(map(str, pictures)) or 'no picture'}")
    return plain


def check(folder=FOLDER, temperature=300.0, time=1.0):
    """Raise ValueError or OSError if a report with these settings cannot be made, before any work is done for it."""
    for name, value, unit in (("temperature", temperature, "K"), ("time", time, "ps")):
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"the {name} of the molecular dynamics must be a positive number of {unit}, not {value:g}")
    if Path(folder).exists() and not Path(folder).is_dir():
        raise FileExistsError(f"{folder} is a file; --properties needs the name of a folder for the pictures")

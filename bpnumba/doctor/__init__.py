"""What a careful colleague would look at before a fit, on one page.

Comes in: files or frames with labels, sound or not.  Goes out: a `Report` of what there is and what is strange, each
finding with its frames and with advice.  A fit stops at the first frame that it refuses; here all of them are listed,
and the rest is examined.

>>> from bpnumba.demo import silicon
>>> print(examine(silicon()).verdict)
Nothing speaks against a fit.
"""

import re
import warnings
from collections import defaultdict

from bpnumba.doctor import energies, labels, structures
from bpnumba.doctor.report import LISTED, Finding, Report, Section
from bpnumba.doctor.work import work
from bpnumba.io.keys import DEFAULT_KEYS
from bpnumba.training.dataset import Dataset, named_frames
from bpnumba.training.labels import labels_of
from bpnumba.training.progress import Steps

__all__ = ["Finding", "Report", "examine"]


def examine(source, keys=DEFAULT_KEYS, format=None, units="atomic", stream=None):
    """Look at training data.

    Parameters
    ----------
    source : path, Atoms, a list of them, or Dataset
    keys, format, units
        As in `bpnumba.training.dataset.read`.
    stream : text stream, optional
        Where progress goes, if it takes long; standard output by default.

    Returns
    -------
    report : Report

    Raises
    ------
    ValueError
        A file cannot be read as structures, or holds none. Frames that cannot be used are findings.
    OSError
        A file is absent or may not be read.
    """
    findings, labels_m = [], ()
    if isinstance(source, Dataset):
        dataset, frames = source, source.atoms
    else:
        frames, sources = named_frames(source, format, units)
        if not frames:
            raise ValueError("there is no frame to look at")
        labels_m, refused = _labels(frames, sources, keys.names(), stream)
        findings += _refusals(refused)
        sound = [m for m in range(len(frames)) if sources[m] not in refused]
        frames, sources = [frames[m] for m in sound], [sources[m] for m in sound]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they say is among the findings
            dataset = Dataset.from_frames(frames, sources, keys) if frames else None
    if not frames:
        return Report.of([Section("Structures", ("no frame can be used",))], findings)

    with Steps("distances", stream) as step:
        surroundings = structures.Surroundings.of(dataset, step)
    sections = [structures.contents(dataset, surroundings)]
    for section, found in (
        labels.coverage(dataset, frames, labels_m),
        structures.distances(dataset, surroundings),
        labels.forces(dataset, surroundings),
        energies.energies(dataset, surroundings),
        energies.stresses(dataset),
        work(dataset),
    ):
        sections.append(section)
        findings += found
    return Report.of(sections, [*findings, *structures.repeated(dataset)])


def _labels(frames, sources, names, stream):
    """Labels of the sound frames, and for the others, name -> reason."""
    sound, refused = [], {}
    with Steps("labels", stream) as step:
        for m, (frame, source) in enumerate(zip(frames, sources, strict=True)):
            try:
                sound.append(labels_of(frame, names, source))
            except ValueError as error:
                refused[source] = str(error).removeprefix(source).lstrip(":, ")
            step(m + 1, len(frames))
    return sound, refused


def _refusals(refused):
    """One finding for each refused frame; one for all of them where many have the same reason but for numbers."""
    groups = defaultdict(list)
    for source, reason in refused.items():
        groups[re.sub(r"[-+.\d]+(e[-+]?\d+)?", "#", reason)].append(source)
    for group in groups.values():
        for sources in [group] if len(group) > LISTED else [[source] for source in group]:
            many = f"{len(sources)} frames, the first because: " if len(sources) > 1 else ""
            what = f"a fit refuses {many}{refused[sources[0]]}"
            yield Finding("error", what, tuple(sources), "correct or remove it; the rest was examined without it")

"""What `doctor` says: findings with frames and advice, and sections of plain lines, on one page.

>>> finding = Finding("warning", "energies far from the others", ("a.xyz, frame 3", "a.xyz, frame 7"), "look at them")
>>> print(finding)
warning  energies far from the others
         frames: a.xyz, frames 3, 7
         advice: look at them
"""

import textwrap
from dataclasses import dataclass
from typing import NamedTuple

SEVERITIES = ("error", "warning", "note")
LISTED = 5  # frames of one finding on the page; a Finding has all
WIDTH = 118  # columns


class Finding(NamedTuple):
    """Something to look at.

    Attributes
    ----------
    severity : str
        "error", a fit refuses the data or learns what is wrong; "warning", likely a fault; "note", good to know.
    what : str
    frames : tuple of str
        Names of all frames concerned, the worst first; empty where it is the set as a whole.
    advice : str
    """

    severity: str
    what: str
    frames: tuple
    advice: str

    def __str__(self):
        margin = " " * 9
        parts = [(f"{self.severity:<9}", self.what), (f"{margin}advice: ", self.advice)]
        if self.frames:
            parts.insert(1, (f"{margin}frames: ", named(self.frames)))
        return "\n".join(_filled(text, first, margin if k == 0 else 17 * " ") for k, (first, text) in enumerate(parts))


class Section(NamedTuple):
    """Lines of text under a title; numbers with their units."""

    title: str
    lines: tuple


@dataclass(frozen=True)
class Report:
    """The findings of `doctor.examine`, worst first; ``print(report)`` shows the page.

    Attributes
    ----------
    sections : tuple of Section
    findings : tuple of Finding
    """

    sections: tuple
    findings: tuple

    @classmethod
    def of(cls, sections, findings):
        """Sort the findings by severity, in their order otherwise."""
        return cls(tuple(sections), tuple(sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))))

    @property
    def verdict(self):
        """One line."""
        count = {name: sum(finding.severity == name for finding in self.findings) for name in SEVERITIES}
        if count["error"]:
            return f"Not ready for a fit: {_number(count, 'error')}, {_number(count, 'warning')}."
        if count["warning"]:
            return f"Can be fitted, but look at {_number(count, 'warning')} first."
        return "Nothing speaks against a fit."

    def to_json(self):
        """Plain dictionary: "verdict", "findings" and "sections"."""
        return {
            "verdict": self.verdict,
            "findings": [{**finding._asdict(), "frames": list(finding.frames)} for finding in self.findings],
            "sections": {section.title: list(section.lines) for section in self.sections},
        }

    def __str__(self):
        blocks = [
            "\n".join([title, *(_filled(line, "  ", "    ") for line in lines)]) for title, lines in self.sections
        ]
        findings = "\n".join(["Findings", *(map(str, self.findings) if self.findings else ["none"])])
        return "\n\n".join([*blocks, findings, self.verdict])


def named(sources):
    """A few frames in words, those of one file together.

    >>> named([f"a.xyz, frame {m}" for m in range(8)])
    'a.xyz, frames 0, 1, 2, 3, 4 and 3 more'
    """
    groups = {}
    for source in sources[:LISTED]:
        place, _, index = source.rpartition("frame ")
        groups.setdefault(place, []).append(index)
    words = [f"{place}frame{'s' * (len(indices) > 1)} {', '.join(indices)}" for place, indices in groups.items()]
    return "; ".join(words) + (f" and {len(sources) - LISTED} more" if len(sources) > LISTED else "")


def _number(count, name):
    return f"{count[name]} {name}{'s' * (count[name] != 1)}"


def _filled(text, first, rest):
    if len(first + text) <= WIDTH:  # as it is, columns of numbers included
        return first + text
    return textwrap.fill(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip

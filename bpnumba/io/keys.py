"""Under which names a frame has its labels.

>>> DEFAULT_KEYS.names()["energy"]
('REF_energy', 'energy', 'free_energy')
"""

from typing import NamedTuple

__all__ = ["DEFAULT_KEYS", "PLAIN", "Keys", "stored_in"]


class Keys(NamedTuple):
    """Names of the labels in ``atoms.info`` and ``atoms.arrays``.

    A default key that a frame lacks falls back to the plain name; a key given by the user does not. Stress and virial
    are one label: if one of them is given, the other is not looked for. None leaves a label out.
    """

    energy: str | None = "REF_energy"
    forces: str | None = "REF_forces"
    stress: str | None = "REF_stress"
    virial: str | None = "REF_virial"

    def names(self):
        """Kind of label -> names under which it is looked for, the best first."""
        names = {
            kind: () if key is None else (key, *PLAIN[kind]) if key == default else (key,)
            for kind, key, default in zip(self._fields, self, DEFAULT_KEYS, strict=True)
        }
        given = [kind for kind in ("stress", "virial") if getattr(self, kind) != getattr(DEFAULT_KEYS, kind)]
        if len(given) == 1:
            names["virial" if given == ["stress"] else "stress"] = ()
        return names


DEFAULT_KEYS = Keys()
PLAIN = {
    "energy": ("energy", "free_energy"),
    "forces": ("forces", "force"),
    "stress": ("stress",),
    "virial": ("virial",),
}


def stored_in(frame):
    """All that a frame has under a name: info, arrays, results of its calculator for this very structure.

    Nothing is calculated; what is None is left out.
    """
    calculated = {} if frame.calc is None or frame.calc.check_state(frame) else frame.calc.results
    stored = {**frame.info, **frame.arrays, **calculated}
    return {name: value for name, value in stored.items() if value is not None}

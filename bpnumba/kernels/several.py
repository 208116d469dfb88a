"""A kind of number for formulas: several values side by side, so that the processor works on one while another waits.

The chain from the cosine of an angle to its angular factors is some 200 cycles long, longer than what a processor
holds ready.  An operation of `Several` writes the same instruction for each part, one behind the other.
"""

from bpnumba.kernels.lanes import Value, operation


class Several(Value):
    """Values side by side.  With another value, every part is paired with that."""

    __slots__ = ("parts",)
    # defined anew, Python asks these before the operators of a Value on the left
    __radd__, __rsub__, __rmul__ = operation("add"), operation("sub", swap=True), operation("mul")

    def __init__(self, parts):
        self.parts, self.code = tuple(parts), None
        self.trace = Beside(self.parts[0].trace, len(self.parts))

    def together(self):
        """The sum of the parts."""
        first, *rest = self.parts
        return sum(rest, first)


class Beside:
    """A trace whose methods do the same for every part."""

    def __init__(self, trace, count):
        self.trace, self.count = trace, count

    def __getattr__(self, name):
        method = getattr(self.trace, name)

        def each(*arguments):
            found = [
                method(*[x.parts[n] if isinstance(x, Several) else x for x in arguments]) for n in range(self.count)
            ]
            if isinstance(found[0], tuple):
                return tuple(map(Several, zip(*found)))
            return None if found[0] is None else Several(found)

        return each

"""Reference energies: the energy E0 of a single atom of every element, taken off before anything is learned.

Total energies of a first-principles code contain the huge and boring energies of the separate atoms. The network learns
what remains, E - sum_i E0(element of i). Small numbers keep their digits, and the network need not learn what the data
know already.

>>> energy, origin = reference_energies([[1, 1], [8]], [-2.0, -5.0], ("H", "O"), isolated_m=[False, True])
>>> energy
{'H': -1.0, 'O': -5.0}
>>> origin["O"]
'isolated atom'
"""

import numpy as np
from ase.data import atomic_numbers

GIVEN = "given"
ISOLATED = "isolated atom"
FITTED = "least squares"
AMBIGUOUS = "least squares, not unique: the compositions in the data do not separate this element from the others"


def reference_energies(numbers_m, energy_m, species, given=None, isolated_m=None):
    """Energy of a single atom of every element, from the best source at hand.

    In this order: the given values; isolated atoms in the data (the lowest energy if there are several of one element);
    for all other elements the least-squares fit of the total energies to the composition ::

        min over E0 of  sum_m (E_m - sum_e n_me E0_e)^2,      n_me = number of atoms of element e in frame m

    If compositions depend linearly on each other (only H2O, say), many E0 fit equally well. The solution of least norm
    is taken; the fit is as good as any, but the values of the single elements mean nothing, and their origin says so.

    Parameters
    ----------
    numbers_m : sequence of arrays of int
        Atomic numbers of every frame.
    energy_m : sequence of float
        Total energies in eV; NaN or None where a frame has none. Without any energy all fitted E0 are 0.
    species : sequence of str
        Chemical symbols.
    given : dict, optional
        Symbol to energy in eV; must hold every species.
    isolated_m : sequence of bool, optional
        Which frames are isolated atoms. Only the caller can know: one atom in a periodic cell may as well be a crystal.

    Returns
    -------
    energy : dict
        Symbol to E0 in eV.
    origin : dict
        Symbol to the way E0 was obtained, in words.

    Raises
    ------
    ValueError
        If a given value is missing or not finite, if a frame holds an element that is not among the species, or if a
        frame that should be an isolated atom has more than one.
    """
    if given is not None:
        return _checked(given, species), dict.fromkeys(species, GIVEN)
    energy_m = np.array(energy_m, dtype=float)  # None becomes NaN
    count_me = _counts(numbers_m, species)
    labeled_m = np.isfinite(energy_m)
    isolated_m = np.zeros(len(energy_m), dtype=bool) if isolated_m is None else np.asarray(isolated_m, dtype=bool)
    for m in np.flatnonzero(isolated_m & (count_me.sum(axis=1) != 1)):
        raise ValueError(f"frame {m} should be an isolated atom but has {count_me[m].sum()} atoms")

    energy_e = np.full(len(species), np.inf)
    for m in np.flatnonzero(isolated_m & labeled_m):
        e = count_me[m].argmax()
        energy_e[e] = min(energy_e[e], energy_m[m])
    origin_e = np.where(np.isfinite(energy_e), ISOLATED, "").astype(object)

    fitted_e = np.isinf(energy_e)
    energy_e[fitted_e] = 0.0
    if fitted_e.any():
        rest_m = (energy_m - count_me @ energy_e)[labeled_m]
        energy_e[fitted_e], unique_e = _least_squares(count_me[labeled_m][:, fitted_e], rest_m)
        origin_e[fitted_e] = np.where(unique_e, FITTED, AMBIGUOUS)
    return dict(zip(species, energy_e.tolist(), strict=True)), dict(zip(species, origin_e.tolist(), strict=True))


def _checked(given, species):
    missing = [symbol for symbol in species if symbol not in given]
    if missing:
        raise ValueError(f"reference energies were given, but not for {', '.join(missing)}")
    for symbol in species:
        if not np.isfinite(given[symbol]):
            raise ValueError(f"the reference energy given for {symbol} is not finite: {given[symbol]}")
    return {symbol: float(given[symbol]) for symbol in species}


def _counts(numbers_m, species):
    """Number of atoms of element e in frame m, (n_m, n_e)."""
    number_e = np.array([atomic_numbers[symbol] for symbol in species])
    count_me = np.zeros((len(numbers_m), len(species)), dtype=int)
    for m, numbers in enumerate(numbers_m):
        count_me[m] = (np.asarray(numbers)[:, None] == number_e).sum(axis=0)
        if count_me[m].sum() != len(numbers):
            raise ValueError(f"frame {m} holds elements other than {', '.join(species)}")
    return count_me


def _least_squares(count_me, energy_m):
    """Solution of least norm, (n_e,), and which of its entries are the same in all solutions.

    Solutions differ by vectors of the null space of the counts. With V the right singular vectors of non-zero singular
    values, the null space has no part along element e if (V V^T)_ee = 1.
    """
    energy_e, _, rank, _ = np.linalg.lstsq(count_me, energy_m, rcond=None)
    V = np.linalg.svd(count_me, full_matrices=False)[2][:rank]
    return energy_e, np.isclose((V * V).sum(axis=0), 1.0, rtol=0.0, atol=1e-8)

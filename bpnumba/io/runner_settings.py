"""Settings of RuNNer and n2p2: the file ``input.nn``, one keyword with its values per line.

Comes in: a text file in which ``#`` and ``!`` begin comments and lines may stand in any order.  Goes out: a record of
the keywords that say what a potential is, or an error that names file and line.  The many keywords that only say how a
potential is trained are passed over in silence, others with a warning.

>>> import pathlib, tempfile
>>> path = pathlib.Path(tempfile.mkdtemp(), "input.nn")
>>> n = path.write_text("elements O H  # in any order\\nnumber_of_elements 2\\nepochs 10\\n")
>>> read_settings(path).species
['H', 'O']
"""

import warnings
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from bpnumba.functions import sorted_species
from bpnumba.io.text import Line, named, number, read_lines

__all__ = ["Settings", "read_settings"]

ONCE = ("number_of_elements", "elements", "cutoff_type", "cutoff_alpha", "scale_symmetry_functions",
        "center_symmetry_functions", "scale_symmetry_functions_sigma", "scale_min_short", "scale_max_short",
        "global_hidden_layers_short", "global_nodes_short", "global_activation_short", "normalize_nodes", "mean_energy",
        "conv_energy", "conv_length", "nnp_type", "nn_type_short")  # fmt: skip
REPEATED = ("symfunction_short", "atom_energy", "element_hidden_layers_short", "element_nodes_short",
            "element_activation_short")  # fmt: skip
ALIASES = {
    "symfunction": "symfunction_short",
    **dict.fromkeys(("nn_type", "nnp_generation", "nnp_type_gen", "nnp_gen"), "nnp_type"),
    "scale_min_short_atomic": "scale_min_short",
    "scale_max_short_atomic": "scale_max_short",
}

SECOND = ("2", "2G", "2G-HDNNP", "HDNNP_2G")
LATER = ("3", "4", "3G", "4G", "3G-HDNNP", "4G-HDNNP", "HDNNP_3G", "HDNNP_4G", "HDNNP_Q", "4G-HDNNP_NOELEC")
CHARGED = ("use_electrostatics", "initial_hardness", "fixed_gausswidth", "fixed_atomic_hardness",
           "screen_electrostatics")  # fmt: skip
"""Keywords of potentials with charges; they mean nothing where the settings call themselves second generation."""
UNSUPPORTED = {
    "use_vdw": "a dispersion term",
    **dict.fromkeys(
        ("global_symfunction_short", "global_symfunction_short_atomic", "element_symfunction_short"),
        "symmetry functions for many elements in one line; write a line symfunction_short for each of them",
    ),
}
"""Keywords of RuNNer that change the energy and that are not understood here."""

TRAINING = """
analyze_* biased_* bond_threshold calculate_* charge_* check_* cluster_* conv_charge cutoff_length data_* debug_mode
detailed_timing* detect_saturation dynamic_* electrostatic_* element_*_electrostatic element_*_pair element_decoupled*
energy_* enforce_* ensemble_* epochs ewald_* find_contradictions fit* fix_weights fixed_charge fixed_short_energy
force_* four_pi_epsilon global_*_electrostatic global_*_pair global_output_nodes* gradient_* growth_mode ham_*
initialization_only jacobian_mode joint_energy_force_update kalman_* main_error_metric max_energy max_force md_mode
memorize_symfunc_results mix_all_points nblock nguyen_widrow_weights* nn_type_elec nn_type_nntb no_electrostatics
noise_* normalize_data_set number_of_threads optmode_* pairsymfunction_* parallel_mode points_in_memory precision*
precondition_weights prepare_md print_* random_* read_* regularize_fit_param remove_atom_energies remove_vdw_energies
repeated_energy_update restrict_weights rmse_threshold* runner_mode save_* scale_*_elec scale_*_pair
scale_*_short_pair screen_* selection_mode* separate_* short_* shuffle_* silent_mode steepest_descent_*
symfunction_correlation symfunction_elec* task_batch_size_* test_fraction total_charge_error_threshold update_*
updater_type use_atom_charges use_atom_energies use_charge_constraint use_damping use_gausswidths use_hessian use_ipi
use_noisematrix use_old_* use_omp_mkl use_sf_groups use_short_forces use_short_nn use_system_virial use_weights_*
vdw_* weight_analysis weight_constraint weighte_constraint weights_max weights_min weightse_max weightse_min
worst_case write_*
""".split()
"""Keywords of RuNNer and n2p2, * for any characters, that say how a potential is trained, how a program runs, or belong
to kinds of potentials that other keywords switch on."""

# ---- input.nn --------------------------------------------------------------------------------------------------------


class Settings(NamedTuple):
    """Keywords of a file with their lines; the words of a line are those behind the keyword."""

    path: Path
    lines: dict

    def one(self, keyword):
        """The line of a keyword that must be there."""
        if keyword not in self.lines:
            raise ValueError(f"{self.path}: the keyword {keyword} is missing")
        return self.lines[keyword][0]

    def has(self, keyword):
        """Whether a keyword without values is there."""
        for line in self.lines.get(keyword, ()):
            with named(line.where):
                if line.words:
                    raise ValueError(f"{keyword} takes no value, found {' '.join(line.words)!r}")
        return keyword in self.lines

    def number(self, keyword, default=None):
        """The one number of a keyword."""
        if keyword not in self.lines and default is not None:
            return default
        line = self.one(keyword)
        with named(line.where):
            if len(line.words) != 1:
                raise ValueError(f"expected one number after {keyword}, found {len(line.words)} words")
            return number(line.words[0])

    def of_element(self, keyword, symbol):
        """The lines of a keyword that begin with an element, without it; each line must name one of the elements."""
        found = []
        for line in self.lines.get(keyword, ()):
            with named(line.where):
                if not line.words or line.words[0] not in self.species:
                    raise ValueError(f"expected one of the elements {' '.join(self.species)} after {keyword}")
            if line.words[0] == symbol:
                found.append(Line(line.where, line.words[1:]))
        return found

    @property
    def species(self):
        """Chemical symbols, by atomic number: the order of elements in the other files."""
        line, count = self.one("elements"), self.number("number_of_elements")
        with named(line.where):
            species = sorted_species(line.words)
            if len(species) != len(line.words):
                raise ValueError(f"one element is named twice: {' '.join(line.words)}")
            if count != len(species):
                raise ValueError(f"{len(species)} elements, but number_of_elements says otherwise")
        return species


def read_settings(path):
    """Keywords that say what a potential is.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    ValueError
        A keyword stands there twice, under two names, or is one that bpnumba cannot follow; or the potential is of the
        third or fourth generation.
    OSError
        The file is absent or may not be read.

    Warns
    -----
    UserWarning
        Once, naming all keywords that are not known.
    """
    found, spelling, unknown = {}, {}, []
    everything = read_lines(path)
    for where, (word, *values) in everything:
        keyword = ALIASES.get(word, word)
        with named(where):
            if keyword in UNSUPPORTED:
                raise ValueError(f"the keyword {word} asks for {UNSUPPORTED[keyword]}")
            if keyword in ONCE and keyword in found:
                raise ValueError(f"the keyword {keyword} stands here for the second time")
            if spelling.setdefault(keyword, word) != word:
                raise ValueError(f"the keyword {word} means the same as {spelling[keyword]}, which stands here as well")
        if keyword in ONCE + REPEATED:
            found.setdefault(keyword, []).append(Line(where, values))
        elif keyword not in CHARGED and not any(fnmatchcase(keyword, known) for known in TRAINING):
            if where == everything[-1].where and any(known.startswith(word) for known in (*ONCE, *REPEATED, *ALIASES)):
                raise ValueError(f"{where}: the file ends with {word!r}, which looks like the rest of a cut keyword")
            unknown.append(f"{word} (line {where.rpartition(' ')[2]})")
    settings = Settings(Path(path), found)
    _check_generation(settings, [line for line in everything if line.words[0] in CHARGED])
    if unknown:
        warnings.warn(f"{path}: unknown keywords, ignored: {', '.join(unknown)}", stacklevel=3)
    return settings


def _check_generation(settings, charged):
    for where, words in settings.lines.get("nnp_type", []) + charged[: "nnp_type" not in settings.lines]:
        with named(where):
            value = " ".join(words)
            if value in LATER or words[:1] and words[0] in CHARGED:
                raise ValueError(
                    f"{value}: a potential with charges (third or fourth generation) needs the long-range part, which "
                    "bpnumba does not have yet"
                )
            if value not in SECOND:
                raise ValueError(f"expected a type of potential such as 2G-HDNNP, not {value!r}")
    for where, words in settings.lines.get("nn_type_short", []):
        with named(where):
            if words != ["1"]:
                raise ValueError(f"nn_type_short {' '.join(words)}: only networks of atoms (1) are understood")

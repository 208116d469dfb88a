"""The house is built as `docs/design.md` says: read from the syntax trees of all files."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "bpnumba").rglob("*.py"))

FLOORS = (
    {"bpnumba", "units"},
    {"formulas", *(f"formulas.{name}" for name in ("numbers", "cutoff", "radial", "angular", "repulsion", "tape"))},
    {"kernels", *(f"kernels.{name}" for name in (
        "compiling", "neighbors", "scatter", "table", "neighborhood", "cpu", "stored", "machine", "lanes", "tracing",
        "plan", "nodes", "slots", "triangles", "table_triangles", "centers", "couples", "sums", "groups", "recipes",
        "harmonics", "pieces", "several", "packed", "gradients", "chunks", "threads", "repulsion", "rows",
    )), "selection", "functions", "activations"},
    {"pairs", "descriptors", "packed_pairs", "packed_descriptors", "symmetry", "scaling", "extrapolation", "network",
     "reference_energies", "prediction"},
    {"potential", "committee", "repulsion", "composite", "io", "io.archive", "io.frames", "io.input_data",
     "io.frame_stream", "io.model_file", "io.model_versions", "io.text", "io.keys", "io.runner", "io.runner_lines",
     "io.runner_networks", "io.runner_save", "io.runner_settings"},
    {"training", *(f"training.{name}" for name in ("labels", "plausibility", "dataset", "objective", "progress",
                                                   "targets", "storage", "rows", "kalman", "gauss_newton",
                                                   "optimizers", "memory", "preparation",
                                                   "checkpoint", "settings", "run", "ranks", "fit")),
     "calculator", "evaluation", "elasticity", "plots", "demo", "conversion", "cli", "command_line", "about",
     "__main__",
     "calibration", "pool", "active_learning", "plots_calibration", "plots_properties",
     "properties", *(f"properties.{name}" for name in ("lattice", "crystal", "vibrations", "dynamics", "choice",
                                                       "report", "run")),
     "doctor", *(f"doctor.{name}" for name in ("report", "structures", "labels", "energies", "steps", "pairs",
                                               "work"))},
)  # fmt: skip
"""From the ground up; a module imports from floors below, and on its own floor only as ALLOWED says."""

ALLOWED = {
    "formulas.cutoff": {"formulas.numbers"},
    "formulas.radial": {"formulas.numbers", "formulas.cutoff"},
    "formulas.angular": {"formulas.numbers", "formulas.cutoff"},
    "formulas.repulsion": {"formulas.numbers", "formulas.cutoff"},
    "formulas.tape": {"formulas.numbers", "formulas.cutoff", "formulas.radial", "formulas.angular"},
    "selection": {"kernels.table"},
    "kernels.neighbors": {"kernels.compiling"},
    "kernels.scatter": {"kernels.compiling"},
    "kernels.repulsion": {"kernels.compiling"},
    "kernels.cpu": {"kernels.table", "kernels.compiling", "kernels.neighborhood"},
    "kernels.rows": {"kernels.compiling"},
    "kernels.stored": {"kernels.table", "kernels.compiling", "kernels.cpu"},
    "kernels": {"kernels.compiling", "kernels.cpu", "kernels.machine", "kernels.threads"},
    "kernels.tracing": {"kernels.lanes"},
    "kernels.plan": {"kernels.machine", "kernels.table"},
    "kernels.chunks": {"kernels.compiling"},
    "kernels.packed": {"kernels.chunks", "kernels.compiling", "kernels.neighbors"},
    "kernels.gradients": {"kernels.compiling", "kernels.packed"},
    "kernels.nodes": {"kernels.plan"},
    "kernels.triangles": {"kernels.compiling", "kernels.gradients", "kernels.lanes", "kernels.nodes",
                          "kernels.tracing"},
    "kernels.slots": {"kernels.machine", "kernels.plan"},
    "kernels.table_triangles": {"kernels.compiling", "kernels.gradients", "kernels.lanes", "kernels.nodes",
                                "kernels.slots", "kernels.tracing", "kernels.triangles"},
    "kernels.harmonics": {"kernels.nodes", "kernels.packed", "kernels.tracing"},
    "kernels.recipes": {"kernels.harmonics", "kernels.packed", "kernels.tracing"},
    "kernels.groups": {"kernels.nodes", "kernels.packed", "kernels.tracing"},
    "kernels.sums": {"kernels.groups", "kernels.harmonics", "kernels.packed", "kernels.tracing"},
    "kernels.couples": {"kernels.groups", "kernels.packed", "kernels.pieces", "kernels.recipes", "kernels.several",
                        "kernels.nodes", "kernels.tracing"},
    "kernels.centers": {"kernels.compiling", "kernels.couples", "kernels.gradients", "kernels.groups",
                        "kernels.harmonics", "kernels.nodes", "kernels.packed", "kernels.recipes", "kernels.sums",
                        "kernels.tracing"},
    "kernels.several": {"kernels.lanes"},
    "descriptors": {"pairs"},
    "packed_pairs": {"pairs"},
    "packed_descriptors": {"pairs", "packed_pairs"},
    "functions": {"kernels.table"},
    "symmetry": {"pairs", "descriptors", "packed_pairs", "packed_descriptors"},
    "prediction": {"pairs"},
    "committee": {"potential"},
    "composite": {"potential", "committee"},
    "io.text": {"io.archive"},
    "io.frames": {"io.input_data", "io.text"},
    "io.frame_stream": {"io.frames"},
    "io.input_data": {"io.keys", "io.text"},
    "io.model_file": {"potential", "committee", "repulsion", "composite", "io.archive", "io.model_versions"},
    "potential": {"io.runner_save"},
    "io.runner_settings": {"io.text"},
    "io.runner_lines": {"io.text"},
    "io.runner_networks": {"io.text", "io.runner_lines"},
    "io.runner_save": {"io.text", "io.runner_lines", "io.runner_networks"},
    "io.runner": {"potential", "io.text", "io.runner_settings", "io.runner_lines", "io.runner_networks"},
    "training.dataset": {"training.labels", "training.plausibility"},
    "doctor": {"training.dataset", "training.labels", "training.progress", "doctor.report", "doctor.structures",
               "doctor.labels", "doctor.energies", "doctor.work"},
    "doctor.structures": {"doctor.report", "training.plausibility"},
    "doctor.labels": {"doctor.report", "training.labels", "training.plausibility"},
    "doctor.energies": {"doctor.report", "training.plausibility"},
    "doctor.steps": {"training.plausibility"},
    "doctor.pairs": {"doctor.report"},
    "doctor.work": {"doctor.pairs", "doctor.report", "doctor.steps"},
    "training.rows": {"training.targets"},
    "training.objective": {"training.rows", "training.storage", "training.targets"},
    "training.optimizers": {"training.gauss_newton", "training.kalman", "training.objective", "training.targets"},
    "training.memory": {"training.kalman", "training.objective", "training.optimizers", "training.storage"},
    "training.preparation": {"training.dataset", "training.settings", "training.targets"},
    "training.checkpoint": {"training.progress"},
    "evaluation": {"training.dataset"},
    "plots": {"evaluation"},
    "plots_calibration": {"calibration", "plots"},
    "active_learning": {"calibration", "pool"},
    "plots_properties": {"plots"},
    "properties.crystal": {"properties.lattice"},
    "properties.vibrations": {"properties.lattice"},
    "properties.dynamics": {"properties.lattice"},
    "properties.choice": {"properties.lattice"},
    "properties.report": {"elasticity", "properties.lattice", "properties.crystal", "properties.vibrations",
                          "properties.dynamics"},
    "properties.run": {"calculator", "plots_properties", "properties.choice", "properties.report",
                       "training.progress"},
    "training.settings": {"training.dataset", "training.memory", "training.optimizers"},
    "training.run": {"training.checkpoint", "training.optimizers", "training.progress"},
    "training.ranks": {"training.objective"},
    "training.fit": {"training.dataset", "training.memory", "training.optimizers", "training.preparation",
                     "training.progress", "training.checkpoint", "training.settings", "training.run",
                     "training.targets", "training.ranks", "calibration", "evaluation", "plots"},
    "demo": {"training.dataset", "training.fit", "calculator", "evaluation", "elasticity", "plots"},
    "about": {"calibration", "evaluation"},
        "cli": {"about", "active_learning", "calculator", "calibration", "command_line", "conversion", "demo",
            "doctor", "evaluation", "plots", "plots_calibration", "properties.run", "training.dataset",
            "training.ranks"},
    "__main__": {"cli"},
}  # fmt: skip

FORBIDDEN_NAMES = re.compile(r"utils?|core|base|common|misc|helpers?|managers?")


def name_of(path):
    """Module name without the package: bpnumba/io/archive.py -> io.archive."""
    parts = path.relative_to(ROOT / "bpnumba").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts) or "bpnumba"


NAMES = {name_of(path): path for path in FILES}


def imported(path):
    """Absolute names of all modules that a file imports anywhere, `from a import b` as a.b too."""
    package = ["bpnumba", *path.relative_to(ROOT / "bpnumba").parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*start, *([node.module] if node.module else [])])
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def rooms(path):
    """Modules of bpnumba that a file imports; a package counts only if nothing inside of it is meant."""
    found = {name.removeprefix("bpnumba.") for name in imported(path) if name.split(".")[0] == "bpnumba"} & set(NAMES)
    return {name for name in found if not any(other.startswith(f"{name}.") for other in found)} - {name_of(path)}


def floor(name):
    return next(number for number, names in enumerate(FLOORS) if name in names)


def test_every_module_has_a_floor():
    assert set(NAMES) <= set().union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(set().union(*FLOORS))


@pytest.mark.parametrize("name", NAMES)
def test_imports_run_downwards(name):
    for other in rooms(NAMES[name]) - {"bpnumba"}:
        down, allowed = floor(other) < floor(name), other in ALLOWED.get(name, ())
        assert down or allowed, f"{name} (floor {floor(name)}) imports {other} (floor {floor(other)})"


def test_what_is_allowed_goes_round_nowhere():
    """The permissions on one floor are an order: no module reaches itself."""

    def reach(name, seen=()):
        assert name not in seen, f"{' -> '.join([*seen, name])}"
        for other in ALLOWED.get(name, ()):
            reach(other, (*seen, name))

    for name in ALLOWED:
        reach(name)


@pytest.mark.parametrize("name", NAMES)
def test_heavy_packages_are_where_they_belong(name):
    roots = {module.split(".")[0] for module in imported(NAMES[name])}
    assert "matplotlib" not in roots or name.startswith("plots")
    assert not [module for module in imported(NAMES[name]) if module.startswith("numba.cuda")]
    assert not roots & {"torch", "jax", "tensorflow", "dill"}
    assert "pickle" not in roots or name == "kernels.compiling"  # Numba's machine code; no data


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("plots")])
def test_matplotlib_is_imported_only_inside_functions(name):
    for node in ast.parse(NAMES[name].read_text()).body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            assert "matplotlib" not in ast.unparse(node)


@pytest.mark.parametrize("name", sorted(FLOORS[1]))
def test_formulas_know_only_numbers(name):
    for module in imported(NAMES[name]):
        assert module.startswith(("math", "numba.extending", "bpnumba.formulas")), f"{name} imports {module}"


@pytest.mark.parametrize("name", NAMES)
def test_no_room_for_everything(name):
    for part in name.split("."):
        assert not FORBIDDEN_NAMES.fullmatch(part)


@pytest.mark.parametrize("name", NAMES)
def test_nothing_runs_text(name):
    for node in ast.walk(ast.parse(NAMES[name].read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in {"eval", "exec"}

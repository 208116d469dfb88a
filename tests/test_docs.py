"""The pages say what is true: names exist, links lead somewhere, code runs, command lines are understood."""

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest
from test_architecture import FLOORS
from test_architecture import NAMES as MODULES

from bpnumba import cli

ROOT = Path(__file__).parent.parent
PAGES = {str(path.relative_to(ROOT)): path.read_text()
         for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
NAMES = sorted({name for text in PAGES.values() for name in re.findall(r"`(bpnumba(?:\.\w+)+)`", text)})
SMALLER = {"seed=1)": "seed=1, max_epochs=1, max_iterations=3)"}  # in code of the pages, for the tests to be quick


def blocks(language):
    """(page, number, text) of all fenced blocks of a language."""
    return [(page, number, block) for page, text in PAGES.items()
            for number, block in enumerate(re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE))]


def resolve(name):
    """The object of a dotted name: the longest module that there is, and attributes from there on."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            fields = getattr(found, "__dataclass_fields__", {})
            found = fields[part] if part in fields and not hasattr(found, part) else getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("name", NAMES)
def test_names_exist(name):
    resolve(name)


def test_there_are_names_to_check():
    assert len(NAMES) > 40


def test_a_wrong_name_is_noticed():
    with pytest.raises(AttributeError):
        resolve("bpnumba.pairs.Pairs.pull")


def sections(text):
    """Names of the headings as links spell them."""
    return [re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
            for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        file, _, section = target.partition("#")
        if not target.startswith("https://"):
            path = (ROOT / page).parent / file
            assert path.exists(), f"{page}: {target}"
            assert not section or section in sections(path.read_text()), f"{page}: {target}"


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_every_example_is_mentioned(name):
    assert any(f"examples/{name}" in text for text in PAGES.values())


@pytest.mark.parametrize(("page", "number", "block"), blocks("python"))
def test_code_runs(page, number, block, tmp_path, monkeypatch, capsys):
    """Every block is complete in itself; fits are shortened, nothing else is changed."""
    monkeypatch.chdir(tmp_path)
    for long, short in SMALLER.items():
        block = block.replace(long, short)
    assert "fit(" not in block or any(short in block for short in SMALLER.values())
    exec(compile(block, f"{page}, block {number}", "exec"), {"__name__": "__main__"})


def test_command_lines_are_understood():
    """Installation is not tried here; what follows `bpnumba` must be a command line that its parser takes."""
    lines = [part.strip() for _, _, block in blocks("sh") for line in block.splitlines() for part in line.split("&&")]
    commands = [line for line in lines if line.startswith("bpnumba ")]
    shown = {"fit", "evaluate", "doctor", "select-frames", "info", "convert", "demo"}
    assert {line.split()[1] for line in commands} == shown
    for line in commands:
        cli.parser(cli.COMMANDS).parse_args(shlex.split(line)[1:])


def test_units_on_the_page_of_notation():
    from bpnumba import units

    text = PAGES["docs/notation.md"]
    assert f"1 eV/Angstrom^3 = {units.GPA:.4f} GPa" in text
    assert f"{units.BOHR**2:.4f}/bohr^2" in text


def test_cutoff_functions_on_the_page_of_notation():
    from bpnumba.formulas.cutoff import CUTOFFS

    table = re.findall(r"^\| `(\w+)`[^|]*\| \$", PAGES["docs/notation.md"], re.MULTILINE)
    assert table[-len(CUTOFFS):] == list(CUTOFFS)


def test_kinds_of_functions_on_the_page_of_notation():
    """Every kind has a row, with its number in other codes."""
    from bpnumba.kernels.table import KINDS

    rows = re.findall(r"^\| `(W?[GC]\d)` \| (?:type (\d+))?", PAGES["docs/notation.md"], re.MULTILINE)
    assert {name for name, _ in rows} == {"G1", *KINDS}
    assert {name: int(number) for name, number in rows if number} == {
        "G1": 1, "G2": 2, "G4": 3, "G5": 9, "WG2": 12, "WG4": 13,
        "C2": 20, "C4": 21, "C5": 22, "WC2": 23, "WC4": 24, "WC5": 25,
    }  # fmt: skip


def test_the_plan_has_every_module_on_its_floor():
    """The plan of design.md against the floors that the test of the architecture enforces."""
    plan = re.search(r"## 2\. Plan\n\n```\nbpnumba/\n(.*?)```", PAGES["docs/design.md"], re.DOTALL).group(1)
    found, floor, folder = {"bpnumba": 0}, 0, ""
    for line in plan.splitlines():
        floor = int((re.search(r" floor (\d) ", line) or [0, floor])[1])
        indent, names = re.match(r"( +)([^ ,]+(?:, [^ ,]+)*)", line).groups()
        folder = folder if len(indent) > 2 else ""
        if names.endswith("/"):
            folder = names
            found[names.rstrip("/")] = floor
        else:
            found |= {(folder + name).removesuffix(".py").replace("/", "."): floor for name in names.split(", ")}
    del found["__init__"]
    found["io"] = found["io.archive"]
    assert found == {name: next(k for k, names in enumerate(FLOORS) if name in names) for name in MODULES}

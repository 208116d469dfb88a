"""Make the pictures in docs/figures from real output: of ``bpnumba demo``, and of the first example.

    python docs/make_figures.py
"""
import runpy
import shutil
import sys
import tempfile
from pathlib import Path

from bpnumba import demo

DOCS = Path(__file__).parent
FIGURES = DOCS / "figures"


def main():
    FIGURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        demo.run(folder)
        for name in ("silicon_parity.png", "silicon_learning.png"):
            shutil.copy(Path(folder) / name, FIGURES / name)
    sys.argv = ["01", str(FIGURES / "symmetry_functions.png")]
    runpy.run_path(str(DOCS.parent / "examples" / "01_what_a_symmetry_function_sees.py"), run_name="__main__")


if __name__ == "__main__":
    main()

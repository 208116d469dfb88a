"""The demonstration: the embedded data are there, and the fit to them knows silicon."""

import pytest

import bpnumba
from bpnumba import demo

pytestmark = pytest.mark.usefixtures("fast_kernels")


def test_embedded_data():
    dataset = demo.silicon()
    assert dataset.species == ("Si",)
    assert dataset.has_energy_m.all()
    assert dataset.has_forces_m.all()
    assert dataset.has_stress_m.sum() > 0.5 * len(dataset)


def test_run(tmp_path, capsys):
    constants, wanted = demo.run(tmp_path), demo.reference()
    assert constants.lattice_constant == pytest.approx(wanted["lattice_constant_angstrom"], abs=0.02)
    assert constants.bulk_modulus == pytest.approx(wanted["bulk_modulus_gpa"], rel=0.2)
    assert bpnumba.load(tmp_path / "silicon.npz").species == ("Si",)
    assert {"silicon.npz", "silicon.csv", "silicon_parity.png", "silicon_learning.png"} <= {
        path.name for path in tmp_path.iterdir()
    }
    text = capsys.readouterr().out
    assert "frames that the fit has not seen" in text
    assert "lattice constant (Angstrom)" in text

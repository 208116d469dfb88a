"""Progress: every number with its unit, a bar only on a terminal; the history comes back from its file."""

import io
import math
from types import SimpleNamespace

import numpy as np
import pytest

from bpnumba.training import progress
from bpnumba.training.progress import COLUMNS, History, Progress, Row, Steps, line

ROW = Row(100, 123.4, train=(0.00531, 0.1234, 0.00443), valid=(0.006, 0.13, 0.005), elapsed=12.34)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_line():
    assert line(ROW) == (
        "iteration 100  loss 1.234e+02  E 5.31 meV/atom  F 123.4 meV/Angstrom  stress 0.71 GPa  "
        "valid E 6.00 meV/atom  F 130.0 meV/Angstrom  stress 0.80 GPa  12.3 s"
    )


@pytest.mark.parametrize("absent", [0.0, math.nan])
def test_absent_labels_are_not_shown(absent):
    row = Row(1, 1.0, train=(absent, 0.1, absent), elapsed=1.0)
    assert line(row) == "iteration 1  loss 1.000e+00  F 100.0 meV/Angstrom  1.0 s"
    assert "valid F 100.0" in line(row._replace(valid=(absent, 0.1, absent)))


def test_plain_lines_every_few_iterations():
    stream = io.StringIO()
    with Progress(100, stream, every=50) as progress:
        for iteration in range(101):
            progress.update(ROW._replace(iteration=iteration))
        progress.write("stopped early")
    lines = stream.getvalue().splitlines()
    assert [text.split("  ")[0] for text in lines] == ["iteration 0", "iteration 50", "iteration 100", "stopped early"]
    assert "\r" not in stream.getvalue()


def test_bar_on_a_terminal():
    stream = Terminal()
    with Progress(200, stream, first=50) as progress:
        progress.update(ROW)
        progress.write("checkpoint written")
        assert progress.bar.n == 100
    assert "100/200" in stream.getvalue()
    assert "checkpoint written" in stream.getvalue()


def test_a_long_iteration_moves_the_bar_and_writes_no_lines():
    stream, plain = Terminal(), io.StringIO()
    for of_stream in (stream, plain):
        with Progress(None, of_stream, label="member 2 of 3") as progress:
            progress.within(17, 340)
            progress.update(ROW)
    assert "17 of 340 updates" in stream.getvalue()
    assert "member 2 of 3" in stream.getvalue()
    assert plain.getvalue() == f"{line(ROW)}\n"


def test_a_stream_that_can_only_write():
    said = []
    with Progress(10, SimpleNamespace(write=said.append, flush=lambda: None), every=1) as bar:
        bar.update(ROW)
    assert "iteration 100" in "".join(said)


def steps(monkeypatch, stream, seconds):
    """What a preparation of 40 steps says that takes so long."""
    times = iter(np.linspace(0, seconds, 41))
    monkeypatch.setattr(progress, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    with Steps("set-up", stream) as report:
        for done in range(40):
            report(done + 1, 40)
    return stream.getvalue()


def test_steps_are_at_most_four_lines(monkeypatch):
    lines = steps(monkeypatch, io.StringIO(), 100.0).splitlines()
    assert lines == [f"set-up: {n} of 40, {2.5 * n:.0f} s" for n in (10, 20, 30, 40)]
    assert steps(monkeypatch, io.StringIO(), 4.0) == ""


def test_steps_are_a_bar_on_a_terminal(monkeypatch):
    text = steps(monkeypatch, Terminal(), 100.0)
    assert "set-up: " in text
    assert "/40" in text


def test_history_round_trip(tmp_path):
    history = History([Row(0, 2.0, train=(0.1, 0.2, 0.3), elapsed=0.5)])
    history.append(ROW)
    history.save(tmp_path / "h.csv")
    again = History.read(tmp_path / "h.csv")
    np.testing.assert_allclose(again.as_array(), history.as_array(), rtol=1e-7)
    assert again.rows[1].iteration == 100
    header, first, second = (tmp_path / "h.csv").read_text().splitlines()
    assert header == ",".join(COLUMNS)
    assert all(name.endswith(("atom", "angstrom", "gpa", "_s")) for name in COLUMNS[2:])
    assert first.split(",")[5:8] == ["", "", ""]
    assert second.startswith("100,123.4,5.31,123.4,0.709")


def test_empty_history(tmp_path):
    History().save(tmp_path / "h.csv")
    assert History.read(tmp_path / "h.csv").rows == []
    assert History.from_array(History().as_array()).rows == []


def test_array_is_exact():
    history = History([ROW, ROW])
    assert History.from_array(history.as_array()).rows == history.rows


@pytest.mark.parametrize("lines", [[], ["a,b", "1,2"], [",".join(COLUMNS), "1,2"], [",".join(COLUMNS), "x," * 8 + "1"]])
def test_broken_history_is_named(tmp_path, lines):
    (tmp_path / "h.csv").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"h\.csv"):
        History.read(tmp_path / "h.csv")

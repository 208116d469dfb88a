"""The archive: what comes back is what was written, or a ValueError that names the file."""

import io
import os
import time
import zipfile

import numpy as np
import pytest

from bpnumba.io import archive

KIND = "bpnumba model"
HEADER = {"species": ["Si", "O"], "loss": np.float64(0.1), "layers": np.array([2, 3]), "note": "Å", "nothing": None}
ARRAYS = {
    "theta": np.linspace(-1.0, 1.0, 7),
    "big_endian": np.arange(4, dtype=">i4"),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "scalar": np.array(2.5),
    "empty": np.zeros((0, 3), dtype=bool),
    "table": np.array([(0.5, 4)], dtype=[("eta", "f8"), ("zeta", "i4")]),
    "names": np.array(["Si", "O"]),
}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.npz"
    archive.write(path, KIND, HEADER, ARRAYS)
    return path


def same(one, two):
    """Equal headers, and equal arrays in names, shapes, types and values."""
    (header, arrays), (header_, arrays_) = one, two
    return (
        header == header_
        and set(arrays) == set(arrays_)
        and all(a.dtype == arrays_[name].dtype and a.shape == arrays_[name].shape for name, a in arrays.items())
        and all(np.array_equal(a, arrays_[name]) for name, a in arrays.items())
    )


def members_of(path):
    """Name -> bytes of the members of a zip file."""
    with zipfile.ZipFile(path) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def zip_of(path, members, compression=zipfile.ZIP_STORED):
    """Write a zip file as anybody could."""
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)


def npy(array, allow_pickle=False):
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=allow_pickle)
    return stream.getvalue()


def with_header(path, old, new):
    """Replace text in the JSON header, checksum untouched."""
    members = members_of(path)
    text = np.load(io.BytesIO(members["header.npy"])).tobytes().replace(old, new)
    zip_of(path, {**members, "header.npy": npy(np.frombuffer(text, dtype=np.uint8))})


def test_round_trip(path):
    header, arrays = archive.read(path, KIND)
    assert header == {"species": ["Si", "O"], "loss": 0.1, "layers": [2, 3], "note": "Å", "nothing": None}
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape
        assert arrays[name].flags.writeable


def test_is_an_ordinary_npz(path):
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["theta"], ARRAYS["theta"])


def test_not_a_number_survives(tmp_path):
    archive.write(tmp_path / "a.npz", KIND, {"rmse": np.nan}, {"a": np.array([np.nan, np.inf])})
    header, arrays = archive.read(tmp_path / "a.npz", KIND)
    assert np.isnan(header["rmse"])
    np.testing.assert_array_equal(arrays["a"], [np.nan, np.inf])


def test_same_content_same_bytes(path, tmp_path):
    archive.write(tmp_path / "b.npz", KIND, dict(reversed(HEADER.items())), dict(reversed(ARRAYS.items())))
    assert (tmp_path / "b.npz").read_bytes() == path.read_bytes()


def test_every_flipped_byte_is_noticed_or_harmless(tmp_path):
    path = tmp_path / "small.npz"
    archive.write(path, KIND, {"species": ["Si"]}, {"theta": np.arange(3.0)})
    content, data = archive.read(path, KIND), path.read_bytes()
    harmless = 0
    for position in range(len(data)):
        for mask in (0x01, 0x80):
            path.write_bytes(data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :])
            try:
                read = archive.read(path, KIND)
            except ValueError as error:
                named = "small.npz" in str(error)
            else:
                named, harmless = same(read, content), harmless + 1
            assert named, position
    assert harmless < len(data)  # dates and attributes of the zip directory; everything else is noticed


def test_truncated_at_any_length(path):
    data = path.read_bytes()
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError, match=r"a\.npz"):
            archive.read(path, KIND)


@pytest.mark.parametrize("data", [b"", b"PK", b"hello", b"\x80\x04K\x01.", bytes(1000)])
def test_not_an_archive(path, data):
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: not a bpnumba model, or truncated"):
        archive.read(path, KIND)


def test_other_kind_version_and_npz(path):
    with pytest.raises(ValueError, match=r"a\.npz: holds a bpnumba model, not a bpnumba checkpoint"):
        archive.read(path, "bpnumba checkpoint")
    with_header(path, b'"version":1', b'"version":2')
    with pytest.raises(ValueError, match="has format version 2; this bpnumba reads version 1"):
        archive.read(path, KIND)
    with_header(path, b'"version":2', b'"version":true')
    with pytest.raises(ValueError, match="has format version True"):
        archive.read(path, KIND)
    np.savez(path, a=np.arange(3))
    with pytest.raises(ValueError, match="not a bpnumba model: it has no header"):
        archive.read(path, KIND)
    np.savez(path, header=np.frombuffer(b'{"format": "other"}', dtype=np.uint8))
    with pytest.raises(ValueError, match="its header is not one of bpnumba"):
        archive.read(path, KIND)


@pytest.mark.parametrize("json", [b"[]", b"3", b"{}", b"{", b"[" * 100_000, b"\xff"])
def test_strange_headers(path, json):
    zip_of(path, {**members_of(path), "header.npy": npy(np.frombuffer(json, dtype=np.uint8))})
    with pytest.raises(ValueError, match=r"a\.npz"):
        archive.read(path, KIND)


def test_edited_header(path):
    with_header(path, b'"Si"', b'"Ge"')
    with pytest.raises(ValueError, match="checksum does not fit"):
        archive.read(path, KIND)


def test_missing_extra_and_double_arrays(path):
    members = members_of(path)
    zip_of(path, {name: data for name, data in members.items() if name != "theta.npy"})
    with pytest.raises(ValueError, match=r"arrays missing: \['theta'\]"):
        archive.read(path, KIND)
    zip_of(path, {**members, "more.npy": npy(np.zeros(1))})
    with pytest.raises(ValueError, match=r"arrays not in the header: \['more'\]"):
        archive.read(path, KIND)
    zip_of(path, {**members, "theta": members["theta.npy"]})
    with pytest.raises(ValueError, match="two arrays of one name"):
        archive.read(path, KIND)


@pytest.mark.parametrize("other", [np.zeros(8), np.zeros((7, 1)), np.zeros(7, dtype="f4"), np.zeros(7)])
def test_exchanged_array(path, other):
    zip_of(path, {**members_of(path), "theta.npy": npy(other)})
    with pytest.raises(ValueError, match=r"theta|checksum"):
        archive.read(path, KIND)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("name", ["theta.npy", "header.npy"])
def test_pickle_is_refused_and_not_run(path, name):
    trace = path.with_name("trace")
    zip_of(path, {**members_of(path), name: npy(np.array([Hostile(trace)], dtype=object), allow_pickle=True)})
    with pytest.raises(ValueError, match="holds Python objects, which could run code"):
        archive.read(path, KIND)
    assert not trace.exists()
    np.load(path, allow_pickle=True)[name.removesuffix(".npy")]
    assert trace.exists()  # the trap is a real one


def test_compressed_bomb_is_not_unfolded(path):
    zip_of(path, {**members_of(path), "theta.npy": npy(np.zeros(10**6))}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="compressed arrays"):
        archive.read(path, KIND)


@pytest.mark.parametrize("shape", [(10**15,), (-7,), (7, 0), (2**62, 4)])
def test_absurd_shape_allocates_nothing(path, shape):
    members = members_of(path)
    data = members["theta.npy"]
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, {"descr": "<f8", "fortran_order": False, "shape": shape})
    zip_of(path, {**members, "theta.npy": start.getvalue() + data[-56:]})
    with pytest.raises(ValueError, match="wrong size"):
        archive.read(path, KIND)


def test_overlapping_members_are_refused(path):
    """A directory that names the same bytes many times claims more than the file has."""
    data = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        start, n = file.start_dir, len(file.infolist())
        last = max(file.infolist(), key=lambda info: info.file_size).filename.encode()
    end = data.rindex(b"PK\x05\x06")
    directory = data[start:end]
    entry = next(b"PK\x01\x02" + part for part in directory.split(b"PK\x01\x02") if last in part)
    copies = b"".join(entry.replace(last, last[:-1] + bytes([65 + k])) for k in range(20))
    tail = bytearray(data[end:])
    tail[8:12] = (n + 20).to_bytes(2, "little") * 2
    tail[12:16] = (len(directory) + len(copies)).to_bytes(4, "little")
    path.write_bytes(data[:start] + directory + copies + tail)
    with pytest.raises(ValueError, match="claims more bytes than the file has"):
        archive.read(path, KIND)


def test_too_large_a_file_is_not_read(path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="too many for a bpnumba model"):
        archive.read(path, KIND)


def test_refuses_to_write(path, monkeypatch):
    data = path.read_bytes()
    with pytest.raises(ValueError, match="array 'a' holds Python objects"):
        archive.write(path, KIND, {}, {"a": np.array([None])})
    with pytest.raises(ValueError, match="no array can be called 'header'"):
        archive.write(path, KIND, {}, {"header": np.zeros(1)})
    monkeypatch.setattr(archive, "MAX_ARRAY_BYTES", 10)
    with pytest.raises(ValueError, match="beyond what one file may hold"):
        archive.write(path, KIND, {}, {"a": np.zeros(2)})
    assert path.read_bytes() == data


def test_absent(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        archive.read(tmp_path / "none.npz", KIND)
    with pytest.raises(FileNotFoundError, match="could not be written"):
        archive.write(tmp_path / "none" / "a.npz", KIND, {}, {})


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_failed_write_leaves_the_file_as_it_was(path, monkeypatch, function):
    """A full disk, simulated where the system would tell it."""

    def full(*_):
        raise OSError(28, "No space left on device")

    data = path.read_bytes()
    monkeypatch.setattr(os, function, full)
    with pytest.raises(OSError, match=r"could not be written \(No space left on device\).*a\.npz"):
        archive.write(path, KIND, {}, {"a": np.zeros(1)})
    assert path.read_bytes() == data
    assert os.listdir(path.parent) == ["a.npz"]


def test_a_symbolic_link_stays_one(path, tmp_path):
    (tmp_path / "links").mkdir()
    for name, target in (("b.npz", path), ("new.npz", tmp_path / "new.npz")):
        link = tmp_path / "links" / name
        link.symlink_to(target)
        archive.write(link, KIND, {}, {"a": np.ones(2)})
        assert link.is_symlink()
        assert not target.is_symlink()
        assert archive.read(target, KIND)[1]["a"].tolist() == [1, 1]


def test_temporary_files_of_killed_processes_are_removed(path):
    stale, alive, other = (
        path.with_name(name) for name in (".a.npz.01234567.tmp", ".a.npz.0123abcd.tmp", ".b.npz.0.tmp")
    )
    for temporary in (stale, alive, other):
        temporary.write_bytes(b"half")
    os.utime(stale, (time.time() - 2 * archive.STALE,) * 2)
    os.utime(other, (time.time() - 2 * archive.STALE,) * 2)
    archive.write(path, KIND, HEADER, ARRAYS)
    assert {file.name for file in path.parent.iterdir()} == {"a.npz", alive.name, other.name}


def test_targets_that_cannot_be_written_are_named_before(tmp_path):
    archive.check_target(tmp_path / "new.npz")
    with pytest.raises(IsADirectoryError, match="is a directory"):
        archive.check_target(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder to write to.*none"):
        archive.check_target(tmp_path / "none" / "a.npz")
    assert not list(tmp_path.iterdir())

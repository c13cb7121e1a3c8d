"""A data folder of schema version 1, made by the program of that time (tests/reference/make_version1.py), is served as
it was: its jobs, events, models and datasets, and its models predict the same bits."""
import json
import pathlib
import tarfile

import pytest

pytest.importorskip("numpy")

from make_version1 import cpu_flags, predictions_of  # noqa: E402

ARCHIVE = pathlib.Path(__file__).resolve().parents[1] / "reference/version1.tar.xz"


@pytest.fixture
def unpacked(tmp_path):
    """(the folder to start a server in, what the server of that time answered)"""
    folder = tmp_path / "old"
    folder.mkdir()
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(folder)
    return folder, json.loads((folder / "answers.json").read_text())


def same_numbers(got, wanted, exact):
    assert got.keys() == wanted.keys()
    for model, probabilities in wanted.items():
        assert got[model] == (probabilities if exact else pytest.approx(probabilities, abs=1e-5)), model


def test_it_is_served_as_before(unpacked, server_in):
    folder, told = unpacked
    server = server_in(folder)
    for path, wanted in told["answers"].items():
        assert server.get(path).json() == wanted, path
    parts = {path.name: path.read_bytes() for path in (folder / "parts").iterdir()}
    same_numbers(predictions_of(server, parts, told["fields"]), told["predictions"], told["cpu"] == cpu_flags())

"""Trainings repeat themselves: undisturbed ones, and ones killed at random moments (bench/kill_resume.py)."""
import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("AFFECT_BUILD", ROOT / "build")).resolve()
sys.path.insert(0, str(ROOT / "tests/bench"))

import kill_resume


def test_twenty_runs_and_kills_have_one_hash(tmp_path):
    pytest.importorskip("numpy")
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    found = kill_resume.run(BUILD / "bin/affect", tmp_path, n_runs=20, n_kills=8, seed=2)
    assert sum(found["hashes"].values()) == 28 and found["kills"] >= 8
    assert len(found["hashes"]) == 1, found

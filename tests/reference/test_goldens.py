"""The stored numbers of librosa and numpy are what these libraries compute today (by tolerance)."""
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent


@pytest.mark.parametrize("script, needs", [("make_librosa.py", "librosa"), ("make_segments.py", "numpy")])
def test_check(script, needs):
    pytest.importorskip(needs)
    done = subprocess.run([sys.executable, HERE / script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

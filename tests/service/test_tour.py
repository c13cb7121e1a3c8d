"""README's tour with curl, run as it stands.

Every ```sh block that follows a `<!-- tour -->` line is given to bash in one session, in a folder that
holds a corpus called demo and is the server's import root; only the address differs. `tour:setup` makes
the corpus (a smaller one here), `tour:motion` a prediction of one of its utterances.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"<!-- (tour[:\w]*) -->\n```sh\n(.*?)```", re.S)


def blocks(kind):
    return [text for name, text in BLOCK.findall((ROOT / "README.md").read_text()) if name == kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    folder = tmp_path_factory.mktemp("tour")
    command = blocks("tour:setup")[0].splitlines()[0]
    command = re.sub(r"--utterances \d+", "--utterances 60", command)
    command = command.replace("python3 tests/", f"{sys.executable} {ROOT}/tests/")
    subprocess.run(command.split(), cwd=folder, check=True, timeout=120, stdout=subprocess.DEVNULL)
    return folder


def bash(script, folder, server, timeout=600):
    script = f"set -euo pipefail\nH=http://127.0.0.1:{server.port}\n{script}"
    return subprocess.run(["bash", "-c", script], cwd=folder, timeout=timeout, text=True,
                          capture_output=True, env={**os.environ, "no_proxy": "*"})


def test_the_tour(folder, make_server):
    server = make_server(import_root=folder)
    tour = blocks("tour")
    assert len(tour) >= 3
    run = bash("\n".join(tour), folder, server)
    assert run.returncode == 0, run.stderr + run.stdout[-3000:]
    assert "urn:affectd:problem" not in run.stdout, run.stdout[-3000:]
    assert "event: epoch" in run.stdout and "event: end" in run.stdout
    assert (folder / "curve.svg").read_text().startswith("<svg") or "<svg" in (folder / "curve.svg").read_text()
    assert (folder / "curve.csv").read_text().count("\n") == 4
    assert (folder / "first.safetensors").stat().st_size > 4_000_000
    prediction = json.loads(re.findall(r'^\{"model":"first".*"probabilities".*$', run.stdout, re.M)[0])
    assert abs(sum(prediction["probabilities"].values()) - 1) < 1e-5
    assert prediction["label"] in prediction["probabilities"]

    motion = "D=demo/Session1\n" + blocks("tour:motion")[0]
    run = bash(motion, folder, server)
    assert run.returncode == 0, run.stderr
    prediction = json.loads(run.stdout)
    assert prediction["streams"]["face"]["rows"] > 100 and prediction["streams"]["audio"]["present"], run.stdout
    # The same request gives the same bits.
    again = json.loads(bash(motion, folder, server).stdout)
    assert again["probabilities"] == prediction["probabilities"]

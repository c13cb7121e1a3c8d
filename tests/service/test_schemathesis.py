"""schemathesis against a running server: requests made of the contract, those that fit it and those that do not.

All its phases and all its checks. The short form is part of the tests; AFFECT_CONTRACT_SECONDS=600 (and
AFFECT_CONTRACT_SEED) fuzzes for longer:

    AFFECT_CONTRACT_SECONDS=600 python -m pytest -c tests/pytest.ini tests/service/test_schemathesis.py
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from conftest import BUILD

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECONDS = int(os.environ.get("AFFECT_CONTRACT_SECONDS", 0))

# The one answer to a request that fits its schema which is neither success nor one of schemathesis' own exceptions
# (401, 403, 404, 409, 5xx): 422 where more is wrong than a schema can say. That is so for three bodies and three queries:
#   datasets     the folder must be there, a pattern must compile, an archive's bytes must be one
#   jobs         dataset, model, preset and device must be there; a split's fields depend on its kind and on each other
#                (validation + test < 1); an inline architecture is a graph that must fit the dataset; the same of a retry,
#                whose dataset or model may be gone
#   predictions  sound and motion must be readable; end lies behind start
# plot.svg draws trainings and sweeps only, which is known of a job and not of its id, and its names are as many as its jobs;
# a cursor of events may be ahead of the newest one (422 as a query, 400 as Last-Event-ID).
CONFIG = """
[generation]
allow-x00 = false  # JSON's \\u0000 is refused in every text, which a schema of ours would have to repeat in each

# Also good: a condition that does not hold (412), a range outside the file (416): of headers that any text may stand in.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", 404, 409, 412, 416]

[[operations]]
include-name = ["POST /v1/datasets", "POST /v1/jobs", "POST /v1/jobs/{job}/retry",
                "POST /v1/predictions", "GET /v1/jobs/{job}/plot.svg", "GET /v1/plot.svg"]
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 409, 412, 422]

[[operations]]
include-name = "GET /v1/jobs/{job}/events"
checks.positive_data_acceptance.expected-statuses = ["2xx", 404, 400, 422]
"""


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("schemathesis")
    pytest.importorskip("numpy")
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    subprocess.run([sys.executable, ROOT / "tests/corpus/make_corpus.py", tmp_path / "corpora/demo", "--utterances", "24",
                    "--speakers", "4", "--seed", "3"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    return tmp_path


def run_job(server, path, body):
    job = server.post_json(path, body).json()["id"]
    for _ in range(60):
        answer = server.get(f"/v1/jobs/{job}?wait=5").json()
        if answer["terminal"]:
            assert answer["state"] == "succeeded", answer
            return job
    raise AssertionError(answer)


def test_schemathesis(make_server, folder):
    server = make_server(import_root=folder / "corpora", job_threads=1, job_queue=100000, dry_run_deadline_seconds=60)
    imported = run_job(server, "/v1/datasets", {"name": "demo", "source": {"path": "demo"},
                                                "features": {"mel": {"clip_seconds": 1}}})
    trained = run_job(server, "/v1/jobs", {"type": "train", "dataset": "demo", "model": "m", "architecture": "audio-only",
                                           "training": {"epochs": 1, "batch_size": 8}})
    evaluated = run_job(server, "/v1/jobs", {"type": "evaluate", "dataset": "demo", "model": "m", "part": "all"})
    files = server.get(f"/v1/jobs/{evaluated}/artifacts").json()["data"]
    names = {"dataset": ["demo"], "model": ["m", "m:1"], "version": ["1"], "job": [imported, trained, evaluated],
             "name": [file["name"] for file in files] + ["paper-base"], "folder": ["demo"],
             "jobs": [f"{evaluated},{evaluated}"]}
    (folder / "schemathesis.toml").write_text(CONFIG)
    with open(folder / "openapi.json", "wb") as file:  # a contract's own address would be left out of its tests
        subprocess.run([BUILD / "bin/affectd", "--contract"], stdout=file, check=True)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", folder / "schemathesis.toml", "run",
               folder / "openapi.json", "--url", f"http://127.0.0.1:{server.port}", "--checks", "all", "--phases",
               "examples,coverage,fuzzing,stateful", "--workers", "1", "--continue-on-failure", "--no-color",
               "--request-timeout", "70", "--suppress-health-check", "all", "--generation-database", "none",
               "--warnings", "off", "--seed", os.environ.get("AFFECT_CONTRACT_SEED", "1")]
    command += ["--max-examples", "200", "--max-time", str(SECONDS)] if SECONDS else ["--max-examples", "30", "--no-shrink"]
    environment = os.environ | {"SCHEMATHESIS_HOOKS": "contract_hooks", "AFFECT_CONTRACT_NAMES": json.dumps(names),
                                "PYTHONPATH": str(pathlib.Path(__file__).parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=300 + 2 * SECONDS)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-3000:]
    n_operations = sum(len(path) for path in server.get("/openapi.json").json()["paths"].values())
    assert f"Tested: {n_operations}" in " ".join(done.stdout.split()), done.stdout[-3000:]
    assert server.get("/readyz").status == 200
    # Requests reached the ends of the handlers. Those that chance seldom brings there: a prediction, which needs a
    # recording; pause and resume, which need a job that runs; files of what other requests have deleted before.
    counts = re.findall(r'requests_total\{method="(\w+)",route="([^"]+)",status="2xx"\} (\d+)',
                        server.get("/metrics").body.decode())
    good = {f"{method} {route}" for method, route, _ in counts}
    missing = {f"{method.upper()} {path}" for path, methods in json.loads(
        (folder / "openapi.json").read_text())["paths"].items() for method in methods} - good
    assert len(missing) < 10 and {"POST /v1/jobs", "POST /v1/datasets", "GET /v1/jobs/{job}"} <= good, missing

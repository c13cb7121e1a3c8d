"""openapi-python-client makes a client of the contract, and the client's models hold real answers without loss: what
they read of an answer prints as the same JSON again."""
import importlib
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from conftest import BUILD

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Media types that the generator does not know are bytes to it; the formatter that it would run is not needed.
CONFIG = {"post_hooks": [], "content_type_overrides": {
    "application/gzip": "application/octet-stream", "application/zip": "application/octet-stream",
    "application/x-tar": "application/octet-stream", "application/zstd": "application/octet-stream",
    "image/svg+xml": "application/octet-stream"}}


@pytest.fixture(scope="module")
def client_folder(tmp_path_factory):
    pytest.importorskip("openapi_python_client")
    folder = tmp_path_factory.mktemp("client")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    with open(folder / "openapi.json", "wb") as file:
        subprocess.run([BUILD / "bin/affectd", "--contract"], stdout=file, check=True)
    done = subprocess.run([sys.executable, "-m", "openapi_python_client", "generate", "--path", folder / "openapi.json",
                           "--meta", "none", "--output-path", folder / "affectd_client", "--config",
                           folder / "config.json", "--fail-on-warning"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def client(client_folder):
    sys.path.insert(0, str(client_folder))
    yield importlib.import_module("affectd_client")
    sys.path.remove(str(client_folder))


def same(model, answer):
    """Numbers such as 1.0 and 1, and times in another of their spellings, are the same."""
    printed = json.loads(json.dumps(model.to_dict()))

    def norm(value):
        if isinstance(value, dict):
            return {name: norm(member) for name, member in value.items()}
        if isinstance(value, list):
            return [norm(element) for element in value]
        if isinstance(value, str) and len(value) > 20 and value[4] == "-" and "T" in value:
            date, _, rest = value.replace("+00:00", "Z").removesuffix("Z").partition(".")
            return f"{date}.{rest:0<6}"
        return value

    assert norm(printed) == norm(answer)


def test_jobs_and_the_rest_go_through_the_client(client, make_server, tmp_path):
    if not shutil.which("espeak-ng"):
        pytest.skip("espeak-ng is not installed: no demo corpus")
    pytest.importorskip("numpy")
    subprocess.run([sys.executable, ROOT / "tests/corpus/make_corpus.py", tmp_path / "corpora/demo", "--utterances", "24",
                    "--speakers", "4", "--seed", "3"], check=True, timeout=120, stdout=subprocess.DEVNULL)
    server = make_server(import_root=tmp_path / "corpora", job_threads=1)
    models = importlib.import_module("affectd_client.models")
    api = {name: importlib.import_module(f"affectd_client.api.{name}") for name in (
        "jobs.post_v1_jobs", "jobs.get_v1_jobs", "jobs.get_v1_jobs_job", "datasets.post_v1_datasets",
        "jobs.get_v1_jobs_job_events", "architectures.get_v1_architectures", "models.get_v1_models_model")}
    http = client.Client(base_url=f"http://127.0.0.1:{server.port}")

    def wait(job):
        for _ in range(60):
            job = api["jobs.get_v1_jobs_job"].sync(job.id, client=http, wait=5)
            if job.terminal:
                return job
        raise AssertionError(job)

    made = api["datasets.post_v1_datasets"].sync(client=http, body=models.DatasetRequest.from_dict(
        {"name": "demo", "source": {"path": "demo"}, "features": {"mel": {"clip_seconds": 1}}}))
    imported = wait(made)
    train = models.TrainRequest.from_dict({"type": "train", "dataset": "demo", "model": "m", "architecture": "audio-only",
                                           "split": {"kind": "random", "validation": 0.25}, "training": {"epochs": 1}})
    trained = wait(api["jobs.post_v1_jobs"].sync(client=http, body=train))
    failed = api["jobs.post_v1_jobs"].sync(client=http, body=models.EvaluateRequest.from_dict(
        {"type": "evaluate", "dataset": "none", "model": "m"}))
    assert isinstance(failed, models.Problem) and failed.status == 422, failed
    evaluated = wait(api["jobs.post_v1_jobs"].sync(client=http, body=models.EvaluateRequest.from_dict(
        {"type": "evaluate", "dataset": "demo", "model": "m", "part": "all"})))
    for job, result in ((imported, models.ImportResult), (trained, models.TrainResult),
                        (evaluated, models.EvaluateResult)):
        assert job.state.value == "succeeded" and isinstance(job.result, result), job
        same(job, server.get(f"/v1/jobs/{job.id}").json())
    assert len(api["jobs.get_v1_jobs"].sync(client=http, limit=2).data) == 2
    for path, name in ((f"/v1/jobs/{trained.id}/metrics", "Metrics"), ("/v1/jobs", "JobPage"), ("/v1/datasets/demo", "Dataset"),
                       ("/v1/datasets/demo/report", "Report"), ("/v1/datasets/demo/splits", "SplitList"),
                       ("/v1/models/m", "Model"), ("/v1/models/m/versions/1", "ModelVersion"), ("/v1/system", "System"),
                       ("/v1/architectures", "ArchitectureList"), (f"/v1/jobs/{trained.id}/events?limit=1000", "EventPage")):
        answer = server.get(path).json()
        same(getattr(models, name).from_dict(answer), answer)

"""What a sweep costs a server, on a tree of 24 utterances.

    build/venv/bin/python tests/bench/sweeps.py build

1. Threads: 8 runs of one thread, two at once, against 8 runs of two threads one after another: alternating, medians.
2. GETs of the API while 500 runs are queued and running: latencies of jobs, runs and metrics.
"""
import http.client
import pathlib
import statistics
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "build").resolve()
import os  # noqa: E402

os.environ["AFFECT_BUILD"] = str(BUILD)
sys.path[:0] = [str(ROOT / "tests/service"), str(ROOT / "tests/corpus")]
from conftest import Server  # noqa: E402
from small_tree import LABELS, SmallTree  # noqa: E402


def wait(server, job):
    while not (body := server.get(f"/v1/jobs/{job}?wait=30").json())["terminal"]:
        pass
    return body


def create(server, path, body):
    answer = server.post_json(path, body)
    assert answer.status == 202, answer.body
    return answer.json()["id"]


def sweep(server, **members):
    base = {"dataset": "small", "architecture": "audio-only", "training": {"epochs": 2, "batch_size": 24}}
    return {"type": "sweep", "base": base, "split": "random", "reuse": False} | members


def threads(server, repeats=5):
    seconds = {1: [], 2: []}
    for _ in range(repeats):
        for at_once in seconds:
            job = create(server, "/v1/jobs", sweep(server, seeds=list(range(8)), max_concurrent_runs=at_once))
            began = time.monotonic()
            assert wait(server, job)["state"] == "succeeded"
            seconds[at_once].append(time.monotonic() - began)
    one_by_one, two = (statistics.median(s) for s in seconds.values())
    print(f"8 runs of 2 threads, one by one: {one_by_one:.2f} s; of 1 thread, two at once: {two:.2f} s; "
          f"ratio {two / one_by_one:.2f}")


def latencies(server):
    job = create(server, "/v1/jobs", sweep(server, seeds=list(range(100)), split=[
        {"kind": "random", "seed": n} for n in range(5)], max_concurrent_runs=2))
    paths = ["/v1/jobs", f"/v1/jobs/{job}", f"/v1/jobs/{job}/runs", "/v1/datasets/small", "/metrics"]
    found = {path: [] for path in paths}
    connection = http.client.HTTPConnection(server.host, server.port)
    end = time.monotonic() + 20
    while time.monotonic() < end:
        for path in paths:
            began = time.perf_counter()
            connection.request("GET", path)
            connection.getresponse().read()
            found[path].append(time.perf_counter() - began)
            time.sleep(0.002)
    runs = server.get(f"/v1/jobs/{job}").json()["progress"].get("runs", {})
    for path, seconds in found.items():
        seconds.sort()
        print(f"{path.replace(job, '{job}')}: {len(seconds)} requests, p50 {seconds[len(seconds) // 2] * 1e3:.2f} ms, "
              f"p99 {seconds[int(len(seconds) * .99)] * 1e3:.2f} ms")
    print("runs meanwhile:", runs)
    server.request("POST", f"/v1/jobs/{job}/cancel")
    wait(server, job)


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        SmallTree(folder / "corpora/small", labels=LABELS * 3)
        (folder / "server").mkdir()
        server = Server(folder / "server", import_root=folder / "corpora", job_threads=2)
        body = {"name": "small", "source": {"path": "small"},
                "features": {"preset": "mel-16k", "mel": {"clip_seconds": 2}}}
        assert wait(server, create(server, "/v1/datasets", body))["state"] == "succeeded"
        threads(server)
        latencies(server)
        server.stop()


if __name__ == "__main__":
    main()

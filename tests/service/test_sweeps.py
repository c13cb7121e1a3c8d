"""Sweeps over HTTP and on the shell, with the real worker on a tree of 24 utterances: two sessions of two speakers, one
dialog each, the first improvised."""
import csv
import io
import json
import subprocess
import sys
import time

import pytest

pytest.importorskip("numpy")

from conftest import BUILD, ROOT, Server  # noqa: E402

sys.path.insert(0, str(ROOT / "tests/corpus"))
from small_tree import LABELS, SmallTree  # noqa: E402
from test_failures import ARCHITECTURE, start_job, wait_end  # noqa: E402

BASE = {"dataset": "small", "architecture": ARCHITECTURE, "training": {"epochs": 2, "batch_size": 8}}
RATES = {"training.learning_rate": {"values": [0.001, 0.01]}}


def sweep(**members):
    return {"type": "sweep", "base": BASE, "split": "session-out"} | members


def start_server(folder, **settings):
    server = Server(folder / "server", import_root=folder / "corpora", job_threads=1, **settings)
    return server


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweeps")
    SmallTree(folder / "corpora/small", labels=LABELS * 3)
    (folder / "server").mkdir()
    return folder


@pytest.fixture(scope="module")
def server(folder):
    server = start_server(folder)
    body = {"name": "small", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
    assert wait_end(server, start_job(server, "/v1/datasets", body))["state"] == "succeeded"
    yield server
    assert server.stop() == 0


def runs_of(server, job):
    page = server.get(f"/v1/jobs/{job}/runs?limit=500").json()
    assert not page["more"]
    return page["data"]


def report_of(server, job):
    return server.get(f"/v1/jobs/{job}/table?format=json").json()


def refuse(server, **members):
    answer = server.post_json("/v1/jobs", sweep(**members))
    assert answer.status == 422, answer.body
    return [(e["pointer"], e["detail"]) for e in answer.json()["errors"]]


def pooled(confusions):
    """Accuracy and mean recall of summed confusion matrices, by NumPy."""
    import numpy
    total = numpy.sum(confusions, axis=0)
    support = total.sum(1)
    return total.trace() / total.sum(), (total.diagonal()[support > 0] / support[support > 0]).mean()


def test_a_grid_of_runs(server):
    job = start_job(server, "/v1/jobs", sweep(parameters=RATES, seeds=[1, 2], max_concurrent_runs=2))
    done = wait_end(server, job)
    assert done["state"] == "succeeded", done["error"]
    runs = runs_of(server, job)
    assert [(r["run"]["point"], r["run"]["fold"], r["run"]["seed"]) for r in runs] == [
        (p, f, s) for p in range(2) for f in range(2) for s in (1, 2)]
    for i, run in enumerate(runs):
        assert run["run"]["index"] == i and run["parent"] == job and run["type"] == "train"
        assert run["state"] == "succeeded" and "version" not in run["result"]
        rows = list(csv.DictReader(io.StringIO(server.get(f"/v1/jobs/{run['id']}/artifacts/predictions.csv").body.decode())))
        right = sum(row["label"] == row["predicted"] for row in rows)
        assert len(rows) == 12 and right / 12 == run["result"]["test"]["accuracy"]
        assert run["request"]["training"]["seed"] == run["run"]["seed"]
        assert run["request"]["training"]["learning_rate"] == RATES["training.learning_rate"]["values"][run["run"]["point"]]
        assert run["request"]["split"] == {"kind": "session-out", "fold": run["run"]["fold"]}
        assert server.get(f"/v1/jobs/{run['id']}/metrics").json()["epochs"][-1]["epoch"] == 2
    assert server.get("/v1/models").json()["data"] == []
    assert job in [j["id"] for j in server.get("/v1/jobs").json()["data"]]
    assert not {r["id"] for r in runs} & {j["id"] for j in server.get("/v1/jobs?limit=500").json()["data"]}

    report = report_of(server, job)
    for point, p in enumerate(report["points"]):
        (cell,) = p["splits"]
        own = [r for r in runs if r["run"]["point"] == point]
        by_seed = [pooled([r["result"]["test"]["confusion"] for r in own if r["run"]["seed"] == seed]) for seed in (1, 2)]
        assert cell["accuracy"] == pytest.approx(sum(a for a, _ in by_seed) / 2, abs=1e-12)
        assert cell["recall_mean"] == pytest.approx(sum(u for _, u in by_seed) / 2, abs=1e-12)
        values = [r["result"]["metrics"]["val_recall_mean"] for r in own]
        assert cell["metric"]["mean"] == pytest.approx(sum(values) / 4, abs=1e-12) and cell["n_runs"] == 4
        assert cell["utterances"] == 24 and cell["part"] == "test"
        assert cell["selection"] == "validation" and cell["intervals"]["speaker"]["groups"] == 4
        low, high = cell["intervals"]["speaker"]["recall_mean"]
        assert 0 <= low <= cell["recall_mean"] + 0.05 and cell["recall_mean"] - 0.05 <= high <= 1
        low, high = cell["intervals"]["accuracy"]
        assert 0 <= low <= cell["accuracy"] <= high <= 1
        assert cell["baselines"]["majority"] == pytest.approx(
            sum(r["result"]["baselines"]["majority"]["accuracy"] * 12 for r in own) / 48)
    rows = list(csv.DictReader(io.StringIO(server.get(f"/v1/jobs/{job}/table?format=csv").body.decode())))
    assert [row["training.learning_rate"] for row in rows] == ["0.001", "0.01"]
    assert [float(row["accuracy (WA)"]) for row in rows] == pytest.approx(
        [p["splits"][0]["accuracy"] for p in report["points"]], abs=5e-5)
    text = server.get(f"/v1/jobs/{job}/table?format=md").body.decode()
    assert text.startswith(done["result"]["statement"].replace("_", "\\_")) and text.count("\n|") == 4
    assert server.get(f"/v1/jobs/{job}/table?format=latex").body.decode().count("\\\\") == 3
    assert server.get(f"/v1/jobs/{job}/table?format=html").status == 422
    events = [e for e in server.get(f"/v1/jobs/{job}/events?limit=500").json()["data"] if e["event"] == "run"]
    assert sorted(e["index"] for e in events) == list(range(8)) and all(e["state"] == "succeeded" for e in events)
    assert done["progress"]["runs"] == {"total": 8, "succeeded": 8}


def test_finished_runs_are_taken_over(server):
    wait_end(server, start_job(server, "/v1/jobs", sweep(parameters=RATES, seeds=[1])))
    job = start_job(server, "/v1/jobs", sweep(parameters={"training.learning_rate": {"values": [0.01, 0.02]}}, seeds=[1]))
    done = wait_end(server, job)
    assert done["state"] == "succeeded" and done["result"]["runs"] == {"total": 4, "succeeded": 4, "reused": 2}
    for run in runs_of(server, job):
        reused = run["run"]["parameters"]["training.learning_rate"] == 0.01
        assert (run["state_reason"] == "reused") == reused
        assert len(server.get(f"/v1/jobs/{run['id']}/metrics").json()["epochs"]) == 2
        assert run["best"]["val_recall_mean"] == run["result"]["metrics"]["val_recall_mean"]
        assert (server.folder / "data/jobs" / run["id"] / "best.safetensors").exists()
    again = wait_end(server, start_job(server, "/v1/jobs", sweep(parameters=RATES, seeds=[1], reuse=False)))
    assert again["result"]["runs"] == {"total": 4, "succeeded": 4}


def test_the_best_run_is_published(server):
    done = wait_end(server, start_job(server, "/v1/jobs", sweep(model="chosen", parameters=RATES)))
    assert done["state"] == "succeeded" and done["result"]["version"] == 1
    best = server.get(f"/v1/jobs/{done['result']['best_job']}").json()
    values = [r["result"]["metrics"]["val_recall_mean"] for r in runs_of(server, done["id"])
              if r["run"]["point"] == best["run"]["point"]]
    assert best["result"]["metrics"]["val_recall_mean"] == max(values)
    assert server.get("/v1/models/chosen/versions/1").status == 200


def test_what_is_refused(server):
    assert refuse(server, parameters={"training.learning_rate": {"values": [0.1, 0.2]}}, run_cap=1) == [
        ("/run_cap", "run_cap: the grid has 2 points (run_cap 1)")]
    cases = [
        ({"parameters": {"training.seed": {"values": [1]}}}, "/parameters/training.seed"),
        ({"parameters": {"dataset": {"values": ["a"]}}}, "/parameters/dataset"),
        ({"parameters": {"training.epochs": {"values": []}}}, "/parameters/training.epochs"),
        ({"parameters": {"training.epochs": {"values": [1, 1]}}}, "/parameters/training.epochs"),
        ({"parameters": {"training.epochs": {"distribution": "int_uniform", "min": 1, "max": 2}}},
         "/parameters/training.epochs"),
        ({"method": "random", "parameters": {"training.epochs": {"distribution": "int_uniform", "min": 2, "max": 1}}},
         "/parameters/training.epochs"),
        ({"method": "random", "parameters": {"training.epochs": {"distribution": "log_uniform_values", "min": 0, "max": 1}}},
         "/parameters/training.epochs"),
        ({"parameters": {"training.epochs": {"values": [0]}}}, "/base/training/epochs"),
        ({"parameters": {"training.epochs": 3}}, "/parameters/training.epochs"),
        ({"parameters": {"training.epochs": {"values": [1], "value": 1}}}, "/parameters/training.epochs"),
        ({"parameters": {"training.epochs": {"wrong": 1}}}, "/parameters/training.epochs/wrong"),
        ({"parameters": {"variables.absent": {"values": [1]}}}, "/base/variables/absent"),
        ({"seeds": [1, 1]}, "/seeds"), ({"seeds": []}, "/seeds"), ({"seeds": [-1]}, "/seeds"), ({"seeds": [0.5]}, "/seeds"),
        ({"split": []}, "/split"), ({"split": "absent"}, "/split"), ({"split": ["session-out", "absent"]}, "/split/1"),
        ({"split": {"kind": "group-out", "by": "weather"}}, "/split"),
        ({"base": BASE | {"split": "random"}}, "/base/split"), ({"base": BASE | {"model": "m"}}, "/base/model"),
        ({"base": BASE | {"dataset": "absent"}}, "/base/dataset"), ({"base": {}}, "/base/dataset"),
        ({"base": BASE | {"training": {"seed": 3}}}, "/base/training/seed"), ({"base": BASE | {"wrong": 3}}, "/base/wrong"),
        ({"metric": {"name": "val_luck"}}, "/metric/name"), ({"max_concurrent_runs": 0}, "/max_concurrent_runs"),
        ({"model": "a b"}, "/model"), ({"early": 1}, "/early")]
    wrong = [(members, refuse(server, **members), pointer) for members, pointer in cases]
    assert [w for w in wrong if w[2] not in [p.replace("~1", "/") for p, _ in w[1]]] == []
    assert not [j for j in server.get("/v1/jobs?state=queued").json()["data"]]


def test_a_run_that_was_cancelled_and_a_retry(server):
    """The others go on; the retry takes them over and does that one alone."""
    base = BASE | {"training": {"epochs": 20, "batch_size": 8}}
    job = start_job(server, "/v1/jobs", sweep(base=base, parameters=RATES))
    assert server.request("POST", f"/v1/jobs/{runs_of(server, job)[3]['id']}/cancel").status == 202
    done = wait_end(server, job)
    assert done["state"] == "failed" and done["error"]["code"] == "conflict", done
    assert done["result"]["runs"] == {"total": 4, "succeeded": 3, "cancelled": 1}
    assert "retry" in done["links"] and report_of(server, job)["points"][1]["splits"][0]["n_runs"] == 1
    again = wait_end(server, server.request("POST", f"/v1/jobs/{job}/retry").json()["id"])
    assert again["state"] == "succeeded" and again["retry_of"] == job
    assert again["result"]["runs"] == {"total": 4, "succeeded": 4, "reused": 3}


LONG = BASE | {"training": {"epochs": 400, "batch_size": 2}}


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def test_cancel_pause_and_resume_reach_the_runs(server):
    job = start_job(server, "/v1/jobs", sweep(base=LONG, seeds=[7, 8], max_concurrent_runs=2, reuse=False))
    states = lambda: [r["state"] for r in runs_of(server, job)]  # noqa: E731
    wait_for(lambda: states().count("running") == 2)
    assert server.request("POST", f"/v1/jobs/{job}/pause").status == 202
    wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == "paused")
    assert sorted(states()) == ["paused", "paused", "queued", "queued"]
    time.sleep(0.3)
    assert sorted(states()) == ["paused", "paused", "queued", "queued"]
    assert server.request("POST", f"/v1/jobs/{job}/resume").status == 202
    wait_for(lambda: states().count("running") == 2)
    assert server.request("DELETE", f"/v1/jobs/{job}").status == 409
    run = runs_of(server, job)[0]["id"]
    assert server.request("POST", f"/v1/jobs/{job}/cancel").status == 202
    wait_for(lambda: server.get(f"/v1/jobs/{job}").json()["state"] == "cancelled")
    assert set(states()) == {"cancelled"}
    assert server.request("DELETE", f"/v1/jobs/{run}").status == 409
    assert server.request("DELETE", f"/v1/jobs/{job}").status == 204
    assert server.get(f"/v1/jobs/{run}").status == 404
    assert not (server.folder / "data/jobs" / run).exists() and not (server.folder / "data/jobs" / job).exists()


def test_a_queued_sweep_is_cancelled(server):
    first = start_job(server, "/v1/jobs", sweep(base=LONG, reuse=False))
    second = start_job(server, "/v1/jobs", sweep(base=LONG, reuse=False))
    wait_for(lambda: server.get(f"/v1/jobs/{first}").json()["state"] == "running")
    assert server.get(f"/v1/jobs/{second}").json()["state"] == "queued"
    server.request("POST", f"/v1/jobs/{second}/cancel")
    wait_for(lambda: {r["state"] for r in runs_of(server, second)} == {"cancelled"})
    assert server.get(f"/v1/jobs/{second}").json()["state"] == "cancelled"
    server.request("POST", f"/v1/jobs/{first}/cancel")
    assert wait_end(server, first)["state"] == "cancelled"


def test_a_time_budget(server):
    job = start_job(server, "/v1/jobs", sweep(base=BASE | {"training": {"epochs": 60, "batch_size": 2}}, seeds=[1, 2, 3],
                                              reuse=False, time_budget_seconds=0.2))
    done = wait_end(server, job)
    reasons = [r["state_reason"] for r in runs_of(server, job)]
    assert done["state"] == "succeeded" and reasons.count("time_budget") == done["result"]["runs"]["time_budget"] >= 1
    assert done["result"]["runs"]["succeeded"] >= 1


def test_killed_and_started_again(server, folder, tmp_path):
    """Two points, two splits; the server and its workers are killed twice on the way: the table is that of an undisturbed
    sweep, byte for byte."""
    body = sweep(base=BASE | {"training": {"epochs": 30, "batch_size": 4}}, split=["paper-random", "session-out"],
                 parameters=RATES, reuse=False)
    undisturbed = wait_end(server, start_job(server, "/v1/jobs", body))
    assert undisturbed["state"] == "succeeded", undisturbed["error"]
    want = [server.get(f"/v1/jobs/{undisturbed['id']}/table?format={f}").body for f in ("csv", "md", "latex")]
    job = start_job(server, "/v1/jobs", body)
    for n in (1, 3):
        wait_for(lambda: sum(r["terminal"] for r in runs_of(server, job)) >= n)
        server.process.kill()
        server.process.wait()
        server.start()
    done = wait_end(server, job)
    assert done["state"] == "succeeded", done["error"]
    assert [server.get(f"/v1/jobs/{job}/table?format={f}").body for f in ("csv", "md", "latex")] == want
    split = json.loads(server.get(f"/v1/jobs/{job}/table?format=json").body)
    assert split["splits"] == ["paper-random", "session-out"] and len(split["differences"]) == 1
    assert "paper-random" in split["statement"] and "session-out" in split["statement"]


def test_on_the_shell(server, tmp_path):
    dataset = next((server.folder / "data/datasets").iterdir())
    spec = tmp_path / "sweep.json"
    spec.write_text(json.dumps({k: v for k, v in sweep(parameters=RATES).items()} | {"base": {
        k: v for k, v in BASE.items() if k != "dataset"}}))
    command = [BUILD / "bin/affect", "sweep", "--spec", spec, "--dataset", dataset, "--output", tmp_path / "out"]
    first = subprocess.run(command, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert first.stderr.count(" done: ") == 4
    tables = [(tmp_path / "out" / name).read_bytes() for name in ("table.csv", "table.md", "table.tex")]
    second = subprocess.run(command, capture_output=True, text=True)
    assert second.returncode == 0 and second.stderr.count(" taken over: ") == 4
    assert tables == [(tmp_path / "out" / name).read_bytes() for name in ("table.csv", "table.md", "table.tex")]
    job = wait_end(server, start_job(server, "/v1/jobs", sweep(parameters=RATES)))
    assert server.get(f"/v1/jobs/{job['id']}/table?format=csv").body == tables[0]


def test_asha(server):
    """Nine points of two folds; rungs at 1 and 3 epochs of 6: the decisions are those of the algorithm on what was
    recorded, epochs are saved, and the best point is complete."""
    rates = [10 ** (-1 - i / 2) for i in range(9)]
    base = BASE | {"training": {"epochs": 6, "batch_size": 8}}
    body = sweep(base=base, parameters={"training.learning_rate": {"values": rates}}, reuse=False, max_concurrent_runs=2,
                 early_terminate={"type": "asha", "grace_period": 1, "reduction_factor": 3, "max_t": 6})
    job = start_job(server, "/v1/jobs", body)
    wait_for(lambda: len([e for e in server.get(f"/v1/jobs/{job}/events?limit=500").json()["data"]
                          if e["event"] == "decision"]) >= 2)
    server.process.kill()
    server.process.wait()
    server.start()
    done = wait_end(server, job)
    assert done["state"] == "succeeded", done["error"]
    runs = runs_of(server, job)
    epochs = {r["id"]: server.get(f"/v1/jobs/{r['id']}/metrics").json()["epochs"] for r in runs}

    def value(point, rung):
        best = [max(e["val_recall_mean"] for e in epochs[r["id"]][:rung]) for r in runs if r["run"]["point"] == point]
        return sum(best) / len(best)

    decisions = [e for e in server.get(f"/v1/jobs/{job}/events?limit=500").json()["data"] if e["event"] == "decision"]
    promoted = [d for d in decisions if d["decision"] == "promote"]
    assert decisions[-1]["decision"] == "stop" and [d["decision"] for d in decisions].count("stop") == 1
    for d in promoted:
        assert d["value"] == pytest.approx(value(d["point"], d["rung"]), abs=1e-12) and d["value"] >= d["threshold"]
        assert d["rank"] <= max(1, d["recorded"] // 3) and d["recorded"] <= 9
    assert len({(d["point"], d["rung"]) for d in promoted}) == len(promoted) >= 4
    for r in runs:
        n = len(epochs[r["id"]])
        assert [e["epoch"] for e in epochs[r["id"]]] == list(range(1, n + 1))
        passed = [d["rung"] for d in promoted if d["point"] == r["run"]["point"]]
        assert n == {(): 1, (1,): 3, (1, 3): 6}[tuple(passed)]
        assert (r["state"], r["state_reason"]) == (("succeeded", None) if n == 6 else ("cancelled", "early_terminated"))
    assert sum(map(len, epochs.values())) < 0.6 * 6 * len(runs)
    assert done["result"]["runs"]["early_terminated"] == 18 - done["result"]["runs"]["succeeded"]
    assert len(epochs[done["result"]["best_job"]]) == 6

"""Results of jobs compared over HTTP, and the same from the shell."""
import csv
import io
import json
import subprocess

import numpy as np
import pytest
from scipy.stats import binomtest

from conftest import BUILD
from test_contract import check
from test_job_files import evaluate
from test_jobs import real, train, train_id, wait_end  # noqa: F401

pytestmark = pytest.mark.sanitized


def ended(server, job_id):
    body = wait_end(server, job_id)
    assert body["state"] == "succeeded", body
    return body


def predictions(server, job_id):
    answer = server.get(f"/v1/jobs/{job_id}/artifacts/predictions.csv")
    assert answer.status == 200, answer.body
    return {row["utterance"]: row for row in csv.DictReader(io.StringIO(answer.body.decode()))}


def test_comparison(real):  # noqa: F811
    server = real()
    for model, epochs in (("first", 1), ("second", 4)):
        ended(server, train_id(server, epochs, model))
    a, b = evaluate(server, "first"), evaluate(server, "second")
    part = evaluate(server, "first", "validation")
    training = evaluate(server, "first", "training")
    for job_id in (a, b, part, training):
        ended(server, job_id)
    body = check(server.get(f"/v1/compare?jobs={a},{b},{part}"), "get", "/v1/compare")
    tables = {job_id: predictions(server, job_id) for job_id in (a, b, part)}
    assert body["first"] == {"name": a, "utterances": len(tables[a])} and body["draws"] == 2000
    for row, other in zip(body["comparisons"], (b, part), strict=True):
        common = sorted(tables[a].keys() & tables[other].keys())
        assert (row["name"], row["common"]) == (other, len(common))
        assert (row["only_first"], row["only_second"]) == (len(tables[a]) - len(common), len(tables[other]) - len(common))
        right = np.array([[table[u]["label"] == table[u]["predicted"] for u in common] for table in (tables[a], tables[other])])
        accuracy = row["measures"]["accuracy"]
        np.testing.assert_allclose([accuracy["first"], accuracy["second"]], right.mean(1), atol=1e-12)
        assert accuracy["difference"] == accuracy["second"] - accuracy["first"]
        low, high = accuracy["speaker"]
        assert low <= accuracy["difference"] <= high and row["groups"]["speaker"] >= 2
        only = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
        test = row["mcnemar"]
        assert (test["first_right"], test["second_right"]) == only
        if sum(only) < 25:
            assert test["test"] == "exact"
            want = binomtest(min(only), sum(only)).pvalue if sum(only) else 1
            assert abs(test["p_value"] - want) < 1e-12
    for form, kind in (("csv", "text/csv"), ("md", "text/markdown"), ("latex", "application/x-latex")):
        answer = server.get(f"/v1/compare?jobs={a},{b}&format={form}")
        assert answer.status == 200 and answer.headers["Content-Type"].startswith(kind)
        assert a in answer.body.decode().replace("\\", "")
    rows = list(csv.DictReader(io.StringIO(server.get(f"/v1/compare?jobs={a},{b}&format=csv").body.decode())))
    assert [row["measure"] for row in rows] == ["accuracy", "recall_mean", "f1_macro"]
    assert float(rows[0]["difference"]) == body["comparisons"][0]["measures"]["accuracy"]["difference"]

    folders = [str(server.folder / "data/jobs" / job_id) for job_id in (a, b)]
    done = subprocess.run([BUILD / "bin/affect", "compare", *folders, "--format", "json"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["comparisons"][0]["measures"] == body["comparisons"][0]["measures"]
    done = subprocess.run([BUILD / "bin/affect", "compare", folders[0], folders[1] + "/predictions.csv"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.startswith("| first | second |")
    for arguments, why in (([folders[0]], "1 results"), ([*folders, "--format", "xml"], '"xml" is none'),
                           ([folders[0], "/nowhere"], "/nowhere")):
        done = subprocess.run([BUILD / "bin/affect", "compare", *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == 1 and why in done.stderr, done.stderr

    # What the corpus knows is grouped: every utterance is in one group of each attribute.
    result = ended(server, a)["result"]
    assert result["groups"] and set(result["groups"]) <= {"gender", "session", "own_motion", "improvised", "speaker"}
    for attribute, groups in result["groups"].items():
        assert sum(group["utterances"] for group in groups.values()) == result["utterances"], attribute
        right = sum(group["utterances"] * group["accuracy"] for group in groups.values())
        assert abs(right / result["utterances"] - result["metrics"]["accuracy"]) < 1e-9

    for query, status, why in ((a, 422, "1 items"), ("", 422, "0 items"), (",".join([a] * 9), 422, ""), (f"{a},,{b}", 422, "empty"),
                               (f"{a},job_none", 404, ""), (f"{part},{training}", 422, "no utterance in common"),
                               (f"{a},{b}&format=xml", 422, "format"), (f"{a},../{b}", 404, "")):
        answer = server.get(f"/v1/compare?jobs={query}")
        assert answer.status == status and why in answer.json()["detail"], (query, answer.body)
    answer = server.get("/v1/compare")
    assert answer.status == 422 and answer.json()["detail"] == "query jobs is missing"
    table = server.folder / "data/jobs" / b / "predictions.csv"
    table.write_bytes(b"\0\xff" * 100)
    answer = server.get(f"/v1/compare?jobs={a},{b}")
    assert answer.status == 409 and "damaged" in answer.json()["detail"] and str(server.folder) not in answer.json()["detail"]
    imported = server.get("/v1/jobs?type=import").json()["data"]
    for one in imported[:1]:
        assert server.get(f"/v1/compare?jobs={a},{one['id']}").status == 409

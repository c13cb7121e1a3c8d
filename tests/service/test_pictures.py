"""Pictures: well-formed XML whatever labels and queries hold, the numbers of the result in them, bounded queries."""
import copy
import subprocess
import sys
import xml.etree.ElementTree as ET
from urllib.parse import quote

import pytest

pytest.importorskip("numpy")

from conftest import BUILD, ROOT, Server  # noqa: E402

sys.path.insert(0, str(ROOT / "tests/corpus"))
from small_tree import LABELS, SmallTree  # noqa: E402
from test_failures import ARCHITECTURE, start_job, wait_end  # noqa: E402

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<b onload=\"x\">&amp;]]>'\x7f"
NETWORK = copy.deepcopy(ARCHITECTURE) | {"name": "small"}
NETWORK["branches"]["motion"]["layers"][-1]["l2"] = 0.01
TRAIN = {"type": "train", "dataset": "small", "model": "m", "architecture": NETWORK, "split": "session-out",
         "training": {"epochs": 3, "batch_size": 8}}
RESULTS = ("confusion", "reliability", "recall")


def texts(picture):
    """All texts of a picture, which has to parse."""
    root = ET.fromstring(picture)
    assert root.tag == SVG + "svg"
    return ["".join(e.itertext()) for e in root.iter(SVG + "text")]


@pytest.mark.parametrize("test", ["test_result_plots", "test_curves"])
def test_drawings_parse(tmp_path, test):
    """Of hostile labels, 64 classes, one epoch, no numbers: what the tests of the drawing functions draw."""
    subprocess.run([BUILD / "tests" / test, tmp_path], check=True, stdout=subprocess.DEVNULL)
    pictures = list(tmp_path.glob("*.svg"))
    assert len(pictures) > 6
    for picture in pictures:
        root = ET.fromstring(picture.read_bytes())
        assert {e.tag.removeprefix(SVG) for e in root.iter()} <= {
            "svg", "title", "rect", "text", "line", "path", "circle"}, picture
        assert not any(name.startswith("on") for e in root.iter() for name in e.attrib), picture
    assert any("]]>" in text for p in pictures for text in texts(p.read_bytes())) == (test == "test_result_plots")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    SmallTree(folder / "corpora/small", labels=LABELS * 3)
    (folder / "server").mkdir()
    server = Server(folder / "server", import_root=folder / "corpora", job_threads=1)
    body = {"name": "small", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
    assert wait_end(server, start_job(server, "/v1/datasets", body))["state"] == "succeeded"
    yield server
    assert server.stop() == 0


@pytest.fixture(scope="module")
def trained(server):
    body = wait_end(server, start_job(server, "/v1/jobs", TRAIN))
    assert body["state"] == "succeeded", body
    return body


def get(server, path, **queries):
    answer = server.get(path + "?" + "&".join(f"{name}={quote(str(value))}" for name, value in queries.items()))
    assert answer.status == 200 and answer.headers["Content-Type"] == "image/svg+xml", answer.body
    return answer.body


def test_pictures_of_a_result(server, trained):
    links, result = trained["links"], trained["result"]
    confusion = texts(get(server, links["confusion"]))
    assert confusion[0] == "Confusion of m (small): test part of small"
    matrix, classes = result["test"]["confusion"], list(result["test"]["recall"])
    for name, row in zip(classes, matrix, strict=True):
        assert f"{name} ({sum(row)})" in confusion and name in confusion
    counts = [str(n) for row in matrix for n in row]
    assert sorted(t for t in confusion if t.isdigit()) == sorted(counts)
    reliability = texts(get(server, links["reliability"]))
    for name, text in (("ece", "ECE"), ("brier", "Brier"), ("nll", "NLL")):
        assert f"{text} {result['calibration'][name]:.3f}" in reliability
    assert f"{sum(map(sum, matrix))} utterances" in reliability
    recall = texts(get(server, links["recall"]))
    for name, row in zip(classes, matrix, strict=True):
        assert name in recall and (f"{result['test']['recall'][name]:.3f}" in recall or not sum(row))
    assert f"mean recall {result['test']['recall_mean']:.3f}" in recall
    drawn = {name: groups for name, groups in result["groups"].items() if len(groups) > 1}
    assert drawn
    for name, groups in drawn.items():
        assert f"{name}: mean recall of its groups" in recall and set(groups) <= set(recall)


def test_an_evaluation_has_the_same_pictures(server, trained):
    evaluate = {"type": "evaluate", "model": f"m:{trained['result']['version']}", "dataset": "small", "part": "all"}
    body = wait_end(server, start_job(server, "/v1/jobs", evaluate))
    confusion = texts(get(server, body["links"]["confusion"]))
    assert confusion[0].startswith("Confusion of m") and confusion[0].endswith(": all part of small")
    total = sum(int(t) for t in confusion if t.isdigit())
    assert total == body["result"]["utterances"] == 24
    assert "plot" not in body["links"] and server.get(f"/v1/jobs/{body['id']}/plot.svg").status == 422


def test_what_a_client_chooses(server, trained):
    for name in (*RESULTS, "plot"):
        link = trained["links"][name]
        plain = get(server, link)
        assert trained["id"].encode() not in plain and b'fill="#ffffff"' in plain
        assert trained["id"].encode() in get(server, link, ids="true")
        dark = get(server, link, theme="dark", title=HOSTILE, width=700, height=500)
        assert b'width="700" height="500"' in dark and b'fill="#14171c"' in dark
        assert texts(dark)[0] == HOSTILE.replace("\x7f", "\ufffd") and b"<b " not in dark
        for query in ("width=479", "width=4001", "height=319", "height=x", "theme=blue", "ids=maybe", "title=a&title=b",
                      "colour=red", "title=" + 256 * "x"):
            assert server.get(f"{link}?{query}").status == 422, query
    for name in RESULTS:
        assert server.get(f"/v1/jobs/job_none/{name}.svg").status == 404


def test_curves_of_several_jobs(server, trained):
    body = TRAIN | {"training": TRAIN["training"] | {"epochs": 1}}
    second = wait_end(server, start_job(server, "/v1/jobs", body))
    one, two = trained["id"], second["id"]
    said = texts(get(server, "/v1/plot.svg", jobs=f"{one},{two}"))
    assert said[0] == "Training on small" and said.count("m (small)") == 2
    assert {"cross-entropy", "L2 penalty", "accuracy"} <= set(said)
    picture = get(server, "/v1/plot.svg", jobs=f"{one},{two}", names="first & best,<second>")
    assert {"first & best", "<second>"} <= set(texts(picture))
    assert picture.count(b'class="curve"') == 3 * 2 * 2 and b'class="band"' not in picture
    assert get(server, f"/v1/jobs/{one}/plot.svg", compare=two) == get(server, "/v1/plot.svg", jobs=f"{one},{two}")
    get(server, "/v1/plot.svg", jobs=",".join([one] * 8))
    for jobs in ("", ",", f"{one},", ",".join([one] * 9), f"{one}&names=a,b", f"{one}&names=,"):
        answer = server.get(f"/v1/plot.svg?jobs={jobs}")
        assert answer.status == 422 and b"quer" in answer.body, jobs
    assert server.get("/v1/plot.svg").status == 422
    assert server.get(f"/v1/plot.svg?jobs={one},job_none").status == 404


def test_a_sweep_is_mean_and_deviation(server):
    sweep = {"type": "sweep", "split": "session-out", "seeds": [1, 2],
             "base": {name: TRAIN[name] for name in ("dataset", "architecture")} | {"training": {"epochs": 2, "batch_size": 8}},
             "parameters": {"training.learning_rate": {"values": [0.001, 0.01]}}}
    body = wait_end(server, start_job(server, "/v1/jobs", sweep))
    assert body["state"] == "succeeded", body
    runs = [r for r in server.get(body["links"]["runs"]).json()["data"]
            if r["run"]["point"] == body["result"]["best"]["point"]]
    assert len(runs) == 4
    picture = get(server, body["links"]["plot"], width=1000, height=500)
    rate = runs[0]["run"]["parameters"]["training.learning_rate"]
    assert f"learning_rate={rate:g}, session-out: mean of 4 runs" in texts(picture)
    bands = [e for e in ET.fromstring(picture).iter(SVG + "path") if e.get("class") == "band"]
    assert len(bands) == 3
    # The accuracy's band after epoch 2: its middle is the mean of the runs' on the axis that the ticks give.
    accuracies = [server.get(f"/v1/jobs/{r['id']}/metrics").json()["epochs"][1]["val_accuracy"] for r in runs]
    curve = [e for e in ET.fromstring(picture).iter(SVG + "path") if e.get("class") == "curve"][-1]
    y = float(curve.get("d").split()[-1])
    ticks = [(float(e.get("y")) - 4, float(e.text)) for e in ET.fromstring(picture).iter(SVG + "text")
             if e.get("text-anchor") == "end" and float(e.get("x")) > 600]
    (y0, v0), (y1, v1) = ticks[0], ticks[-1]
    assert v0 + (y - y0) / (y1 - y0) * (v1 - v0) == pytest.approx(sum(accuracies) / 4, abs=0.002)
    one = get(server, "/v1/plot.svg", jobs=runs[0]["id"])
    assert "small, session-out, fold 1 of 2, seed 1" in texts(one) and b'class="band"' not in one
    assert server.get(f"/v1/jobs/{body['id']}/confusion.svg").status == 409

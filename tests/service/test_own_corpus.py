"""A corpus of the user's own over HTTP: folders by a pattern, a table in an archive, wrong options; train and predict on it."""
import csv
import io
import pathlib
import sys
import tarfile

from test_jobs import wait_end

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "corpus"))
from test_readers import tone, tree  # noqa: E402

FEATURES = {"mel": {"clip_seconds": 1}}
NAMES = [f"{speaker}a{take:02}{label}a.wav" for speaker in ("03", "08", "11") for label in "WTN" for take in range(1, 4)]


def test_folders_train_and_predict(make_server, tmp_path):
    tree(tmp_path / "corpora/mine", NAMES)
    server = make_server(import_root=tmp_path / "corpora")
    body = {"name": "mine", "layout": "folders", "options": {"pattern": "emodb"}, "source": {"path": "mine"}, "features": FEATURES}
    job = wait_end(server, server.post_json("/v1/datasets", body).json()["id"])
    assert job["state"] == "succeeded", job
    dataset = server.get("/v1/datasets/mine").json()
    assert dataset["layout"] == "folders" and dataset["classes"] == {"angry": 9, "neutral": 9, "sad": 9} and dataset["speakers"] == 3
    train = {"type": "train", "dataset": "mine", "model": "own", "architecture": "audio-only", "training": {"epochs": 1},
             "split": {"kind": "speakers", "validation": ["11"], "test": ["08"]}}
    assert wait_end(server, server.post_json("/v1/jobs", train).json()["id"])["state"] == "succeeded"
    answer = server.post_form("/v1/predictions", {"model": "own", "audio": ("u.wav", (tmp_path / "corpora/mine" / NAMES[0]).read_bytes())})
    assert answer.status == 200 and set(answer.json()["probabilities"]) == {"angry", "neutral", "sad"}


def test_a_table_in_an_archive(make_server, tmp_path):
    root = tmp_path / "t"
    for i in range(4):
        tone(root / f"clips/{i}.wav", hz=300 + 100 * i)
    rows = "".join(f'{i}.wav,"=1+1, {"ab"[i % 2]}",<b>{i % 2}</b>\n' for i in range(4))
    (root / "list.csv").write_text("file,label,speaker\n" + rows)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as out:
        out.add(root, "t")
    server = make_server()
    answer = server.post_form("/v1/datasets", {"name": "listed", "layout": "table", "options": '{"audio": "clips"}',
                                                "features": '{"mel": {"clip_seconds": 1}}', "archive": ("t.tar.gz", packed.getvalue())})
    assert answer.status == 202, answer.body
    assert wait_end(server, answer.json()["id"])["state"] == "succeeded"
    assert server.get("/v1/datasets/listed").json()["classes"] == {"=1+1, a": 2, "=1+1, b": 2}
    train = {"type": "train", "dataset": "listed", "model": "odd", "architecture": "audio-only",
             "training": {"epochs": 1, "class_weights": {"=1+1, a": 2, "=1+1, b": 1}}, "split": {"kind": "random", "validation": 0.5}}
    job = wait_end(server, server.post_json("/v1/jobs", train).json()["id"])
    assert job["state"] == "succeeded", job
    picture = server.get(job["links"]["plot"]).body.decode() if "plot" in job["links"] else ""
    assert "<b>" not in picture
    assert server.get("/metrics").status == 200
    head = next(csv.reader(io.StringIO(server.get(job["links"]["metrics"] + "?format=csv").body.decode())))
    assert "recall_=1+1, a" in head and "val_recall_=1+1, b" in head


def test_wrong_options(make_server, tmp_path):
    tree(tmp_path / "corpora/mine", NAMES[:3])
    server = make_server(import_root=tmp_path / "corpora")
    body = {"name": "mine", "layout": "folders", "source": {"path": "mine"}}
    for layout, options, pointer in (("folders", {"pattern": "none"}, "/options/pattern"),
                                     ("folders", {"pattern": {"words": 1}}, "/options/pattern"),
                                     ("folders", {"folder": "label"}, "/options/folder"),
                                     ("table", {"columns": {"label": 1}}, "/options/columns"),
                                     ("table", {"words": {"label": 1}}, "/options/words"),
                                     ("iemocap", {"pattern": "emodb"}, "/options"),
                                     ("tables", None, "/layout")):
        answer = server.post_json("/v1/datasets", body | {"layout": layout} | ({"options": options} if options else {}))
        assert answer.status == 422 and answer.json()["errors"][0]["pointer"].startswith(pointer), answer.body
    job = wait_end(server, server.post_json("/v1/datasets", body | {"options": {"pattern": {"expression": "(a"}}}).json()["id"])
    assert job["state"] == "failed" and "expression is wrong at byte 2" in job["error"]["message"]

"""Splits by name over HTTP and on the shell, with the real worker on a tree of 24 utterances: two sessions of two
speakers, one dialog each, the first improvised."""
import json
import subprocess
import sys

import pytest

pytest.importorskip("numpy")

from conftest import BUILD, ROOT, Server  # noqa: E402

sys.path.insert(0, str(ROOT / "tests/corpus"))
from small_tree import LABELS, SmallTree  # noqa: E402
from test_readers import tone  # noqa: E402
from test_failures import ARCHITECTURE, start_job, wait_end  # noqa: E402

TRAIN = {"type": "train", "dataset": "small", "architecture": ARCHITECTURE, "model": "m",
         "training": {"epochs": 1, "batch_size": 8}}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("splits")
    SmallTree(folder / "corpora/small", labels=LABELS * 3)
    (folder / "server").mkdir()
    server = Server(folder / "server", import_root=folder / "corpora", job_threads=1)
    body = {"name": "small", "source": {"path": "small"}, "features": {"preset": "mel-16k", "mel": {"clip_seconds": 1}}}
    assert wait_end(server, start_job(server, "/v1/datasets", body))["state"] == "succeeded"
    server.dataset = next((folder / "server/data/datasets").iterdir())
    yield server
    assert server.stop() == 0


def trained(server, split):
    """The job of a training with that split, and {part: {group of its utterances}} by the model that it made."""
    done = wait_end(server, start_job(server, "/v1/jobs", TRAIN | {"split": split}))
    assert done["state"] == "succeeded", done["error"]
    newest = server.get("/v1/models/m").json()["versions"][0]["version"]
    return done, server.get(f"/v1/models/m/versions/{newest}").json()["split"]


def refuse(server, split):
    answer = server.post_json("/v1/jobs", TRAIN | {"split": split})
    assert answer.status == 422, answer.body
    return [(e["pointer"], e["detail"]) for e in answer.json()["errors"]]


def speakers(ids):
    return {utterance[:5] + utterance.rsplit("_", 1)[1][0] for utterance in ids}


def test_a_name_is_a_split(server):
    done, split = trained(server, "session-out")
    parts = split["utterances"]
    assert split["kind"] == "session-out" and split["fold"] == 0
    assert {u[:5] for u in parts["test"]} == {"Ses01"} and len(parts["test"]) == 12
    assert len(speakers(parts["validation"])) == 1 and len(speakers(parts["training"])) == 1
    result = done["result"]
    assert result["test"]["accuracy"] >= 0 and result["subset"] is None
    warnings = result["split"].pop("warnings")  # women say neu and ang, men exc and sad: the one who trains lacks two
    assert len(warnings) == 2 and all(text.startswith("no utterance of class") and text.endswith("trains") for text in warnings)
    assert result["split"] == {"name": "session-out", "fold": 0, "held_out": ["Ses01"],
                               "utterances": {"training": 6, "validation": 6, "test": 12}}
    sides = {name: {"training": 1, "evaluated": n, "both": 0, "seen": 0} for name, n in (("speaker", 2), ("dialog", 1), ("scenario", 1))}
    assert result["audit"] == {"training": 6, "evaluated": 12, **sides}


def test_a_table_of_names_beside_a_result(server):
    """The look-up by dialog and speaker, counted here again from the model's parts and the dataset's samples."""
    done, split = trained(server, {"kind": "random", "validation": 0.25, "seed": 4})
    result, parts = done["result"], split["utterances"]
    labels = {u["id"]: u["label"] for u in server.get("/v1/datasets/small/samples").json()["data"]}
    right = 0
    for utterance in parts["validation"]:
        same = [labels[u] for u in parts["training"] if u[:-3] == utterance[:-3]]
        right += max(sorted(set(same)), key=same.count) == labels[utterance]
    assert result["baselines"]["dialog_and_speaker"]["accuracy"] == pytest.approx(right / len(parts["validation"]), abs=1e-12)
    strongest = max(row["accuracy"] for row in result["baselines"].values())
    assert result["beats_baselines"] == (result["best"]["val_accuracy"] > strongest)
    assert result["statement"].startswith("accuracy ") and "validation part" in result["statement"]
    evaluated = wait_end(server, start_job(server, "/v1/jobs", {"type": "evaluate", "model": "m", "dataset": "small", "part": "training"}))
    again = evaluated["result"]
    assert again["baselines"]["nearest_turn"]["accuracy"] == 1 and again["beats_baselines"] is False
    assert "does not beat the strongest baseline" in again["statement"] and again["split"]["name"] == "random"


def test_a_fold_of_a_split(server):
    _, split = trained(server, {"kind": "speaker-out", "fold": 3})
    assert {part: speakers(ids) for part, ids in split["utterances"].items()} == {
        "test": {"Ses02M"}, "validation": {"Ses02F"}, "training": {"Ses01F", "Ses01M"}}


def test_a_subset(server):
    split = {"kind": "group-out", "by": "speaker", "subset": {"improvised": True}, "validation": 0.25}
    _, printed = trained(server, split)
    parts = printed["utterances"]
    assert {u[:5] for ids in parts.values() for u in ids} == {"Ses01"}
    assert [len(parts[p]) for p in ("training", "validation", "test")] == [4, 2, 6]
    assert printed["subset"] == {"improvised": True}


def test_what_the_corpus_does_not_allow(server):
    assert refuse(server, "by-ear")[0][0] == "/split"
    (pointer, detail), = refuse(server, {"kind": "group-out", "by": "gender"})
    assert pointer == "/split" and "no gender" in detail
    (pointer, detail), = refuse(server, "improvised-only")
    assert pointer == "/split" and "one session (Ses01)" in detail
    (pointer, detail), = refuse(server, {"kind": "session-out", "fold": 2})
    assert pointer == "/split/fold" and "0..1" in detail
    (pointer, detail), = refuse(server, "given")
    assert "no split of its own" in detail
    assert {pointer for pointer, _ in refuse(server, {
        "kind": "session-out", "folds": 0, "test": 0.1, "subset": {"agreement": 3}})} == {
        "/split/folds", "/split/test", "/split/subset/agreement"}


def affect(*arguments):
    return subprocess.run([str(BUILD / "bin/affect"), *map(str, arguments)], capture_output=True, text=True, timeout=60)


def test_on_the_shell(server, tmp_path):
    (tmp_path / "tiny.json").write_text(json.dumps(ARCHITECTURE))
    given = ("train", "-d", server.dataset, "-a", tmp_path / "tiny.json", "-e", 1, "-t", 1, "--split", "session-out")
    done = affect(*given, "-o", tmp_path / "out", "--fold", 1, "--events")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 validate" not in done.stdout and "6 utterances train, 6 validate, 12 test" in done.stdout
    other = affect(*given, "-o", tmp_path / "other", "--fold", 2)
    assert other.returncode != 0 and "2 of 2 folds (0..1)" in other.stderr
    none = affect("train", "-d", server.dataset, "-o", tmp_path / "none", "--fold", 1)
    assert none.returncode != 0 and "--fold" in none.stderr


def test_the_list_of_splits(server):
    answer = server.get("/v1/datasets/small/splits")
    assert answer.status == 200, answer.body
    body = answer.json()
    assert body["utterances"] == 24 and body["groups"] == {"speaker": 4, "session": 2, "dialog": 2, "scenario": 2}
    assert body["classes"] == {"angry": 6, "happy": 6, "neutral": 6, "sad": 6}
    kinds = {kind["name"]: kind for kind in body["data"]}
    assert {name: kind["folds"] for name, kind in kinds.items()} == {
        "random": 1, "paper-random": 1, "given": 0, "session-out": 2, "speaker-out": 4, "dialog-disjoint": 0,
        "script-disjoint": 0, "improvised-only": 0}
    for kind in kinds.values():
        assert kind["possible"] == bool(kind["folds"]) == bool(kind["listed"]) == (kind["reason"] is None)
        assert [fold["fold"] for fold in kind["listed"]] == list(range(kind["folds"]))
    assert "one session (Ses01)" in kinds["improvised-only"]["reason"]
    assert "no split of its own" in kinds["given"]["reason"]
    assert "1 of dialog" in kinds["dialog-disjoint"]["reason"]  # of two dialogs, one is tested and none can validate
    fold = kinds["speaker-out"]["listed"][3]
    assert fold["held_out"] == ["Ses02M"] and fold["part"] == "test"
    assert fold["utterances"] == {"training": 12, "validation": 6, "test": 6}
    assert fold["classes"]["test"] == {"angry": 0, "happy": 3, "neutral": 0, "sad": 3}
    assert fold["audit"]["speaker"]["both"] == 0 and fold["audit"]["training"] == 12
    assert fold["warnings"] == ["no utterance of class angry is evaluated", "no utterance of class neutral is evaluated"]


def test_a_list_is_what_a_job_gets(server):
    listed = {kind["name"]: kind for kind in server.get("/v1/datasets/small/splits").json()["data"]}
    for name in ("paper-random", "session-out"):
        done, _ = trained(server, name)
        fold = listed[name]["listed"][0]
        assert done["result"]["audit"] == fold["audit"]
        numbers = done["result"]["baselines"].pop("lda_statistics")  # reads the features: of results alone
        assert done["result"]["baselines"] == fold["baselines"] and 0 <= numbers["accuracy"] <= 1
        assert done["result"]["split"]["utterances"] == fold["utterances"]


def test_no_list(server):
    assert server.get("/v1/datasets/none/splits").status == 404
    assert server.get("/v1/datasets/small/splits?fold=1").status == 422


def test_a_table_of_the_users(make_server, tmp_path):
    """Other columns are groups and conditions, the column split is a split; what the table lacks is said."""
    rows, parts = ["file,label,speaker,gender,split,votes"], ["Train"] * 8 + ["Development"] * 2 + ["Test1"] * 2
    for i, part in enumerate(parts):
        tone(tmp_path / f"corpora/t/{i:02}.wav", hz=300 + 50 * i)
        label = "ab"[i % 2]
        rows.append(f"{i:02}.wav,{label},p{i % 3},{'FM'[i // 2 % 2]},{part},{label};{label};{'a' if i < 6 else label}")
    (tmp_path / "corpora/t/list.csv").write_text("\n".join(rows) + "\n")
    server = make_server(import_root=tmp_path / "corpora")
    body = {"name": "own", "layout": "table", "source": {"path": "t"}, "features": {"mel": {"clip_seconds": 1}}}
    assert wait_end(server, start_job(server, "/v1/datasets", body))["state"] == "succeeded"
    listed = server.get("/v1/datasets/own/splits").json()
    assert listed["groups"] == {"speaker": 3, "gender": 2}
    possible = {kind["name"]: kind["possible"] for kind in listed["data"]}
    assert possible == {"random": True, "paper-random": True, "given": True, "speaker-out": True, "session-out": False,
                        "dialog-disjoint": False, "script-disjoint": False, "improvised-only": False}
    train = {"type": "train", "dataset": "own", "model": "own", "architecture": "audio-only", "training": {"epochs": 1}}

    def result(split):
        done = wait_end(server, start_job(server, "/v1/jobs", train | {"split": split}))
        assert done["state"] == "succeeded", done["error"]
        return done["result"]

    given = result("given")
    assert given["split"]["utterances"] == {"training": 8, "validation": 2, "test": 2}
    assert given["audit"]["speaker"] == {"training": 3, "evaluated": 2, "both": 2, "seen": 2}
    assert given["audit"]["dialog"] is None and given["baselines"]["nearest_turn"] is None
    by_gender = result({"kind": "group-out", "by": "gender", "fold": 1, "validation": {"by": "speaker", "groups": 1}})
    assert by_gender["split"]["held_out"] == ["M"]
    assert by_gender["split"]["utterances"] == {"training": 4, "validation": 2, "test": 6}
    agreed = result({"kind": "random", "validation": 0.25, "subset": {"agreement": 1.0, "gender": ["F", "M"]}})
    assert sum(agreed["split"]["utterances"].values()) == 9  # of the first six, the three of class b lack a vote
    refused = server.post_json("/v1/jobs", train | {"split": "session-out"})
    assert refused.status == 422 and "the corpus has no session" in refused.json()["errors"][0]["detail"]

"""What an evaluation says of its own uncertainty, against the probabilities that it wrote: intervals and calibration."""
import csv
import json
import subprocess

import numpy as np
from safetensors.numpy import load_file
from scipy.stats import binomtest

from test_readers import AFFECT, tone


def affect(*arguments):
    done = subprocess.run([AFFECT, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def lda(dataset, held_out, evaluated):
    """Accuracy of discriminant analysis on means and deviations over time, with shrinkage .1: lda.h in NumPy."""
    manifest = json.loads((dataset / "dataset.json").read_text())
    rows, labels, speakers = [], [], []
    for utterance in manifest["utterances"]:
        shard = load_file(dataset / manifest["store"] / f"{manifest['shards'][utterance['shard']]}.safetensors")
        begin, end = shard["offsets"][utterance["index"]:][:2]
        mel = shard["mel"][begin:end].astype(float)
        rows.append(np.concatenate([mel.mean(0), mel.std(0)]))
        labels.append(manifest["classes"].index(utterance["label"]))
        speakers.append(utterance["speaker"])
    rows, labels = np.array(rows), np.array(labels)
    trains = ~np.isin(speakers, list(held_out))
    deviation = rows[trains].std(0)
    rows = (rows - rows[trains].mean(0)) / np.where(deviation > 1e-12, deviation, 1)
    means = np.array([rows[trains & (labels == c)].mean(0) for c in range(2)])
    inside = (rows - means[labels])[trains]
    covariance = inside.T @ inside / len(inside)
    covariance = 0.9 * covariance + 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    coef = np.linalg.solve(covariance, means.T)
    scores = rows @ coef - (means.T * coef).sum(0) / 2 + np.log(np.bincount(labels[trains]) / trains.sum())
    return (scores.argmax(1) == labels)[np.isin(speakers, list(evaluated))].mean()


def test_intervals_and_calibration(tmp_path):
    root = tmp_path / "c"
    rows = ["file,label,speaker\n"]
    for i in range(24):
        tone(root / f"{i}.wav", hz=200 + 100 * (i % 2) + 7 * i)
        rows.append(f"{i}.wav,{'ab'[i % 2]},s{i % 5}\n")
    (root / "t.csv").write_text("".join(rows))
    affect("import", root, "--layout", "table", "--store", tmp_path / "store", "-o", tmp_path / "d", "--features", '{"mel": {"clip_seconds": 1}}')
    spec = {"type": "train", "dataset": str(tmp_path / "d"), "output": str(tmp_path / "out"), "architecture": "audio-only", "model": "m",
            "training": {"epochs": 1}, "device": "cpu", "split": {"kind": "speakers", "validation": ["s1"], "test": ["s0", "s2"]}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (tmp_path / "events").write_text(affect("train", "--spec", tmp_path / "spec.json", "--events"))
    result = json.loads(affect("evaluate", "--model", tmp_path / "out/best.safetensors", "--dataset", tmp_path / "d", "--part", "all",
                               "--output", tmp_path / "e", "--device", "cpu", "--events").splitlines()[-1])["result"]
    lines = [json.loads(line) for line in (tmp_path / "e/predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 24
    p = np.array([[line["probabilities"][c] for c in "ab"] for line in lines])
    true = np.array(["ab".index(line["label"]) for line in lines])
    right = np.array([line["label"] == line["predicted"] for line in lines])
    with open(tmp_path / "e/predictions.csv", newline="") as table:
        cells = list(csv.DictReader(table))
    assert [(row["utterance"], row["label"], row["predicted"]) for row in cells] == [
        (line["utterance"], line["label"], line["predicted"]) for line in lines]
    assert np.array_equal(np.float32([[row[c] for c in "ab"] for row in cells]), np.float32(p))
    assert [(row["speaker"], row["dialog"]) for row in cells] == [(line["speaker"], line["dialog"] or "") for line in lines]
    groups = result["groups"]
    assert set(groups) == {"speaker"} and sorted(groups["speaker"]) == [f"s{i}" for i in range(5)]
    for name, group in groups["speaker"].items():
        mine = np.array([line["speaker"] == name for line in lines])
        labels, predicted = (np.array([line[column] for line in lines])[mine] for column in ("label", "predicted"))
        both = [(labels == c) & (predicted == c) for c in "ab"]
        sizes = [((labels == c).sum(), (predicted == c).sum()) for c in "ab"]
        recall = [right_of.sum() / there for right_of, (there, _) in zip(both, sizes) if there]
        f1 = [2 * right_of.sum() / max(there + said, 1) for right_of, (there, said) in zip(both, sizes)]
        assert group["utterances"] == mine.sum() and abs(group["accuracy"] - right[mine].mean()) < 1e-12
        assert abs(group["recall_mean"] - np.mean(recall)) < 1e-12
        assert abs(group["f1_macro"] - np.mean(f1)) < 1e-12
    # The same split, another accuracy: the same baselines in the training's result and in the test part's evaluation.
    trained = json.loads((tmp_path / "events").read_text().splitlines()[-1])["result"]
    tested = json.loads(affect("evaluate", "--model", tmp_path / "out/best.safetensors", "--dataset", tmp_path / "d", "--part", "test",
                               "--device", "cpu", "--events").splitlines()[-1])["result"]
    assert trained["baselines"] == tested["baselines"] and tested["intervals"]["bootstrap"]["speaker"]["groups"] == 2
    want = lda(tmp_path / "d", {"s1", "s0", "s2"}, {"s0", "s2"})
    assert tested["baselines"]["lda_statistics"]["accuracy"] == want
    assert result["baselines"]["lda_statistics"]["accuracy"] == lda(tmp_path / "d", {"s1", "s0", "s2"}, {f"s{i}" for i in range(5)})
    best = max(one["accuracy"] for one in tested["baselines"].values() if one)
    assert tested["beats_baselines"] == (tested["metrics"]["accuracy"] > best)
    wilson = binomtest(int(right.sum()), 24).proportion_ci(method="wilson")
    np.testing.assert_allclose(result["intervals"]["accuracy"], wilson, atol=1e-12)
    calibration = result["calibration"]
    np.testing.assert_allclose(calibration["nll"], -np.log(p[np.arange(24), true]).mean(), atol=1e-9)
    np.testing.assert_allclose(calibration["brier"], ((p - np.eye(2)[true]) ** 2).sum(1).mean(), atol=1e-9)
    assert sum(one["n"] for one in calibration["bins"]) == 24
    bootstrap = result["intervals"]["bootstrap"]
    assert bootstrap["dialog"] is None and bootstrap["speaker"]["groups"] == 5 and bootstrap["draws"] == 2000
    low, high = bootstrap["speaker"]["accuracy"]
    assert low <= right.mean() <= high

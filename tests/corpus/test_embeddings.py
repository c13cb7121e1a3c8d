"""Embeddings: arrays of the user's as a modality. What an import stores is what numpy reads; every way to be wrong has its
reason; training, evaluation and prediction see the same numbers.
"""
import json
import pathlib
import struct
import subprocess

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from embeddings import FEATURES, N, NETWORK, SIZE, corpus, sequence, vector
from test_readers import AFFECT, tone


def affect(*arguments, check=True):
    done = subprocess.run([AFFECT, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


def import_corpus(folder, root, features=FEATURES, check=True):
    done = affect("import", root, "--layout", "table", "--store", folder / "store", "-o", folder / "dataset",
                  "--features", json.dumps(features), check=check)
    manifest = folder / "dataset/dataset.json"
    return json.loads(manifest.read_text()) if manifest.exists() else done.stderr


def test_the_store_has_the_numbers(tmp_path):
    manifest = import_corpus(tmp_path, corpus(tmp_path / "c"))
    assert manifest["sizes"]["embedding"] == {"seq": {"frames": 4, "size": 3}, "vec": {"frames": 0, "size": SIZE}}
    assert manifest["report"]["streams"]["embedding:vec"] == N
    assert "2 arrays have more frames than the options: their ends are not used" in manifest["report"]["warnings"]
    [shard] = (tmp_path / "store").glob("*.safetensors")
    stored = load_file(shard)
    assert np.array_equal(stored["embedding:vec"], np.stack([vector(i) for i in range(N)]))
    offsets = stored["embedding:seq.offsets"]
    for i in range(N):
        assert np.array_equal(stored["embedding:seq"][offsets[i]:offsets[i + 1]], sequence(i)[:4])
    again = tmp_path / "again"
    other = import_corpus(again, corpus(tmp_path / "moved"))
    assert other["digest"] == manifest["digest"]


def test_the_order_of_names_makes_no_difference(tmp_path):
    turned = {"embedding": dict(reversed(FEATURES["embedding"].items())), "mel": FEATURES["mel"]}
    root = corpus(tmp_path / "c")
    assert import_corpus(tmp_path / "1", root)["digest"] == import_corpus(tmp_path / "2", root, turned)["digest"]


def test_float16_and_other_forms(tmp_path):
    def change(root):
        np.save(root / "0.npy", vector(0).astype("<f2"))
        np.save(root / "1.npy", vector(1)[None])
        save_file({"u2": vector(2).astype("<f2")}, root / "2.npy")
        with open(root / "3.npy", "wb") as out:
            np.lib.format.write_array(out, vector(3), version=(2, 0))
    import_corpus(tmp_path, corpus(tmp_path / "c", change))
    stored = load_file(next((tmp_path / "store").glob("*.safetensors")))["embedding:vec"]
    assert np.array_equal(stored[0], np.float32(vector(0).astype("<f2")))
    assert np.array_equal(stored[2], np.float32(vector(2).astype("<f2")))
    assert np.array_equal(stored[1], vector(1)) and np.array_equal(stored[3], vector(3))


def npy(header, data=b"", version=1):
    text = header.encode()
    size = struct.pack("<H" if version == 1 else "<I", len(text))
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


GOOD = "{'descr': '<f4', 'fortran_order': False, 'shape': (5,), }"


@pytest.mark.parametrize("content, reason", [
    (vector(0)[:4], "has the shape (4) (need (5))"),
    (np.stack([vector(0)] * 2), "has the shape (2, 5) (need (5))"),
    (vector(0).astype(">f4"), 'its numbers are ">f4"'),
    (vector(0).astype("<f8"), 'its numbers are "<f8"'),
    (vector(0).astype("<i4"), 'its numbers are "<i4"'),
    (np.asfortranarray(np.stack([vector(0)] * 5)), "Fortran"),
    (np.where(np.arange(5) == 3, np.nan, vector(0)), "number 3 is not finite"),
    (np.where(np.arange(5) == 1, np.inf, vector(0)), "number 1 is not finite"),
    (b"", "neither a .npy nor a safetensors file"),
    (b"RIFF and so on", "neither a .npy nor a safetensors file"),
    (b"\x93NUMPY\x01\x00", "a .npy file of 8 bytes"),
    (b"\x93NUMPY\x09\x00" + bytes(8), "version 9"),
    (npy(GOOD, bytes(19)), "19 bytes of numbers"),
    (npy(GOOD.replace("(5,)", "(99999999999999999,)"), bytes(20)), "damaged"),
    (npy(GOOD.replace("(5,)", "(-5,)"), bytes(20)), "damaged"),
    (npy(GOOD.replace("(5,)", "(999999999999,5,99999999)"), bytes(20)), "bytes of numbers"),
    (npy(GOOD.replace("'shape'", "'size'"), bytes(20)), "damaged"),
    (npy(GOOD + "x", bytes(20)), "damaged"),
    (npy("{", bytes(20)), "damaged"),
    ({"other": vector(0)}, 'no tensor "u0" in it'),
    ({"u0": np.arange(5)}, "not of F32 or F16"),
])
def test_arrays_that_cannot_be_read(tmp_path, content, reason):
    def change(root):
        path = root / "0.npy"
        path.unlink()
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, dict):
            save_file(content, path)
        else:
            np.save(path, content.astype("<f4") if content.dtype == np.float64 and "finite" in reason else content)
    manifest = import_corpus(tmp_path, corpus(tmp_path / "c", change))
    [dropped] = manifest["report"]["dropped"]
    assert dropped["utterance"] == "u0" and dropped["reason"].startswith("embedding:vec cannot be read: ")
    assert reason in dropped["reason"]
    assert len(manifest["utterances"]) == N - 1


def test_utterances_without_an_array(tmp_path):
    def change(root):
        text = (root / "table.csv").read_text().replace("0.npy", "").replace("1.npy", "gone.npy")
        (root / "table.csv").write_text(text)
        tensors = load_file(root / "all.safetensors")
        del tensors["u2"]
        save_file(tensors, root / "all.safetensors")
    report = import_corpus(tmp_path, corpus(tmp_path / "c", change))["report"]
    dropped = {row["utterance"]: row["reason"] for row in report["dropped"]}
    assert dropped == {"u0": "no embedding:vec", "u2": 'embedding:seq cannot be read: embedding:seq: no tensor "u2" in it'}
    assert any("no file gone.npy" in row["reason"] for row in report["rejected"])


@pytest.mark.parametrize("features, reason", [
    ({"embedding": {"vec": {"size": SIZE}}}, "do not name embedding:seq"),
    ({}, "do not name embedding:vec"),
    ({"embedding": {"vec": {}}}, "size: is missing"),
    ({"embedding": {"vec": {"size": 0}}}, "out of bounds"),
    ({"embedding": {"vec": {"size": 65537}}}, "out of bounds"),
    ({"embedding": {"vec": {"size": 65536, "frames": 8192}}}, "numbers an utterance"),
    ({"embedding": {"vec": {"dim": 5}}}, "unknown field"),
    ({"embedding": {"Vec": {"size": 5}}}, "a name is"),
    ({"embedding": {"": {"size": 5}}}, "a name is"),
    ({"embedding": {"a" * 25: {"size": 5}}}, "a name is"),
    ({"embedding": {"vec:x": {"size": 5}}}, "a name is"),
    ({"embedding": {f"e{i}": {"size": 5} for i in range(7)}}, "more than 8 features"),
    ({"embedding": [5]}, "need an object of names"),
    ({"embeddings": {}}, "known: preset, mel, motion, embedding"),
])
def test_options_that_are_wrong(tmp_path, features, reason):
    assert reason in import_corpus(tmp_path, corpus(tmp_path / "c"), features, check=False)


def test_training_evaluation_and_prediction_agree(tmp_path):
    """Two ragged inputs of different lengths and a vector; the network's own numbers are those of numpy below."""
    root = corpus(tmp_path / "c")
    import_corpus(tmp_path, root)
    spec = {"type": "train", "dataset": str(tmp_path / "dataset"), "output": str(tmp_path / "out"), "architecture": NETWORK,
            "model": "m", "training": {"epochs": 3, "batch_size": 2}, "device": "cpu", "threads": 2,
            "split": {"kind": "speakers", "validation": ["s1"], "test": ["s2"]}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    affect("train", "--spec", tmp_path / "spec.json")
    model = tmp_path / "out/best.safetensors"
    metadata = json.loads(affect("inspect", model, "--json").stdout)["metadata"]
    training = [int(name[1:]) for name in metadata["split"]["utterances"]["training"]]
    scaling = metadata["normalizer"]["embedding:vec"]
    known = np.stack([vector(i) for i in training]).astype("f8")
    np.testing.assert_allclose(scaling["mean"], known.mean(0), rtol=1e-6)
    np.testing.assert_allclose(scaling["deviation"], known.std(0), rtol=1e-6)
    frames = np.concatenate([sequence(i)[:4] for i in training]).astype("f8")
    np.testing.assert_allclose(metadata["normalizer"]["embedding:seq"]["mean"], frames.mean(0), rtol=1e-5)
    affect("evaluate", "--model", model, "--dataset", tmp_path / "dataset", "--part", "all", "--output", tmp_path / "evaluated", "--device", "cpu")
    lines = (tmp_path / "evaluated/predictions.jsonl").read_text().splitlines()
    evaluated = {row["utterance"]: row["probabilities"] for row in map(json.loads, lines)}
    assert len(evaluated) == N
    for i in range(N):
        np.save(tmp_path / "seq.npy", sequence(i))
        answer = json.loads(affect("predict", "--model", model, "--audio", root / f"{i}.wav", "--device", "cpu",
                                   "--embedding", f"vec={root / f'{i}.npy'}", "--embedding", f"seq={tmp_path / 'seq.npy'}").stdout)
        for label, p in answer["probabilities"].items():
            assert abs(p - evaluated[f"u{i}"][label]) < 1e-6
        assert answer["streams"]["embedding:vec"] == {"present": True, "rows": 1, "truncated": False}
        assert answer["streams"]["embedding:seq"]["truncated"] == (len(sequence(i)) > 4)


@pytest.mark.parametrize("flags, reason", [
    (["--embedding", "vec"], "is not NAME=FILE"),
    (["--embedding", "Vec=x.npy"], "is not NAME=FILE"),
    (["--embedding", "vec=a.npy", "--embedding", "vec=b.npy"], "given twice"),
])
def test_flags_that_are_wrong(flags, reason):
    done = affect("predict", "--model", "m", *flags, check=False)
    assert done.returncode == 2 and reason in done.stderr


def test_a_network_is_made_for_an_embedding(tmp_path):
    document = {"inputs": {"v": {"feature": "embedding:vec"}}, "branches": {"v": {"input": "v", "layers": [
        {"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]}},
        "fusion": {"branches": ["v"], "layers": [{"type": "activation", "name": "end", "activation": "softmax"}]}}
    document["branches"]["v"]["layers"][0].pop("activation")
    (tmp_path / "net.json").write_text(json.dumps(document))
    affect("inspect", "--init", tmp_path / "net.json", "--embedding", "vec=7", "-o", tmp_path / "m.safetensors")
    shown = json.loads(affect("inspect", tmp_path / "m.safetensors", "--json").stdout)
    assert shown["inputs"]["v"] == {"feature": "embedding:vec", "shape": [7]}
    missing = affect("inspect", "--init", tmp_path / "net.json", "-o", tmp_path / "n.safetensors", check=False)
    assert 'the data has no "embedding:vec" (it has mel, motion)' in missing.stderr
    for wrong in ("vec", "vec=", "vec=0", "vec=1x", "vec=x5", "vec=7x8x9", "Vec=3"):
        assert affect("inspect", "--init", tmp_path / "net.json", "--embedding", wrong, "-o", tmp_path / "n", check=False).returncode


def test_a_shared_file_is_read_once(tmp_path):
    """One safetensors file with the vectors of 300 utterances, in five shards."""
    root = tmp_path / "c"
    root.mkdir()
    n = 300
    for i in range(n):
        tone(root / f"{i}.wav", seconds=0.05)
    save_file({f"u{i}": vector(i) for i in range(n)}, root / "all.safetensors")
    (root / "t.csv").write_text("id,file,label,embedding:vec\n" + "".join(f"u{i},{i}.wav,{'ab'[i % 2]},all.safetensors\n" for i in range(n)))
    manifest = import_corpus(tmp_path, root, {"mel": {"clip_seconds": 1}, "embedding": {"vec": {"size": SIZE}}})
    assert len(manifest["utterances"]) == n and len(manifest["shards"]) == 5
    shards = [load_file(tmp_path / f"store/{key}.safetensors") for key in manifest["shards"]]
    for row in manifest["utterances"]:
        assert np.array_equal(shards[row["shard"]]["embedding:vec"][row["index"]], vector(int(row["id"][1:])))
    save_file({f"u{i}": vector(i) + (i == 7) for i in range(n)}, root / "all.safetensors")
    changed = import_corpus(tmp_path / "second", root, {"mel": {"clip_seconds": 1}, "embedding": {"vec": {"size": SIZE}}})
    assert not set(changed["shards"]) & set(manifest["shards"])
    assert pathlib.Path(tmp_path / "second/store").exists()

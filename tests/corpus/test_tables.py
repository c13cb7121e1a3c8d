"""A row and a file are all that a new modality, corpus reader or layer takes: toys are added to a copy of the tree as
README's recipes say, and the program that comes of it imports, trains and predicts with them.
"""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from test_readers import tone

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOYS = {"engine/modality/toy_modality.c": "toy_modality.c", "engine/corpus/toy_reader.c": "toy_reader.c", "engine/nn/twice.c": "toy_layer.c"}
MODALITY = """    {.name = "loudness",
     .size_names = {"levels", "channels"},
     .is_ragged = true,
     .is_normalised = true,
     .tensors = {"loudness.offsets", "loudness", "loudness.pad_value"},
     .streams = loudness_streams,
     .n_streams = 1,
     .extraction = EXTRACTION(affect_loudness_extraction)},
"""
# Each row, and the text of the table that it is put before.
ROWS = {
    "engine/modality/modality.c": [
        ("    {.name = \"motion\",", MODALITY),
        ("static const affect_modality modalities[]", 'static const affect_stream loudness_streams[] = {\n'
         '    {"loudness", "loudness", "file_loudness", "loudness", "three numbers"}};\n'
         'extern const struct affect_extraction affect_loudness_extraction;\n')],
    "engine/corpus/reader.c": [('    {"iemocap", ', '    {"toy", NULL, NULL, affect_corpus_no_options, affect_toy_select, affect_toy_open},\n'),
                               ("static const affect_corpus_reader readers[]", "affect_status affect_toy_open(affect_corpus *, affect_issues *, affect_tree *, const affect_json *, affect_error *);\n"
                                "bool affect_toy_select(const char *, char[AFFECT_PATH_MAX]);\n")],
    "engine/nn/layer_registry.h": [("ROW(conv1d)", "ROW(twice) ")],
}


@pytest.fixture(scope="module")
def affect(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    listed = subprocess.run(["git", "-C", ROOT, "-c", f"safe.directory={ROOT}", "ls-files", "-z", "CMakeLists.txt", "engine", "configs", "api", "server",
                             "tests"], capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    for name, toy in TOYS.items():
        shutil.copy(ROOT / "tests/toys" / toy, folder / name)
    for name, rows in ROWS.items():
        text = (folder / name).read_text()
        for place, row in rows:
            assert text.count(place) == 1, f"{name}: {place}"
            text = text.replace(place, row + place)
        (folder / name).write_text(text)
    for command in (["cmake", "-S", folder, "-B", folder / "build", "-DAFFECT_CUDA=OFF"],
                    ["cmake", "--build", folder / "build", "-j", str(os.cpu_count()), "--target", "affect-cli"]):
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]

    def run(*arguments):
        done = subprocess.run([folder / "build/bin/affect", *map(str, arguments)], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout
    return run


def test_toys_work(affect, tmp_path):
    root = tmp_path / "c"
    lines = []
    for i in range(8):
        tone(root / f"{i}.wav", hz=200 + 50 * i)
        (root / f"{i}.txt").write_text(f"{i} {2 * i} {-i}\n")
        lines.append(f"{i}.wav {i}.txt {'ab'[i % 2]}\n")
    (root / "list.toy").write_text("".join(lines))
    affect("import", root, "--layout", "toy", "--store", tmp_path / "store", "-o", tmp_path / "dataset",
           "--features", '{"mel": {"clip_seconds": 1}, "loudness": {"scale": 10}}')
    manifest = json.loads((tmp_path / "dataset/dataset.json").read_text())
    assert manifest["sizes"]["levels"] == 1 and manifest["sizes"]["channels"] == 3
    assert manifest["report"]["streams"]["loudness"] == 8 and manifest["features"]["loudness"] == {"scale": 10}
    network = {"inputs": {"x": {"feature": "loudness", "shape": ["$levels", "$channels"]}},
               "branches": {"x": {"input": "x", "layers": [{"type": "twice", "name": "twice"}, {"type": "flatten", "name": "flat"}]}},
               "fusion": {"branches": ["x"], "layers": [{"type": "dense", "name": "output", "units": "$classes", "activation": "softmax"}]}}
    spec = {"type": "train", "dataset": str(tmp_path / "dataset"), "output": str(tmp_path / "out"), "architecture": network, "model": "m",
            "training": {"epochs": 2, "batch_size": 2}, "device": "cpu", "threads": 1, "split": {"kind": "random", "validation": 0.25}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    affect("train", "--spec", tmp_path / "spec.json")
    model = json.loads(affect("inspect", tmp_path / "out/best.safetensors", "--json"))
    scaling = model["metadata"]["normalizer"]["loudness"]
    assert len(scaling["mean"]) == 3 and abs(scaling["mean"][1] - 2 * scaling["mean"][0]) < 1e-4
    answer = json.loads(affect("predict", "--model", tmp_path / "out/best.safetensors", "--loudness", root / "3.txt", "--device", "cpu"))
    assert answer["streams"] == {"loudness": {"present": True}} and set(answer["probabilities"]) == {"a", "b"}

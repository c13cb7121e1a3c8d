"""`affect` as a program: help, exit codes, and `affect inspect` in all its forms.

Needs a build: AFFECT_BUILD_DIR, or build/ at the root of the tree. Standard library only.
"""

import json
import os
import re
import struct
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
AFFECT = Path(os.environ.get("AFFECT_BUILD_DIR", ROOT / "build")) / "bin" / "affect"

pytestmark = pytest.mark.skipif(not AFFECT.exists(), reason=f"{AFFECT} is not built")


def affect(*arguments):
    return subprocess.run([AFFECT, *map(str, arguments)], capture_output=True, text=True, timeout=60)


def write_safetensors(path, tensors):
    """tensors: {name: (shape, list of numbers)}, float32."""
    header, data = {}, b""
    for name, (shape, numbers) in tensors.items():
        begin = len(data)
        data += struct.pack(f"<{len(numbers)}f", *numbers)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    raw = path.read_bytes()
    (size,) = struct.unpack_from("<Q", raw)
    header = json.loads(raw[8 : 8 + size])
    header.pop("__metadata__", None)
    data = raw[8 + size :]
    return {
        name: (row["shape"], struct.unpack(f"<{(row['data_offsets'][1] - row['data_offsets'][0]) // 4}f",
                                           data[slice(*row["data_offsets"])]))
        for name, row in header.items()
    }


def test_help_and_version():
    for arguments in (["--help"], ["inspect", "--help"]):
        done = affect(*arguments)
        assert done.returncode == 0 and "inspect" in done.stdout and done.stderr == ""
    assert affect("--version").stdout.startswith("affect ")


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        ([], 2, "usage:"),
        (["frobnicate"], 2, 'unknown command "frobnicate"'),
        (["inspect"], 2, "usage: affect inspect"),
        (["inspect", "--colour", "red"], 2, "unknown flag --colour"),
        (["inspect", "--colour=red"], 2, "unknown flag --colour"),
        (["inspect", "--seed", "many"], 2, '--seed: "many" is not an integer'),
        (["inspect", "--seed"], 2, "--seed: needs a value"),
        (["inspect", "--json=maybe"], 2, "not true or false"),
        (["inspect", "a", "b"], 2, 'unexpected argument "b"'),
        (["inspect", "/nonexistent.safetensors"], 1, "/nonexistent.safetensors"),
        (["inspect", "--init", "paper-worst", "-o", "/nonexistent/x"], 1, "no preset is called"),
        (["inspect", "--init", "paper-base"], 1, "needs --output"),
        (["inspect", "--init", "paper-base", "--devices"], 2, "need one of"),
        (["inspect", "model.safetensors", "--devices"], 2, "need one of"),
        (["inspect", "--predict", "x", "--devices"], 2, "--predict needs MODEL"),
        (["inspect", "--init", "audio-only", "--mels", "64", "-o", "/nonexistent/x"], 1, "audio.conv_5"),
    ],
)
def test_wrong_usage(arguments, code, message):
    done = affect(*arguments)
    assert done.returncode == code
    assert message in done.stderr and done.stdout == ""


def test_devices():
    done = affect("inspect", "--devices")
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()][0] == "cpu"


def test_initial_model(tmp_path):
    first, second, third = (tmp_path / f"{i}.safetensors" for i in range(3))
    for path, seed in ((first, 1), (second, 1), (third, 2)):
        assert affect("inspect", "--init", "paper-optimized", f"--seed={seed}", "--frames", 20, "-o", path).returncode == 0
    assert first.read_bytes() == second.read_bytes() != third.read_bytes()
    text = affect("inspect", first).stdout
    assert "1129572 parameters: 1128676 trainable, 896 moving statistics" in text
    assert "audio.bilstm_1" in text and "affect-model-1" in text
    shown = json.loads(affect("inspect", first, "--json").stdout)
    assert shown["trainable"] == 1128676 and shown["statistics"] == 896
    assert shown["metadata"]["sizes"]["frames"] == 20 and shown["metadata"]["training"]["seed"] == 1
    assert {"name": "audio.conv_1.kernel", "shape": [3, 1, 64], "trainable": True} in shown["tensors"]


def test_predict(tmp_path):
    model, inputs, outputs = tmp_path / "m.safetensors", tmp_path / "in.safetensors", tmp_path / "out.safetensors"
    assert affect("inspect", "--init", "paper-base", "--frames", 6, "-o", model).returncode == 0
    n = 19  # more than one batch
    audio = [((7 * i) % 1001) / 1000 for i in range(n * 6 * 128)]
    motion = [((11 * i) % 2003) / 1000 - 1 for i in range(n * 200 * 189)]
    write_safetensors(inputs, {"audio": ([n, 6, 128, 1], audio), "motion": ([n, 200, 189], motion)})
    done = affect("inspect", model, "--predict", inputs, "-o", outputs)
    assert done.returncode == 0, done.stderr
    shape, numbers = read_safetensors(outputs)["probabilities"]
    assert shape == [n, 4]
    for row in range(n):
        assert abs(sum(numbers[4 * row : 4 * row + 4]) - 1) < 1e-5
    assert len(set(numbers)) > n  # rows differ
    # One row alone gives what it gave among the others.
    write_safetensors(inputs, {"audio": ([1, 6, 128, 1], audio[-6 * 128 :]), "motion": ([1, 200, 189], motion[-200 * 189 :])})
    assert affect("inspect", model, "--predict", inputs, "-o", outputs).returncode == 0
    _, alone = read_safetensors(outputs)["probabilities"]
    assert max(abs(a - b) for a, b in zip(alone, numbers[-4:])) < 1e-5
    # A tensor of the wrong shape is named.
    write_safetensors(inputs, {"audio": ([1, 6, 127, 1], audio[: 6 * 127]), "motion": ([1, 200, 189], motion[: 200 * 189])})
    done = affect("inspect", model, "--predict", inputs, "-o", outputs)
    assert done.returncode == 1 and '"audio" is F32 (1, 6, 127, 1) (need F32 (1, 6, 128, 1))' in done.stderr


def test_truncated_model(tmp_path):
    model = tmp_path / "m.safetensors"
    assert affect("inspect", "--init", "motion-only", "-o", model).returncode == 0
    model.write_bytes(model.read_bytes()[:-100])
    done = affect("inspect", model)
    assert done.returncode == 1 and "m.safetensors" in done.stderr


# ---- broken values ----

COMMANDS = ("import", "train", "evaluate", "predict", "inspect")
BROKEN = ("", "-1", "-5", "1e3", "9223372036854775808", "99999999999", "nan", "inf", "x", "[]", "{bad", '{"a":1}', "null",
          "/dev/null", "/nonexistent", ".", "a" * 5000, "%s%n", "\N{SNOWMAN}")


def flags_of(command):
    """(name, placeholder or None) of every flag but those that serve a server."""
    rows = re.findall(r"^ .*--([\w-]+)(?: (\S+))?  ", affect(command, "--help").stdout, re.M)
    assert len(rows) >= 8
    return [(name, value) for name, value in rows if name not in ("supervised", "serve", "help")]


@pytest.mark.parametrize("command", COMMANDS)
def test_broken_values_get_a_sentence(command, tmp_path):
    """No value of any flag ends in a signal, a silent failure or a hang."""
    for name, _ in flags_of(command):
        for value in BROKEN:
            done = subprocess.run([AFFECT, command, f"--{name}={value}"], capture_output=True, cwd=tmp_path, timeout=60,
                                  stdin=subprocess.DEVNULL)
            assert done.returncode in (0, 1, 2), (name, value, done.stderr)
            assert done.returncode == 0 or done.stderr or b'"error"' in done.stdout, (name, value)


@pytest.mark.parametrize("command", COMMANDS)
def test_numbers_are_checked(command):
    numbers = [(name, kind) for name, kind in flags_of(command) if kind in ("N", "S", "SECONDS")]
    assert numbers
    for name, kind in numbers:
        for value in ("nan", "", "x", "1x", "inf") + (("-1", "1.5", "9223372036854775808") if kind == "N" else ()):
            done = affect(command, f"--{name}={value}")
            assert done.returncode == 2 and f"--{name}: " in done.stderr, (name, value, done.stderr)


@pytest.mark.parametrize("text, words", [
    ("[1]", "array (need an object)"), ("5", "number (need an object)"), ('"x"', "string (need an object)"),
    ("null", "null (need an object)"), ("true", "(need an object)"), ('{"a": ', "spec.json"), ("", "spec.json"),
    ("[" * 100000, "spec.json"), ('{"mystery": 1}', "unknown field"),
], ids=["array", "number", "string", "null", "bool", "cut", "empty", "deep", "unknown"])
@pytest.mark.parametrize("command", ["import", "train", "evaluate"])
def test_a_broken_specification(command, text, words, tmp_path):
    (tmp_path / "spec.json").write_text(text)
    flags = {"import": ["-o", tmp_path / "o"], "train": ["--epochs", "1"], "evaluate": ["--threads", "1"]}[command]
    done = affect(command, "--spec", tmp_path / "spec.json", *flags)
    assert done.returncode == 1 and words in done.stderr, done.stderr
    assert "Assertion" not in done.stderr

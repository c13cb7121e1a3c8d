"""The generator of demo corpora: structure, determinism, quirks, counts, text that reads back."""
import collections
import csv
import hashlib
import json
import pathlib
import re
import subprocess
import sys

import pytest

np = pytest.importorskip("numpy")
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import from_wavs
import motion
import tree
import voice

needs_espeak = pytest.mark.skipif(not voice.have_espeak(), reason="espeak-ng is not installed")
UTTERANCE = re.compile(r"^Ses0[1-5][FM]_(impro0[1-8][ab]?|script0[1-3]_[1-3]b?)_[FM]\d{3}$")
LABEL_LINE = re.compile(r"^\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(\S+)\t([a-z]{3})\t"
                        r"\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]$")
CLASSES = {"ang": "angry", "hap": "happy", "exc": "happy", "neu": "neutral", "sad": "sad"}
SIZE = ("--utterances", "48", "--speakers", "6", "--seed", "7", "--max-seconds", "2.5")


def make(out, *arguments):
    subprocess.run([sys.executable, str(HERE / "make_corpus.py"), str(out), *arguments], check=True)
    return out, json.loads((out / "expected.json").read_text())


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return make(tmp_path_factory.mktemp("plain") / "corpus", *SIZE)


@pytest.fixture(scope="module")
def quirky(tmp_path_factory):
    return make(tmp_path_factory.mktemp("quirky") / "corpus", *SIZE, "--quirks")


def digests(root):
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*")) if path.is_file()}


def label_lines(root):
    """{file: [(line number, text)]} of all lines of labels beginning with '['."""
    files = [path for path in sorted(root.glob("Session*/dialog/EmoEvaluation/*.txt"))
             if not path.name.startswith("._")]
    return {path: [(number, line) for number, line in
                   enumerate(path.read_text().split("\n"), 1)
                   if line.startswith("[")] for path in files}


def read_motion(path):
    """(rows, values) of a motion file by a reader of our own; rows that do not parse are left out."""
    rows = []
    for line in path.read_bytes().splitlines()[2:]:
        try:
            rows.append([float(token) for token in line.split()])
        except ValueError:
            continue
    width = collections.Counter(len(row) for row in rows).most_common(1)[0][0]
    return np.array([row for row in rows if len(row) == width])


def wav_samples(path):
    data = path.read_bytes()
    channels, rate = int.from_bytes(data[22:24], "little"), int.from_bytes(data[24:28], "little")
    return np.frombuffer(data, "<i2", offset=44).reshape(-1, channels), rate


@needs_espeak
def test_files_say_what_expected_json_says(plain):
    root, expected = plain
    found = []
    for path, lines in label_lines(root).items():
        for _, line in lines:
            start, end, name, label = LABEL_LINE.match(line).groups()
            assert UTTERANCE.match(name) and name.startswith(path.stem + "_")
            assert 0 <= float(start) < float(end)
            found.append((name, label))
    kept = [(name, CLASSES[label]) for name, label in found if label in CLASSES]
    assert len(found) == len(set(found)) == expected["rated"]
    assert len(kept) == expected["utterances"] == 48
    assert collections.Counter(label for _, label in kept) == expected["classes"]
    assert collections.Counter(name[:5] + name.split("_")[-1][0] for name, _ in kept) \
        == expected["speakers"]
    assert sum(name[5] == name.split("_")[-1][0] for name, _ in kept) \
        == expected["streams"]["own_motion"]
    assert {row["utterance"] for row in expected["dropped"]} \
        == {name for name, label in found if label not in CLASSES}
    assert expected["rejected"] == [] and len(expected["speakers"]) == 6


@needs_espeak
def test_every_stream_of_every_dialog(plain):
    root, expected = plain
    for dialog in sorted({turn["dialog"] for turn in expected["list"]}):
        turns = [turn for turn in expected["list"] if turn["dialog"] == dialog]
        folder = root / f"Session{int(dialog[3:5])}"
        for turn in turns:
            samples, rate = wav_samples(folder / f"sentences/wav/{dialog}/{turn['id']}.wav")
            assert rate == 16000 and samples.shape[1] == 1
            assert len(samples) / rate == pytest.approx(turn["end"] - turn["start"], abs=2e-4)
            assert 0.3 < len(samples) / rate <= 2.5 and np.abs(samples).max() > 1000
        samples, rate = wav_samples(folder / f"dialog/wav/{dialog}.wav")
        assert rate == 16000 and samples.shape[1] == 2
        for stream, columns in (("rotated", 165), ("head", 6), ("hand", 18)):
            rows = read_motion(folder / f"dialog/MOCAP_{stream}/{dialog}.txt")
            assert rows.shape[1] == 2 + columns
            assert np.array_equal(rows[:, 0], np.arange(1, len(rows) + 1))
            assert np.allclose(np.diff(rows[:, 1]), 1 / 119.88, atol=1.1e-5)
            if stream == "rotated":
                assert np.all(rows[:, 2 + 3 * motion.ORIGIN: 5 + 3 * motion.ORIGIN] == 0)
                for turn in turns:
                    inside = (rows[:, 1] >= turn["start"]) & (rows[:, 1] < turn["end"])
                    assert inside.sum() == turn["face_rows"] > 0
        transcripts = (folder / f"dialog/transcriptions/{dialog}.txt").read_text()
        assert all(f"{turn['id']} [" in transcripts for turn in turns)


@needs_espeak
def test_same_arguments_same_bytes(plain, tmp_path):
    if "1.52" in voice.espeak_version():
        pytest.skip("espeak-ng 1.52 does not repeat its own samples (en-us+f2 reads unset memory)")
    root, _ = plain
    again, _ = make(tmp_path / "again", *SIZE, "--jobs", "1")
    assert digests(root) == digests(again)
    other, _ = make(tmp_path / "other", *SIZE[:-3], "8", "--max-seconds", "2.5")
    assert digests(root) != digests(other)


@needs_espeak
def test_strengths_are_separate(tmp_path):
    """With one strength at 0 and the rest as they are, that cue and only that cue goes."""
    def spread(name, *arguments):
        root, expected = make(tmp_path / name, "--utterances", "60", "--speakers", "2",
                              "--max-seconds", "1", *arguments)
        means = []
        for dialog in sorted({turn["dialog"] for turn in expected["list"]}):
            rows = read_motion(root / f"Session1/dialog/MOCAP_rotated/{dialog}.txt")
            means.append((dialog[5], np.nanmean(rows[:, 2:], axis=0)))
        own = {letter: np.array([mean for wearer, mean in means if wearer == letter])
               for letter in "FM"}
        takes = np.mean([np.abs(values - values.mean(axis=0)).mean() for values in own.values()])
        return takes, np.abs(own["F"].mean(axis=0) - own["M"].mean(axis=0)).mean()

    takes_0, speakers_1 = spread("a", "--dialog-signature", "0")
    takes_1, _ = spread("b", "--dialog-signature", "1")
    _, speakers_0 = spread("c", "--speaker-strength", "0")
    assert takes_1 > 5 * takes_0
    assert speakers_1 > 5 * speakers_0


@needs_espeak
def test_sentence_layout(tmp_path):
    root, expected = make(tmp_path / "corpus", "--utterances", "8", "--speakers", "2",
                          "--max-seconds", "1.5", "--layout", "sentence")
    assert not list(root.glob("Session*/dialog/MOCAP_*")) and not list(root.glob("Session*/dialog/wav"))
    for turn in expected["list"]:
        path = root / f"Session1/sentences/MOCAP_head/{turn['dialog']}/{turn['id']}.txt"
        assert abs(len(read_motion(path)) - turn["face_rows"]) <= 1


@needs_espeak
def test_quirks(quirky):
    root, expected = quirky
    found = collections.defaultdict(list)
    for quirk in expected["quirks"]:
        assert (root / quirk["file"]).exists(), quirk
        found[quirk["name"]].append(quirk)
    assert set(found) >= {
        "apple_double", "ds_store", "crlf", "lf", "trailing_blank_lines", "no_last_newline",
        "motion_ends_early", "fewer_than_200_rows", "no_motion", "irregular_name",
        "transcript_without_id_and_xx_ids", "evaluation_sub_folder", "bad_labels",
        "bad_motion_rows", "longer_than_16_s", "stereo_dialog_wav", "overlapping_turns"}
    assert all(b"\r\n" in (root / quirk["file"]).read_bytes() for quirk in found["crlf"])
    assert all(not (root / quirk["file"]).read_bytes().endswith(b"\n")
               for quirk in found["no_last_newline"])
    assert all((root / quirk["file"]).read_bytes().startswith(b"\x00\x05\x16\x07")
               for quirk in found["apple_double"])
    dialog = pathlib.Path(found["no_motion"][0]["file"]).stem
    assert dialog == "Ses03M_script01_1b" and not list(root.glob(f"Session*/dialog/MOCAP*/{dialog}.txt"))
    assert list(root.glob("Session3/dialog/MOCAP_rotated/Ses03M_script01_1.txt"))
    early = pathlib.Path(found["motion_ends_early"][0]["file"]).stem
    assert [turn["face_rows"] for turn in expected["list"] if turn["dialog"] == early][-1] == 0
    assert sum(turn["face_rows"] == 0 for turn in expected["list"]) \
        == 1 + sum(turn["dialog"] == dialog for turn in expected["list"])


@needs_espeak
def test_quirks_rejected_lines(quirky):
    root, expected = quirky
    bad = {path: [number for number, line in lines if not LABEL_LINE.match(line)
                  or float(LABEL_LINE.match(line)[1]) >= float(LABEL_LINE.match(line)[2])]
           for path, lines in label_lines(root).items()}
    bad = {(str(path.relative_to(root)), number) for path in bad for number in bad[path]}
    labels = {(row["file"], row["line"]) for row in expected["rejected"]
              if "EmoEvaluation" in row["file"]}
    assert bad == labels and len(bad) == 3
    rows = [row for row in expected["rejected"] if "MOCAP_rotated" in row["file"]]
    lines = (root / rows[0]["file"]).read_bytes().splitlines()
    assert b"12.3x4" in lines[rows[0]["line"] - 1].split()
    assert len(lines[rows[1]["line"] - 1].split()) == 166
    good = sum(len(lines) for lines in label_lines(root).values()) - len(bad)
    assert good == expected["rated"]


def test_numbers_are_written_as_printf_does():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 90, 500), [0.0, -0.0, -0.5, -1e-7, 9998.99999, 1e-5,
                                                      -12.345675, 0.99999999, np.nan, -9998.5]])
    text = tree.format_rows(1, np.zeros(1), values[None, :]).decode()
    head, tokens = text.split(" ")[:2], text.rstrip("\n").split(" ")[2:]
    assert head == ["1", "0.00000"] and text.endswith("\n") and len(tokens) == len(values)
    for token, value in zip(tokens, values):
        if np.isnan(value):
            assert token == "NaN"
        else:
            assert re.fullmatch(r"-?\d+\.\d{5}", token) and abs(float(token) - value) <= 5.001e-6
    with pytest.raises(ValueError):
        tree.format_rows(1, np.zeros(1), np.array([[1e5]]))


def write_recordings(folder, speakers):
    """A few recordings and their table; returns the table's path."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    rows = []
    for name, gender in speakers.items():
        for number, label in enumerate(("happy", "sad", "neu", "angry", "fru")):
            file = f"{name}_{number}.wav"
            rate = 22050 if number % 2 else 44100
            samples = rng.integers(-2000, 2000, (rate, 1 + number % 2)).astype("<i2")
            (folder / file).write_bytes(tree.wav_bytes(samples, rate))
            rows.append({"file": f"somewhere/{file}", "label": label, "speaker": name,
                         "gender": gender})
    table = folder.parent / "labels.csv"
    with open(table, "w", newline="") as stream:
        writer = csv.DictWriter(stream, ["file", "label", "speaker", "gender"])
        writer.writeheader()
        writer.writerows(rows)
    return table


def test_from_wavs(tmp_path):
    table = write_recordings(tmp_path / "wavs", {"03": "male", "08": "female", "09": "female",
                                                 "11": "female"})
    out = tmp_path / "out"
    from_wavs.main([str(table), str(tmp_path / "wavs"), str(out)])
    speakers = json.loads((out / "speakers.json").read_text())
    assert {name: entry["speaker"] for name, entry in speakers.items()} \
        == {"08": "Ses01F", "09": "Ses02F", "03": "Ses01M", "11": "Ses02M"}
    files = json.loads((out / "files.json").read_text())
    assert len(files) == 20 and all(UTTERANCE.match(name) for name in files)
    labels = {}
    for lines in label_lines(out).values():
        for _, line in lines:
            start, end, name, label = LABEL_LINE.match(line).groups()
            labels[name] = label
            assert float(end) - float(start) == pytest.approx(1.0, abs=1e-4)
    names = ("hap", "sad", "neu", "ang", "fru")
    assert labels == {name: names[int(file[-5])] for name, file in files.items()}
    for name, file in files.items():
        dialog = name.rsplit("_", 1)[0]
        folder = out / f"Session{int(name[3:5])}"
        assert (folder / f"sentences/wav/{dialog}/{name}.wav").read_bytes() \
            == (tmp_path / "wavs" / file).read_bytes()
        assert read_motion(folder / f"dialog/MOCAP_rotated/{dialog}.txt").shape[1] == 167


def test_from_wavs_names_the_bad_line(tmp_path, capsys):
    table = write_recordings(tmp_path / "wavs", {"1": "male"})
    table.write_text(table.read_text().replace("sad", "joyless"))
    with pytest.raises(SystemExit):
        from_wavs.main([str(table), str(tmp_path / "wavs"), str(tmp_path / "out")])
    assert "line 3: label 'joyless' is unknown" in capsys.readouterr().err

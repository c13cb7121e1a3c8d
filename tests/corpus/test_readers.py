"""Corpora in the layouts that users have: folders, names by pattern, tables; good ones, and every way to be wrong.

Trees have the shape and the names of the published corpora with tones as recordings; what is asked is that labels,
speakers, windows and reasons are right. Features are the same code for every reader (test_import.py).
"""
import json
import os
import pathlib
import resource
import subprocess
import sys
import tarfile
import wave

import numpy as np
import pytest

AFFECT = os.environ.get("AFFECT_BINARY", str(pathlib.Path(__file__).resolve().parents[2] / "build/bin/affect"))
RATE = 16000


def tone(path, seconds=0.3, hz=440, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = (8000 * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype("<i2")
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(samples.tobytes())


def tree(root, names):
    for i, name in enumerate(names):
        tone(root / name, hz=200 + 50 * i)
    return root


class Imported:
    def __init__(self, folder, source, layout, options=None, labels=None, check=True):
        self.folder = folder
        arguments = [AFFECT, "import", source, "--layout", layout, "--store", folder / "store", "-o", folder / "dataset",
                     "--features", '{"mel": {"clip_seconds": 1}}']
        arguments += ["--options", json.dumps(options)] if options is not None else []
        arguments += ["--labels", json.dumps(labels)] if labels is not None else []
        self.run = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
        if check:
            assert self.run.returncode == 0, self.run.stderr
            self.manifest = json.loads((folder / "dataset/dataset.json").read_text())
            self.rows = {row["id"]: row for row in self.manifest["utterances"]}
            self.report = self.manifest["report"]

    def facts(self, *names):
        return {key: tuple(row.get(n) for n in names) for key, row in self.rows.items()}


@pytest.fixture
def importing(tmp_path):
    def run(source, layout, options=None, labels=None, check=True):
        folder = tmp_path / f"import{len(list(tmp_path.glob('import*')))}"
        folder.mkdir()
        return Imported(folder, source, layout, options, labels, check)
    return run


# ---- folders ----

def test_labels_from_folders(importing, tmp_path):
    done = importing(tree(tmp_path / "c", ["angry/a.wav", "angry/b.wav", "sehr fröhlich/a.wav"]), "folders")
    assert done.facts("raw_label", "label", "speaker") == {
        "angry/a": ("angry", "angry", None), "angry/b": ("angry", "angry", None),
        "sehr fröhlich/a": ("sehr fröhlich", "sehr fröhlich", None)}
    assert done.manifest["classes"] == ["angry", "sehr fröhlich"] and done.report["speakers"] == {}
    assert any("name no speaker" in text for text in done.report["warnings"])
    assert done.report["dialogs"] == done.report["scripted"] == done.report["improvised"] == 0


def test_speakers_from_folders(importing, tmp_path):
    names = ["anna/angry/1.wav", "anna/sad/1.wav", "ben/angry/1.wav", "ben/sad/1.flac.wav"]
    done = importing(tree(tmp_path / "c", names), "folders", {"folders": "speaker/label"},
                     {"negative": ["angry", "sad"]})
    assert done.facts("raw_label", "label", "speaker")["ben/sad/1.flac"] == ("sad", "negative", "ben")
    assert done.report["speakers"] == {"anna": 2, "ben": 2}


def test_one_folder_around_all(importing, tmp_path):
    done = importing(tree(tmp_path / "c", ["release/angry/1.wav", "release/sad/1.wav"]), "folders")
    assert set(done.rows) == {"angry/1", "sad/1"}


@pytest.mark.parametrize("names, options, reason", [
    (["a/1.wav", "b/c/2.wav"], None, "not equally deep"),
    (["1.wav", "2.wav"], None, "0 folders above"),
    (["a/b/c/1.wav", "a/b/d/1.wav", "e/b/d/1.wav"], None, "3 folders above"),
    (["a/1.txt", "b/2.doc"], None, "no sound file"),
    (["a/1.wav", "b/1.wav"], {"pattern": "nonesuch"}, "known: crema-d, emodb"),
    (["a/1.wav", "b/1.wav"], {"pattern": {"expression": "("}}, "expression is wrong at byte 1"),
    (["a/1.wav", "b/1.wav"], {"pattern": {"words": {}}}, "expression"),
    (["a/1.wav", "b/1.wav"], {"pattern": {"expression": "x" * 1001}}, "expression"),
    (["a/1.wav", "b/1.wav"], {"pattern": {"expression": "(?<label>.)", "words": {"label": ["a"]}}}, "words"),
    (["a/1.wav", "b/1.wav"], {"pattern": "savee", "folders": "label"}, "does not go with a pattern"),
    (["a/1.wav", "b/1.wav"], {"folder": "label"}, "unknown"),
    (["a/1.wav", "b/1.wav"], {"pattern": "savee"}, "does not match the pattern"),
    (["a/" + "a" * 60 + ".wav", "b/1.wav"], {"pattern": {"expression": "^(?<label>(a+)+)$"}}, "cannot be matched"),
])
def test_folders_that_cannot_be_read(importing, tmp_path, names, options, reason):
    done = importing(tree(tmp_path / "c", names), "folders", options, check=False)
    assert done.run.returncode == 1 and reason in done.run.stderr


def test_what_is_odd_in_a_folder_is_named(importing, tmp_path):
    root = tree(tmp_path / "c", ["a/1.wav", "b/1.wav", "z" * 65 + "/1.wav"])
    (root / "a/damaged.wav").write_bytes(b"RIFF")
    (root / "a/notes.txt").write_text("not sound")
    (root / "a/.hidden.wav").write_bytes(b"")
    os.symlink("/etc/passwd", root / "a/link.wav")
    os.mkfifo(root / "a/pipe.wav")
    os.mkdir(os.fsencode(root) + b"/a\xff")
    (pathlib.Path(os.fsdecode(os.fsencode(root) + b"/a\xff")) / "1.wav").write_bytes(b"")
    done = importing(root, "folders")
    assert set(done.rows) == {"a/1", "b/1"}
    assert [row["reason"][:20] for row in done.report["dropped"]] == ["audio cannot be read"]
    reasons = " | ".join(row["reason"] for row in done.report["rejected"])
    assert "longer than 64 bytes" in reasons and "no plain UTF-8" in reasons and "leads out" in reasons


# ---- names by pattern ----

CORPORA = {
    "ravdess": ({"Actor_12/03-01-05-01-02-01-12.wav": ("angry", "12"), "Actor_01/03-01-08-02-01-01-01.wav": ("surprised", "01")},
                ["Actor_01/03-01-09-02-01-01-01.wav", "Actor_01/notes.wav"]),
    "crema-d": ({"1001_DFA_ANG_XX.wav": ("angry", "1001"), "1091_IEO_NEU_LO.wav": ("neutral", "1091"),
                 "1076_MTI_SAD_X.wav": ("sad", "1076")}, ["1001_DFA_JOY_XX.wav"]),
    "emodb": ({"03a01Fa.wav": ("happy", "03"), "16b10Wb.wav": ("angry", "16"), "08a02Ab.wav": ("fearful", "08")}, ["03a01Xa.wav"]),
    "tess": ({"OAF_back_angry.wav": ("angry", "OAF"), "YAF_youth_ps.wav": ("surprised", "YAF"), "OA_bite_neutral.wav": ("neutral", "OAF")},
             ["OAF_back_bored.wav"]),
    "savee": ({"DC_a01.wav": ("angry", "DC"), "JK_sa03.wav": ("sad", "JK"), "KL/su09.wav": ("surprised", "KL")}, ["XX_a01.wav"]),
    "subesco": ({"F_02_MONIKA_S_5_ANGRY_3.wav": ("angry", "MONIKA"), "M_11_RASEL_S_1_SURPRISE_1.wav": ("surprised", "RASEL")},
                ["F_02_MONIKA_S_5_BORED_3.wav"]),
}


@pytest.mark.parametrize("name", CORPORA)
def test_published_corpora(importing, tmp_path, name):
    good, bad = CORPORA[name]
    done = importing(tree(tmp_path / "c", [*good, *bad]), "folders", {"pattern": name})
    assert done.facts("label", "speaker") == {path[:-4]: facts for path, facts in good.items()}
    assert done.report["n_rejected"] == len(bad)
    for path, row in zip(sorted(bad), done.report["rejected"]):
        assert path == row["file"]


def test_folders_in_a_circle_and_too_deep(importing, tmp_path):
    """Links to folders are named, not followed: eight to the top are 8^12 walks."""
    root = tree(tmp_path / "c", ["a/1.wav", "b/2.wav", "/".join(f"d{i}" for i in range(14)) + "/3.wav"])
    for i in range(8):
        os.symlink("..", root / f"a/up{i}")
    done = importing(root, "folders", {"folders": "label"})
    assert set(done.rows) == {"a/1", "b/2"}
    reasons = {row["file"]: row["reason"] for row in done.report["rejected"]}
    assert set(reasons) == {f"a/up{i}" for i in range(8)} | {"/".join(f"d{i}" for i in range(13))}
    assert all("not followed" in reasons[f"a/up{i}"] for i in range(8)) and "below 12 folders" in [*reasons.values()][-1]


def test_sounds_that_are_too_large(importing, tmp_path):
    root = table(tmp_path / "c", "file,label\na/1.wav,x\nb/2.wav,y\nb/huge.wav,y\n", sounds=["a/1.wav", "b/2.wav"])
    with open(root / "b/huge.wav", "wb") as out:
        out.truncate(3 << 30)
    for layout in ("folders", "table"):
        done = importing(root, layout)
        assert set(done.rows) == {"a/1", "b/2"}
        assert [row["reason"] for row in done.report["rejected"]] == ["b/huge.wav: 3221225472 bytes (at most 2147483648)"], layout


def test_two_sounds_of_one_name(importing, tmp_path):
    done = importing(tree(tmp_path / "c", ["a/1.WAV", "a/1.wav", "b/2.wav"]), "folders")
    assert set(done.rows) == {"a/1", "b/2"} and len(done.report["rejected"]) == 1
    row = done.report["rejected"][0]
    assert row["file"] in ("a/1.wav", "a/1.WAV") and row["reason"] == 'the id "a/1" came before'


def test_a_pattern_of_the_users(importing, tmp_path):
    root = tree(tmp_path / "c", ["s1/joy/x-01.wav", "s2/rage/x-02.wav"])
    done = importing(root, "folders", {"pattern": {"expression": r"^(?<session>s\d)/(?<label>\w+)/(?<scenario>.)-(?<take>\d+)",
                                                    "on": "path", "words": {"label": {"joy": "happy", "rage": "angry"}}}})
    assert done.facts("label", "session", "scenario", "columns") == {
        "s1/joy/x-01": ("happy", "s1", "x", {"take": "01"}), "s2/rage/x-02": ("angry", "s2", "x", {"take": "02"})}


# ---- tables ----

def table(root, text, name="labels.csv", sounds=("1.wav", "2.wav", "3.wav")):
    tree(root, sounds)
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def test_a_table(importing, tmp_path):
    text = ("\ufefffile,Label,SPEAKER,gender,session,dialog,scenario,text,valence,arousal,dominance,votes,mood\r\n"
            '1.wav,=angry,anna,f,s1,d1,quarrel,"She said ""no"", and\r\nleft",1,5,4.5,angry;angry;sad,x\r\n'
            "2.wav,=angry,ben,m,s1,d1,quarrel,,,,,,\r\n\r\n"
            "3.wav,sad,anna,f,s2,,,Oh,,,,,\r\n")
    done = importing(table(tmp_path / "c", text), "table")
    row = done.rows["1"]
    assert (row["label"], row["speaker"], row["session"], row["dialog"], row["scenario"]) == ("=angry", "anna", "s1", "d1", "quarrel")
    assert row["transcript"] == 'She said "no", and  left'
    assert (row["valence"], row["activation"], row["dominance"]) == (1, 5, 4.5)
    assert [vote["labels"] for vote in row["votes"]] == [["angry"], ["angry"], ["sad"]]
    assert row["columns"] == {"gender": "f", "mood": "x"}
    assert done.facts("session", "dialog", "speaker")["3"] == ("s2", None, "anna")
    assert done.report["dialogs"] == 1 and done.report["sessions"] == {"s1": 2, "s2": 1}


def test_windows_of_one_recording(importing, tmp_path):
    root = tmp_path / "c"
    root.mkdir()
    tone(root / "long.wav", seconds=5)
    (root / "t.tsv").write_text("file\tlabel\tstart\tend\nlong.wav\ta\t0\t0.5\nlong.wav\tb\t0.5\t1.25\nlong.wav\ta\t4.9\t9\n")
    done = importing(root, "table")
    seconds = {key: round(row["quality"]["audio"]["seconds"], 2) for key, row in done.rows.items()}
    assert seconds == {"long#0.000": 0.5, "long#0.500": 0.75, "long#4.900": 0.1}
    alone = tmp_path / "alone"
    alone.mkdir()
    tone(alone / "x/a.wav", seconds=0.5)
    whole = importing(alone, "folders", {"folders": "label"})
    assert whole.rows["x/a"]["quality"]["audio"]["seconds"] == 0.5


def test_columns_by_name_and_template(importing, tmp_path):
    text = "Clip,Emotion,Who\n1,A,anna\n2,S,Unknown\n3,Q,ben\n"
    root = table(tmp_path / "c", text, "lists/train.csv", ("lists/wav/1.wav", "lists/wav/2.wav", "lists/wav/3.wav"))
    options = {"file": "lists/train.csv", "audio": "wav", "columns": {"file": "{Clip}.wav", "label": "Emotion", "speaker": "Who"},
               "words": {"label": {"A": "angry", "S": "sad"}}, "unknown": {"speaker": "Unknown"}}
    done = importing(root, "table", options)
    assert done.facts("label", "speaker") == {"lists/wav/1": ("angry", "anna"), "lists/wav/2": ("sad", None)}
    assert done.report["rejected"] == [{"file": "lists/train.csv", "line": 4, "reason": 'label "Q" is not among the words'}]


def test_meld(importing, tmp_path):
    text = ("Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
            '1,"Hey, you",Chandler,neutral,neutral,0,0,8,21,"00:16:16,059","00:16:21,731"\n'
            "2,Right,Joey,joy,positive,0,1,8,21,x,y\n3,No,Joey,joy,positive,1,0,8,21,x,y\n")
    root = table(tmp_path / "c", text, sounds=("dia0_utt0.wav", "dia0_utt1.wav"))
    done = importing(root, "table", {"columns": "meld"})
    assert done.facts("label", "speaker", "dialog", "transcript") == {
        "dia0_utt0": ("neutral", "Chandler", "dia0", "Hey, you"), "dia0_utt1": ("joy", "Joey", "dia0", "Right")}
    assert done.rows["dia0_utt0"]["columns"]["StartTime"] == "00:16:16,059"
    assert done.report["rejected"] == [{"file": "labels.csv", "line": 4, "reason": "no file dia1_utt0.wav"}]


def test_msp_podcast(importing, tmp_path):
    text = ("FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set\n"
            "MSP-PODCAST_0001_0008.wav,N,4.6,4.2,4.8,127,Female,Test1\nMSP-PODCAST_0001_0019.wav,X,5,4,3,Unknown,Male,Train\n")
    root = table(tmp_path / "c", text, sounds=("Audios/MSP-PODCAST_0001_0008.wav", "Audios/MSP-PODCAST_0001_0019.wav"))
    done = importing(root, "table", {"columns": "msp-podcast", "audio": "Audios"}, {"neutral": ["neutral"], "none": ["no agreement"]})
    first, second = done.rows["Audios/MSP-PODCAST_0001_0008"], done.rows["Audios/MSP-PODCAST_0001_0019"]
    assert (first["label"], first["speaker"], first["activation"], first["columns"]) == (
        "neutral", "127", 4.6, {"gender": "Female", "split": "Test1"})
    assert second["label"] == "none" and "speaker" not in second


def test_emobox_and_json_lines(importing, tmp_path):
    lines = [{"key": "emovdb-1", "dataset": "emovdb", "wav": "./d/1.wav", "sample_rate": 16000, "length": 0.3, "task": "ser",
              "emo": "Angry", "channel": 1}, {"key": "emovdb-2", "wav": "d/2.wav", "emo": "Sad", "extra": {"a": 1}}]
    text = "\n".join(json.dumps(line) for line in lines) + "\n{\"key\": \n[]\n\n"
    done = importing(table(tmp_path / "c", text, "m.jsonl", ("d/1.wav", "d/2.wav")), "table", {"columns": "emobox"})
    assert done.facts("raw_label") == {"emovdb-1": ("Angry",), "emovdb-2": ("Sad",)}
    assert done.rows["emovdb-1"]["columns"] == {"dataset": "emovdb", "sample_rate": "16000", "length": "0.3", "task": "ser",
                                                 "channel": "1"}
    assert [row["line"] for row in done.report["rejected"]] == [3, 4]


def test_label_maps(importing, tmp_path):
    """EmoBox names its labels in a file beside the table; a label of its own stands for itself."""
    lines = "".join(json.dumps({"key": f"k{i}", "wav": f"d/{i}.wav", "emo": emo}) + "\n"
                    for i, emo in enumerate(("anger", "Sad", "bored", "sad"), 1))
    sounds = [f"d/{i}.wav" for i in range(1, 5)]
    root = table(tmp_path / "c", lines, "m.jsonl", sounds)
    (root / "label_map.json").write_text('{"anger": "Angry", "sad": "Sad"}')
    done = importing(root, "table", {"columns": "emobox"})
    assert done.facts("raw_label") == {"k1": ("Angry",), "k2": ("Sad",), "k4": ("Sad",)}
    assert ['label "bored" is not among the words' in row["reason"] for row in done.report["rejected"]] == [True]
    own = importing(root, "table", {"columns": "emobox", "words": {"label": {"anger": "x", "Sad": "y"}}})
    assert own.facts("raw_label") == {"k1": ("x",), "k2": ("y",)}
    for content, reason in (("[1]", "is not an object"), ('{"a": 1}', "is not text"), ("{", "label_map.json")):
        (root / "label_map.json").write_text(content)
        assert reason in importing(root, "table", {"columns": "emobox"}, check=False).run.stderr
    (root / "label_map.json").unlink()
    assert len(importing(root, "table", {"columns": "emobox"}).rows) == 4
    missing = importing(root, "table", {"columns": "emobox", "label_map": "labels.json"}, check=False)
    assert "labels.json" in missing.run.stderr


@pytest.mark.parametrize("row, reason", [
    ("3.wav,", "no label"),
    ("absent.wav,a", "no file absent.wav"),
    ("../c/1.wav,a", "no file ../c/1.wav"),
    ("/etc/passwd,a", "no file /etc/passwd"),
    (",a", "no file is named"),
    ('3.wav,a,b', "3 cells (the header has 2)"),
    ('3.wav,"a', "a quote that does not end"),
    ('3.wav,"a"b', "text behind a closing quote"),
    ('3.wav,a"b', "a quote within a cell"),
    ("3.wav," + "x" * 65, "label is longer than 64 bytes"),
    (b"3.wav,\xff", "not UTF-8"),
    (b"3.wav,a\x01", "control characters"),
    (b"3.wav,a\x00b", "a NUL byte"),
    (b"3.wav,a\xc2\x92", "control characters"),
    ("2.wav,a", 'the id "2" came before'),
    ("3.wav," + "," * 600, "over 512 cells"),
])
def test_rows_that_are_left_out(importing, tmp_path, row, reason):
    row = row if isinstance(row, bytes) else row.encode()
    done = importing(table(tmp_path / "c", b"file,label\n1.wav,a\n2.wav,b\n" + row + b"\n"), "table")
    assert set(done.rows) == {"1", "2"}
    assert [(r["line"], reason in r["reason"]) for r in done.report["rejected"]] == [(4, True)], done.report["rejected"]


@pytest.mark.parametrize("votes", [b"a;\xff\xfe", b"a\x01;b", b"a;" + b"x" * 65, b"a;" * 1001])
def test_votes_that_are_none(importing, tmp_path, votes):
    done = importing(table(tmp_path / "c", b"file,label,votes\n1.wav,a,a;;b\n2.wav,b,\n3.wav,a," + votes + b"\n"), "table")
    assert done.rows["1"]["votes"] == [{"by": "1", "labels": ["a"]}, {"by": "3", "labels": ["b"]}]
    assert set(done.rows) == {"1", "2"} and done.report["rejected"][0]["reason"].startswith("votes are over 1000")


@pytest.mark.parametrize("name", ["", "\x01", "a\x92"])
def test_members_without_a_name(importing, tmp_path, name):
    lines = [{"file": "1.wav", "label": "a"}, {"file": "2.wav", "label": "b"}, {"file": "3.wav", "label": "a", name: "x"}]
    done = importing(table(tmp_path / "c", "\n".join(map(json.dumps, lines)), "t.jsonl"), "table")
    assert set(done.rows) == {"1", "2"}
    assert done.report["rejected"] == [{"file": "t.jsonl", "line": 3, "reason": "member 3 has no name"}]


def test_quotes_that_never_end_take_linear_time(importing, tmp_path):
    """Each of these lines, read as a row's first, opens a quote that none of the others ends: 200 000 scans of a megabyte."""
    lines, before = 200_000, resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = importing(table(tmp_path / "c", "file,label\n1.wav,a\n2.wav,b\n" + 'x","\n' * lines + "3.wav,a\n"), "table")
    assert set(done.rows) == {"1", "2", "3"} and done.report["n_rejected"] == lines
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    assert seconds < 20, "50 s when each is scanned to the end"


def test_windows_text_in_transcripts(importing, tmp_path):
    """MELD's tables hold the quotes of Windows-1252 as control characters; U+0081 was none there either."""
    done = importing(table(tmp_path / "c", "file,label,text\n1.wav,a,it\x92s \x96 é\n2.wav,b,\x93so\x94\n3.wav,a,a\x81b\n"), "table")
    assert {key: row["transcript"] for key, row in done.rows.items()} == {"1": "it’s – é", "2": "“so”"}
    assert "text is longer" in done.report["rejected"][0]["reason"]


def test_videos_are_told_from_missing_files(importing, tmp_path):
    root = table(tmp_path / "c", "file,label\n1.wav,a\n2.wav,b\nv.wav,b\n")
    (root / "v.mp4").write_bytes(b"")
    reason = importing(root, "table").report["rejected"][0]["reason"]
    assert reason == 'no file v.wav, but its video: for f in ./*.mp4; do ffmpeg -i "$f" -vn -ac 1 "${f%.mp4}.wav"; done'


@pytest.mark.parametrize("cells, reason", [
    ("x,1.2.3,2", "start"), ("x,1,-2", "end"), ("x,nan,2", "start"), ("x,2,1", "end is not after"), ("x,1e9,2e9", "start")])
def test_windows_that_are_none(importing, tmp_path, cells, reason):
    done = importing(table(tmp_path / "c", f"file,label,start,end\n1.wav,a,0,0.2\n2.wav,b,0.1,0.2\n3.wav,{cells}\n"), "table")
    assert len(done.rows) == 2 and reason in done.report["rejected"][0]["reason"]


@pytest.mark.parametrize("text, options, reason", [
    ("", None, "is empty"),
    ("file,label\n", None, "no utterance is left"),
    ("file;label\n1.wav;a\n", None, 'its separator is ";"'),
    ("file,label\n1.wav,a\n".encode("utf-16"), None, "is UTF-16 (need UTF-8)"),
    ("file,emotion\n1.wav,a\n", None, 'no column "label"'),
    ("file,,label\n1.wav,x,a\n", None, "has no name"),
    ('"file,label\n1.wav,a\n', None, "a quote that does not end"),
    ("file,label\n1.wav,a\n", {"columns": {"label": "Emotion"}}, 'no column for label ("Emotion")'),
    ("file,label\n1.wav,a\n", {"columns": {"file": "{Clip}.wav"}}, "no column for file"),
    ("file,label\n1.wav,a\n", {"columns": "nonesuch"}, "known: emobox, meld, msp-podcast"),
    ("file,label\n1.wav,a\n", {"columns": {"label": 7}}, "is not text"),
    ("file,label\n1.wav,a\n", {"file": "other.csv"}, "other.csv"),
    ("file,label\n1.wav,a\n", {"file": "../c/labels.csv"}, "../c/labels.csv"),
    ("file,label\n1.wav,a\n", {"words": 7}, "words"),
])
def test_tables_that_cannot_be_read(importing, tmp_path, text, options, reason):
    done = importing(table(tmp_path / "c", text), "table", options, check=False)
    assert done.run.returncode == 1 and reason in done.run.stderr, done.run.stderr


def test_two_tables_and_none(importing, tmp_path):
    root = table(tmp_path / "c", "file,label\n1.wav,a\n")
    (root / "more.tsv").write_text("file\tlabel\n")
    assert "name one" in importing(root, "table", check=False).run.stderr
    assert "no .csv" in importing(tree(tmp_path / "d", ["a/1.wav", "b/1.wav"]), "table", check=False).run.stderr


def test_too_many_labels(importing, tmp_path):
    root = tree(tmp_path / "c", [f"l{i:02}/1.wav" for i in range(65)])
    assert "over 64 labels" in importing(root, "folders", check=False).run.stderr
    done = importing(root, "folders", None, {"some": ["l01", "l02"]})
    assert len(done.rows) == 2 and done.report["n_dropped"] == 63


def test_archives(importing, tmp_path):
    root = tree(tmp_path / "corpus", ["angry/a.wav", "sad/a.wav"])
    (root / "sad/readme.pdf").write_text("not read")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as out:
        out.add(root, "corpus")
    assert set(importing(tmp_path / "c.tar.gz", "folders").rows) == {"angry/a", "sad/a"}
    table(root, "file,label\nangry/a.wav,x\nsad/a.wav,y\n", sounds=())
    with tarfile.open(tmp_path / "t.tar", "w") as out:
        out.add(root, "corpus")
    assert importing(tmp_path / "t.tar", "table").facts("label") == {"angry/a": ("x",), "sad/a": ("y",)}


def test_a_table_beside_its_sounds_in_one_folder(importing, tmp_path):
    """As `tar czf corpus.tar.gz corpus` packs them: the one folder is no label."""
    table(tmp_path / "c/corpus", "file,label\n1.wav,a\n2.wav,b\n")
    assert len(importing(tmp_path / "c", "table").rows) == 2


def test_the_same_corpus_in_two_layouts(importing, tmp_path):
    """The same recordings by folders and by a table give the same features, and train."""
    names = [f"{who}/{label}/{i}.wav" for who in ("anna", "ben") for label in ("angry", "sad") for i in range(4)]
    root = tree(tmp_path / "c", names)
    folders = importing(root, "folders")
    rows = "".join(f"{name},{name.split('/')[1]},{name.split('/')[0]}\n" for name in names)
    (root / "t.csv").write_text("file,label,speaker\n" + rows)
    listed = importing(root, "table")
    assert folders.facts("label", "speaker", "quality") == listed.facts("label", "speaker", "quality")
    assert folders.manifest["shards"] == listed.manifest["shards"], "addressed by content"
    trained = subprocess.run([AFFECT, "train", "-d", folders.folder / "dataset", "-o", tmp_path / "model", "--architecture",
                                  "audio-only", "--epochs", "1", "--split",
                                  '{"kind": "speakers", "validation": ["ben"]}'], capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr


def test_no_speakers_no_split_by_speaker(importing, tmp_path):
    done = importing(tree(tmp_path / "c", [f"{c}/{i}.wav" for c in "ab" for i in range(4)]), "folders")
    run = subprocess.run([AFFECT, "train", "-d", done.folder / "dataset", "-o", tmp_path / "model", "--architecture", "audio-only",
                          "--epochs", "1", "--split", '{"kind": "speakers", "validation": ["ben"]}'], capture_output=True, text=True)
    assert run.returncode == 1 and "the corpus names no speaker for 8 of its 8 utterances" in run.stderr


def test_many_clips_killed_and_resumed(tmp_path):
    """The short form of tests/bench/large_corpus.py: what a killed import made is not made again."""
    bench = pathlib.Path(__file__).resolve().parents[1] / "bench/large_corpus.py"
    done = subprocess.run([sys.executable, bench, AFFECT, "--clips", "4000", "--folder", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0 and "4000 utterances" in done.stdout, done.stdout + done.stderr

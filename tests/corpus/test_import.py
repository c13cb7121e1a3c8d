"""`affect import` from outside: a whole generated corpus against what its generator expects, second
imports, archives and attacks on them, damaged files, a full disk, cancelling.

AFFECT_BINARY names the program (default build/bin/affect). What a machine lacks (espeak-ng, zstd,
root for a small tmpfs) is skipped by name.
"""
import gzip
import io
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

np = pytest.importorskip("numpy")

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import small_tree  # noqa: E402
from small_tree import SmallTree  # noqa: E402

AFFECT = os.environ.get("AFFECT_BINARY", str(HERE.parents[1] / "build/bin/affect"))
pytestmark = pytest.mark.skipif(not os.path.exists(AFFECT), reason=f"no program {AFFECT}")


class Run:
    """One import: its exit code, its events, its last line, its dataset."""

    def __init__(self, source, folder, *arguments, store=None, stdin=None):
        self.output = pathlib.Path(folder) / "dataset"
        self.store = pathlib.Path(store or pathlib.Path(folder) / "store")
        done = subprocess.run([AFFECT, "import", str(source), "--store", str(self.store), "-o",
                               str(self.output), "--events", *arguments], capture_output=True,
                              text=True, timeout=300, stdin=stdin)
        self.code, self.stderr = done.returncode, done.stderr
        self.events = [json.loads(line) for line in done.stdout.splitlines()]
        self.end = self.events[-1]
        self.result = self.end.get("result")

    def manifest(self):
        return json.loads((self.output / "dataset.json").read_text())

    def report(self):
        return self.manifest()["report"]

    def succeeded(self):
        assert self.code == 0, (self.end, self.stderr)
        assert self.end["event"] == "end" and self.end["state"] == "succeeded"
        return self

    def failed(self, code, text):
        assert self.code == 1 and self.end["state"] == "failed", self.end
        assert self.end["error"]["code"] == code, self.end
        assert text in self.end["error"]["message"], self.end
        assert not self.output.exists(), "a failed import leaves nothing but shards"
        return self


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return SmallTree(tmp_path_factory.mktemp("small") / "IEMOCAP_full_release")


@pytest.fixture(scope="module")
def imported(tree, tmp_path_factory):
    return Run(tree.root, tmp_path_factory.mktemp("imported")).succeeded()


@pytest.fixture()
def own_tree(tmp_path):
    return SmallTree(tmp_path / "tree")


# ---- a whole corpus with every quirk ----

@pytest.fixture(scope="module", params=["dialog", "sentence", "both"])
def generated(request, tmp_path_factory):
    if not shutil.which("espeak-ng"):
        pytest.skip("no espeak-ng here")
    root = tmp_path_factory.mktemp(request.param) / "corpus"
    subprocess.run([sys.executable, str(HERE / "make_corpus.py"), str(root), "--utterances", "40",
                    "--speakers", "6", "--quirks", "--layout", request.param, "--seed", "3"],
                   check=True, timeout=300)
    run = Run(root, root.parent, "--name", "quirks").succeeded()
    return json.loads((root / "expected.json").read_text()), run


def test_counts_are_what_the_generator_expects(generated):
    expected, run = generated
    report = run.report()
    for name in ("utterances", "rated", "dialogs", "labels", "sessions", "speakers", "improvised",
                 "scripted"):
        assert report[name] == expected[name], name
    assert {k: n for k, n in report["classes"].items() if n} == expected["classes"]
    assert expected["streams"].items() <= report["streams"].items()
    assert report["n_dropped"] == len(expected["dropped"])
    reasons = {row["utterance"]: row["reason"] for row in report["dropped"]}
    for row in expected["dropped"]:
        assert reasons[row["utterance"]].startswith(row["reason"])
    for name in ("utterances", "classes", "n_dropped", "n_rejected"):
        assert run.result[name] == report[name]
    assert "dropped" not in run.result


def test_rejected_rows_are_named_with_their_lines(generated):
    expected, run = generated
    in_sentences = expected["generator"]["layout"] == "sentence"  # the damaged file is not written
    want = {(row["file"], row["line"]) for row in expected["rejected"]
            if not (in_sentences and "MOCAP" in row["file"])}
    assert {(row["file"], row["line"]) for row in run.report()["rejected"]} == want
    assert run.report()["n_rejected"] == len(want) > 0


def test_each_utterance_is_who_it_is(generated):
    expected, run = generated
    rows = {row["id"]: row for row in run.manifest()["utterances"]}
    assert list(rows) == sorted(rows)
    for turn in expected["list"]:
        if not turn["class"]:
            assert turn["id"] not in rows
            continue
        row = rows[turn["id"]]
        assert row["label"] == turn["class"] and row["raw_label"] == turn["label"]
        for name in ("dialog", "speaker", "wearer", "own_motion", "improvised", "start", "end"):
            assert row[name] == turn[name], (turn["id"], name)
        assert row["transcript"] == turn["text"]
        assert len(row["votes"]) == 4 and len(row["attributes"]) == 3
        assert ("face" in row["streams"]) == (turn["face_rows"] > 0)
        if expected["generator"]["layout"] == "dialog":
            assert row["quality"]["face"].get("rows", 0) == turn["face_rows"]


# ---- the store ----

def test_a_second_import_computes_nothing(tree, imported, tmp_path):
    assert imported.result["shards"] == {"total": 2, "reused": 0, "computed": 2}
    before = {path: path.stat().st_mtime_ns for path in imported.store.iterdir()}
    again = Run(tree.root, tmp_path, "--threads", "1", store=imported.store).succeeded()
    assert again.result["shards"] == {"total": 2, "reused": 2, "computed": 0}
    assert again.result["digest"] == imported.result["digest"]
    two = Run(tree.root, tmp_path, "--labels", '{"calm": ["neu"], "loud": ["ang", "exc"]}',
              store=imported.store).succeeded()
    assert two.result["shards"]["computed"] == 0 and two.result["utterances"] == 6
    assert two.result["digest"] != imported.result["digest"]
    assert two.manifest()["classes"] == ["calm", "loud"]
    assert {path: path.stat().st_mtime_ns for path in imported.store.iterdir()} == before
    short = Run(tree.root, tmp_path, "--features", '{"mel": {"clip_seconds": 4}}',
                store=imported.store).succeeded()
    assert short.result["shards"]["computed"] == 2
    assert short.manifest()["sizes"]["frames"] == 126


def test_only_a_changed_dialog_is_computed_again(own_tree, tmp_path):
    first = Run(own_tree.root, tmp_path).succeeded()
    path = own_tree.motion("Ses02M_script01_1", "head")
    path.write_text(path.read_text().replace("NaN", "1.00000", 1))
    second = Run(own_tree.root, tmp_path).succeeded()
    assert second.result["shards"] == {"total": 2, "reused": 1, "computed": 1}
    assert second.result["digest"] != first.result["digest"]


def test_a_damaged_shard_is_made_again(own_tree, tmp_path):
    first = Run(own_tree.root, tmp_path).succeeded()
    victim = sorted(first.store.iterdir())[0]
    good = victim.read_bytes()
    victim.write_bytes(good[: len(good) // 2])
    second = Run(own_tree.root, tmp_path).succeeded()
    assert second.result["shards"] == {"total": 2, "reused": 1, "computed": 1}
    assert victim.read_bytes() == good
    assert any("damaged shard" in e.get("message", "") for e in second.events)


def open_shard(run, row):
    safetensors = pytest.importorskip("safetensors")
    key = run.manifest()["shards"][row["shard"]]
    return safetensors.safe_open(run.store / f"{key}.safetensors", framework="numpy")


def test_shards_open_in_python_and_hold_numpys_averages(tree, imported):
    for row in imported.manifest()["utterances"]:
        with open_shard(imported, row) as shard:
            tensors = {name: shard.get_tensor(name) for name in shard.keys()}
            metadata = shard.metadata()
        assert json.loads(metadata["utterances"])[row["index"]] == row["id"]
        assert json.loads(metadata["features"]) == imported.manifest()["features"]
        n = len(json.loads(metadata["utterances"]))
        assert tensors["offsets"].dtype == np.int64 and tensors["offsets"].shape == (n + 1,)
        assert tensors["mel"].shape == (tensors["offsets"][-1], 128)
        assert tensors["mel"].dtype == np.float32 and 0 <= tensors["mel"].min()
        assert tensors["mel"].max() <= 1 and tensors["pad_value"].shape == (n,)
        motion, missing = tensors["motion"][row["index"]], tensors["missing"][row["index"]]
        assert motion.shape == (200, 189) and missing.dtype == np.uint8
        columns = [tree.rows[row["dialog"], folder] for folder in ("rotated", "head", "hand")]
        rows = np.hstack(columns)
        seconds = np.round(np.arange(len(rows)) / small_tree.FRAMES_PER_SECOND, 5)
        rows = rows[(seconds >= row["start"]) & (seconds < row["end"])]
        for part, lines in enumerate(np.array_split(rows, 200)):
            found = ~np.isnan(lines).all(axis=0) if len(lines) else np.zeros(189, bool)
            assert (missing[part] == ~found).all()
            if found.any():
                mean = np.nanmean(lines[:, found], axis=0)
                assert np.abs(motion[part, found] - mean).max() < 1e-5
            assert (motion[part, ~found] == 0).all()


# ---- sources ----

def test_a_level_above_the_tree_and_the_tree_itself_are_the_same(tree, imported, tmp_path):
    above = Run(tree.root.parent, tmp_path, store=imported.store).succeeded()
    assert above.result["digest"] == imported.result["digest"]


def write_tar(path, tree, mode):
    with tarfile.open(path, mode) as tar:
        tar.add(tree.root, "anything/IEMOCAP_full_release")


def make_archive(path, tree):
    if path.name.endswith(".zip"):
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted(tree.root.rglob("*")):
                archive.write(file, file.relative_to(tree.root.parent))
    elif path.name.endswith(".zst"):
        if not shutil.which("zstd"):
            pytest.skip("no zstd here")
        write_tar(path.with_suffix(""), tree, "w")
        subprocess.run(["zstd", "-q", str(path.with_suffix("")), "-o", str(path)], check=True)
    else:
        write_tar(path, tree, "w:gz" if path.name.endswith(".gz") else "w")


@pytest.mark.parametrize("name", ["x.tar", "x.tar.gz", "x.tar.zst", "x.zip"])
def test_an_archive_gives_the_same_dataset(tree, imported, tmp_path, name):
    make_archive(tmp_path / name, tree)
    renamed = (tmp_path / name).rename(tmp_path / "upload")  # the name tells nothing
    run = Run(renamed, tmp_path, store=imported.store).succeeded()
    assert run.result["digest"] == imported.result["digest"]
    assert run.result["shards"]["computed"] == 0
    assert sorted(os.listdir(run.output)) == ["dataset.json"]  # no staging folder is left


def test_a_specification_file_as_a_server_writes_it(tree, imported, tmp_path):
    spec = {"type": "import", "job": "job_1", "source": {"path": str(tree.root)}, "name": "spec",
            "layout": "iemocap", "features": {"preset": "mel-16k"}, "labels": {"any": ["neu"]},
            "store": str(imported.store), "output": str(tmp_path / "dataset"), "threads": 2}
    path = tmp_path / "spec.json"

    def run():
        path.write_text(json.dumps(spec))
        return supervised([AFFECT, "import", "--spec", str(path), "--events", "--supervised"])

    end = run()
    assert end["state"] == "succeeded" and end["result"]["name"] == "spec"
    assert end["result"]["utterances"] == 2
    for change, pointer in (({"shape": 1}, "shape"), ({"threads": "two"}, "threads"),
                            ({"labels": {"a": ["neu"], "b": ["neu"]}}, "neu"),
                            ({"features": {"mel": {"n_mels": 0}}}, "n_mels"),
                            ({"layout": "ravdess"}, "layout"), ({"source": {}}, "source"),
                            ({"name": "../x"}, "name")):
        spec.update(change)
        end = run()
        assert end["state"] == "failed" and end["error"]["code"] == "invalid"
        assert pointer in end["error"]["message"]
        for name in change:
            spec.pop(name)
        spec.update({"source": {"path": str(tree.root)}, "name": "spec"})


def supervised(command):
    """Runs with stdin held open until the end; returns the last event."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = process.stdout.read().splitlines()
    process.stdin.close()
    process.wait(timeout=60)
    return json.loads(lines[-1])


# ---- attacks on archives ----

LABELS = "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"
SOUND = "Session1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000.wav"


def tar_of(path, *members, mode="w"):
    """members: (name, bytes) or a TarInfo."""
    with tarfile.open(path, mode) as tar:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                tar.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                tar.addfile(info, io.BytesIO(member[1]))
    return path


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("members, text", [
    ([("../" + LABELS, b"x")], "climbs"),
    ([("a/../../../tmp/" + LABELS, b"x")], "climbs"),
    ([("/tmp/" + LABELS, b"x")], "absolute"),
    ([link(LABELS, "/etc/passwd", tarfile.SYMTYPE)], "link"),
    ([link("Session1", "/etc", tarfile.SYMTYPE), (LABELS, b"x")], "link"),
    ([(SOUND, b"x"), link(LABELS, SOUND, tarfile.LNKTYPE)], "link"),
    ([link(LABELS, "", tarfile.FIFOTYPE)], "device"),
    ([link(LABELS, "", tarfile.CHRTYPE)], "device"),
    ([("a/" + LABELS, b"x"), ("b/" + LABELS, b"x")], "twice"),
], ids=["dots", "dots_inside", "absolute", "symlink", "symlinked_folder", "hardlink", "fifo",
        "device", "twice"])
def test_hostile_tar(tmp_path, members, text):
    Run(tar_of(tmp_path / "x", *members), tmp_path).failed("malformed", text)


def test_hostile_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr("../../" + LABELS, "x")
    Run(tmp_path / "x", tmp_path).failed("malformed", "climbs")
    with zipfile.ZipFile(tmp_path / "y", "w") as archive:
        info = zipfile.ZipInfo(LABELS)
        info.create_system, info.external_attr = 3, 0o120777 << 16  # a symbolic link
        archive.writestr(info, "/etc/passwd")
    Run(tmp_path / "y", tmp_path).failed("malformed", "link")


def gzip_of_tar(path, member, n_zeros):
    """A tar whose one member is n_zeros zeros, compressed as it is written."""
    info = tarfile.TarInfo(member)
    info.size = n_zeros
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(n_zeros >> 20):
            file.write(bytes(1 << 20))
        file.write(bytes(1024))
    return path


@pytest.mark.parametrize("member", [SOUND, "Session1/dialog/avi/DivX/x.avi"])
def test_bomb_in_a_tar(tmp_path, member):
    Run(gzip_of_tar(tmp_path / "x", member, 600 << 20), tmp_path).failed("too_large", "bomb")


def test_bomb_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open(SOUND, "w") as file:
            for _ in range(600):
                file.write(bytes(1 << 20))
    Run(tmp_path / "x", tmp_path).failed("too_large", "bomb")


def test_a_million_entries(tmp_path):
    header = tarfile.TarInfo("d").tobuf()
    with gzip.open(tmp_path / "x", "wb", compresslevel=1) as file:
        for _ in range(1000):
            file.write(header * 1000)
        file.write(bytes(1024))
    Run(tmp_path / "x", tmp_path).failed("too_large", "entries")


def test_damaged_archives(tree, tmp_path):
    make_archive(tmp_path / "x.tar.gz", tree)
    data = (tmp_path / "x.tar.gz").read_bytes()
    for name, content in (("half", data[: len(data) // 2]), ("tail", data[:-20] + bytes(20))):
        (tmp_path / name).write_bytes(content)
        Run(tmp_path / name, tmp_path).failed("malformed", "damaged or truncated")
    (tmp_path / "noise").write_bytes(bytes(range(256)) * 40)
    Run(tmp_path / "noise", tmp_path).failed("unsupported", "accepted: tar")
    (tmp_path / "twice").write_bytes(gzip.compress(data))
    Run(tmp_path / "twice", tmp_path).failed("unsupported", "more than once")
    Run(tar_of(tmp_path / "other", ("README", b"hello")), tmp_path).failed("not_found", "Session1")


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "tar.zst", "zip"])
def test_an_archive_is_whole_or_refused(tree, tmp_path, kind):
    """Nothing is taken from an archive that lost its end, or that other bytes follow."""
    whole, cut = tmp_path / f"x.{kind}", tmp_path / "cut"
    make_archive(whole, tree)
    data = whole.read_bytes()
    cut.write_bytes(data + b"garbage")
    Run(cut, tmp_path).failed("malformed", "archive: ")
    cut.write_bytes(data + data)  # tar would silently leave the second out
    if kind != "zip":
        Run(cut, tmp_path).failed("malformed", "archive: ")
    for n in (1, 7, 21, 600, 5000, len(data) // 3):
        if kind == "tar" and n < 9000:  # into the padding behind the end mark: nothing is lost
            continue
        cut.write_bytes(data[:-n])
        Run(cut, tmp_path).failed("malformed", "archive: ")
    if kind == "tar":
        with tarfile.open(whole) as tar:
            end = max(member.offset_data + (member.size + 511) // 512 * 512 for member in tar)
        cut.write_bytes(data[:end])  # cut where an entry ends
        Run(cut, tmp_path).failed("malformed", "end mark")
        cut.write_bytes(data[:end] + bytes(1024) + b"x" + bytes(511))
        Run(cut, tmp_path).failed("malformed", "trailing")


@pytest.mark.parametrize("place", ["checksum", "length", "second"])
def test_gzip_checksums_are_verified(tree, tmp_path, place):
    make_archive(tmp_path / "x.tar.gz", tree)
    data = bytearray((tmp_path / "x.tar.gz").read_bytes())
    if place == "second":  # a tar over two members, as pigz and concatenation make them
        tar = gzip.decompress(data)
        data = bytearray(gzip.compress(tar[:40000]) + gzip.compress(tar[40000:]))
        (tmp_path / "two").write_bytes(data + bytes(512))  # padding, as on tapes
        Run(tmp_path / "two", tmp_path / "good").succeeded()
    data[{"checksum": -8, "length": -1, "second": -5}[place]] ^= 1
    (tmp_path / "x").write_bytes(data)
    Run(tmp_path / "x", tmp_path).failed("malformed", "incorrect ")


def test_a_zip_checksum_is_verified(tree, tmp_path):
    with zipfile.ZipFile(tmp_path / "x", "w") as archive:
        archive.writestr(SOUND, b"RIFF and so on")
    data = (tmp_path / "x").read_bytes()
    (tmp_path / "x").write_bytes(data.replace(b"and so on", b"and so off"[:9]))
    Run(tmp_path / "x", tmp_path).failed("malformed", "CRC")


def test_a_folder_of_the_user_is_left_alone(tree, tmp_path):
    """The unpacking has a folder of its own, known by a mark; any other one stays."""
    make_archive(tmp_path / "x.tar.gz", tree)
    for name in ("staging", "mine"):
        (tmp_path / "dataset" / name).mkdir(parents=True)
        (tmp_path / "dataset" / name / "notes.txt").write_text("mine")
    run = Run(tmp_path / "x.tar.gz", tmp_path).succeeded()
    assert (run.output / "staging/notes.txt").read_text() == "mine"
    assert not (run.output / ".staging").exists()
    spec = {"type": "import", "name": "d", "source": {"archive": str(tmp_path / "x.tar.gz")},
            "store": str(run.store), "output": str(tmp_path / "other"), "staging": str(run.output / "mine")}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    command = [AFFECT, "import", "--spec", str(tmp_path / "spec.json")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and "not made by an import" in done.stderr, done.stderr
    assert (run.output / "mine/notes.txt").read_text() == "mine"
    spec["staging"] = str(tmp_path / "left/by/a/killed/run")
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    left = pathlib.Path(spec["staging"])
    left.mkdir(parents=True)
    (left / ".affect-staging").touch()
    (left / "half.wav").write_bytes(b"RIFF")
    assert subprocess.run(command, timeout=300).returncode == 0
    assert not left.exists()


def test_no_tree_and_no_source(tmp_path):
    (tmp_path / "empty").mkdir()
    Run(tmp_path / "empty", tmp_path).failed("not_found", "Session1")
    Run(tmp_path / "absent", tmp_path).failed("not_found", "absent")
    SmallTree(tmp_path / "both/a")
    SmallTree(tmp_path / "both/b")
    Run(tmp_path / "both", tmp_path).failed("invalid", "both a and b")


# ---- damaged files in a tree: named, counted, and the rest is imported ----

def rejected(run, path):
    rows = [row for row in run.report()["rejected"] if str(path).endswith(row["file"])]
    return [(row["line"], row["reason"]) for row in rows]


def test_sounds_that_cannot_be_read(own_tree, tmp_path):
    dialog = "Ses01F_impro01"
    truncated, text, empty = (own_tree.wav(dialog, turn) for turn in ("F000", "F001", "M000"))
    truncated.write_bytes(truncated.read_bytes()[:5000])
    text.write_text("I am a wav, honestly.\n" * 50)
    small_tree.write_wav(empty, np.zeros(0))
    run = Run(own_tree.root, tmp_path).succeeded()
    report = run.report()
    assert run.result["utterances"] == 5
    dropped = {row["utterance"]: row["reason"] for row in report["dropped"]}
    for path in (truncated, text, empty):
        assert len(rejected(run, path)) == 1 and rejected(run, path)[0][0] == 0
        assert dropped[path.stem].startswith("audio cannot be read: ")


def test_sound_from_the_dialogs_recording(own_tree, tmp_path):
    dialog = "Ses01F_impro01"
    sound = np.random.default_rng(1).normal(0, 2000, (6 * small_tree.RATE, 2))
    small_tree.write_wav(own_tree.session(dialog) / f"dialog/wav/{dialog}.wav", sound, channels=2)
    own_tree.wav(dialog, "F000").unlink()
    run = Run(own_tree.root, tmp_path).succeeded()
    row = next(r for r in run.manifest()["utterances"] if r["id"] == f"{dialog}_F000")
    assert row["quality"]["audio"]["from"] == "dialog"
    assert abs(row["quality"]["audio"]["seconds"] - 1.0) < 1e-3
    assert row["quality"]["audio"]["channels"] == 2
    assert any("mean of its channels" in w for w in run.report()["warnings"])


def test_an_utterance_without_any_file_is_dropped(own_tree, tmp_path):
    dialog = "Ses02M_script01_1"
    own_tree.wav(dialog, "F000").unlink()
    run = Run(own_tree.root, tmp_path).succeeded()  # its motion is there: kept
    row = next(r for r in run.manifest()["utterances"] if r["id"] == f"{dialog}_F000")
    assert row["streams"] == ["face", "head", "hand"]
    shutil.rmtree(own_tree.session(dialog) / "dialog/MOCAP_rotated")
    shutil.rmtree(own_tree.session(dialog) / "dialog/MOCAP_head")
    shutil.rmtree(own_tree.session(dialog) / "dialog/MOCAP_hand")
    run = Run(own_tree.root, tmp_path).succeeded()
    assert run.report()["dropped"] == [{"utterance": f"{dialog}_F000", "label": "neu",
                                        "reason": "no sound file and no rows of motion"}]
    assert f"{dialog}: no motion of its own" in run.report()["warnings"]


def test_motion_that_cannot_be_read(own_tree, tmp_path):
    dialog = "Ses01F_impro01"
    face, head, hand = (own_tree.motion(dialog, f) for f in ("rotated", "head", "hand"))
    hand.write_bytes(head.read_bytes())  # six columns where eighteen are due
    lines = head.read_text().splitlines()
    lines[10] = "x" * (10 << 20)  # one line of 10 MB
    lines[20] += " 1.0"
    head.write_text("\n".join(lines))
    face.write_text("\n".join(small_tree.motion_lines(np.full((719, 165), np.nan))))
    run = Run(own_tree.root, tmp_path).succeeded()
    assert run.result["utterances"] == 8
    assert [line for line, _ in rejected(run, head)] == [11, 21]
    assert [line for line, _ in rejected(run, hand)] == [*range(3, 23), 0, 0]
    assert "more rows" in rejected(run, hand)[-2][1]
    assert run.report()["n_rejected"] == 2 + 719 + 1  # every row is counted, and the file
    for row in run.manifest()["utterances"]:
        if row["dialog"] == dialog:
            assert row["streams"] == ["audio", "head"]
            assert row["quality"]["face"]["missing"] == 1.0


def test_links_out_of_the_tree_are_not_followed(own_tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    dialog = "Ses01F_impro01"
    wav = own_tree.wav(dialog, "F000")
    shutil.move(wav, outside / "x.wav")
    wav.symlink_to(outside / "x.wav")
    labels = own_tree.labels("Ses02M_script01_1")
    shutil.move(labels, outside / "labels.txt")
    labels.symlink_to("../../../../outside/labels.txt")
    inside = own_tree.motion(dialog)
    inside.rename(inside.with_name("elsewhere"))
    inside.symlink_to("elsewhere")  # a link that stays in the tree is followed
    run = Run(own_tree.root, tmp_path).succeeded()
    assert run.result["rated"] == 4 and run.result["utterances"] == 3
    assert rejected(run, wav)[0][0] == 0 and "link" in rejected(run, wav)[0][1]
    assert "link" in rejected(run, labels)[0][1]
    assert run.result["streams"]["face"] == 3


def test_motion_files_with_headers_only(own_tree, tmp_path):
    """A stream without a row is missing, and the report warns of it: as a prediction does."""
    motion = own_tree.motion("Ses01F_impro01")
    motion.write_text("\n".join(motion.read_text().splitlines()[:2]) + "\n")
    run = Run(own_tree.root, tmp_path).succeeded()
    assert rejected(run, motion) == [(0, "no rows after the header: taken as missing")]
    utterances = [u for u in run.manifest()["utterances"] if u["id"].startswith("Ses01F_impro01")]
    assert utterances and not any("face" in u["streams"] for u in utterances)


def test_files_that_are_none_do_not_block(own_tree, tmp_path):
    wav = own_tree.wav("Ses01F_impro01", "F000")
    wav.unlink()
    os.mkfifo(wav)
    motion = own_tree.motion("Ses01F_impro01")
    motion.unlink()
    motion.mkdir()
    run = Run(own_tree.root, tmp_path).succeeded()
    assert "regular" in rejected(run, wav)[0][1] and "regular" in rejected(run, motion)[0][1]


# ---- a corpus below a root, as the server gives it ----

def run_spec(tmp_path, **fields):
    """`affect import --spec`: exit code and last event."""
    spec = {"type": "import", "name": "d", "store": str(tmp_path / "store"),
            "output": str(tmp_path / "dataset")} | fields
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    done = subprocess.run([AFFECT, "import", "--spec", str(tmp_path / "spec.json"), "--events"],
                          capture_output=True, text=True, timeout=300)
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("path, text", [
    ("..", "leads out"), ("../outside", "leads out"), ("/etc", "leads out"), ("link", "link"),
    ("inside/../../outside", "leads out"), ("none", "No such file"), ("file", "not a folder"),
])
def test_a_path_below_a_root(own_tree, tmp_path, path, text):
    """The worker itself opens the folder beneath the root: what it checked is what it reads."""
    root = tmp_path / "root"
    root.mkdir()
    shutil.move(own_tree.root, root / "inside")
    SmallTree(tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "file").touch()
    code, end = run_spec(tmp_path, source={"root": str(root), "path": path})
    assert code == 1 and text in end["error"]["message"], end
    assert "cross-device" not in end["error"]["message"] and str(root) not in end["error"]["message"]
    code, end = run_spec(tmp_path, source={"root": str(root), "path": "inside"})
    assert code == 0, end


def test_sparse_files_are_bounded(own_tree, tmp_path):
    """A file of terabytes costs its maker nothing; it is named and not read, as are too many bytes in all."""
    wav = own_tree.wav("Ses01F_impro01", "F000")
    motion = own_tree.motion("Ses02M_script01_1")
    for path in (wav, motion):
        with open(path, "ab") as file:
            file.truncate(1 << 42)
    run = Run(own_tree.root, tmp_path).succeeded()
    for path in (wav, motion):
        assert "4398046511104 bytes (at most 2147483648)" in rejected(run, path)[0][1]
    size = run.result["read_bytes"]
    source = {"path": str(own_tree.root)}
    assert run_spec(tmp_path, source=source, max_bytes=size)[0] == 0
    code, end = run_spec(tmp_path, source=source, max_bytes=size - 1)
    assert code == 1 and end["error"]["code"] == "too_large", end


# ---- stopping ----

def test_a_full_disk(own_tree, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)],
                             capture_output=True, text=True)
    if mounted.returncode != 0:
        pytest.skip(f"no tmpfs here: {mounted.stderr.strip()}")
    try:
        Run(own_tree.root, tmp_path, store=small / "store").failed("no_space", "")
        left = list((small / "store").iterdir())  # one of the two shards fits; nothing half written
        assert len(left) <= 1 and all(path.suffix == ".safetensors" for path in left)
        make_archive(tmp_path / "x.tar", own_tree)
        (small / "dataset").mkdir()
        done = Run(tmp_path / "x.tar", small, store=tmp_path / "store")
        assert done.end["error"]["code"] == "no_space"
        assert not (small / "dataset").exists()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_cancelled_when_its_supervisor_is_gone(own_tree, tmp_path):
    dialog = "Ses01F_impro01"  # 150 MB of motion: long enough to be stopped
    path = own_tree.motion(dialog)
    body = path.read_bytes()
    with open(path, "wb") as file:
        for _ in range((150 << 20) // len(body)):
            file.write(body)
    run = Run(own_tree.root, tmp_path, "--supervised", "--threads", "1",
              stdin=subprocess.DEVNULL)
    assert run.code == 1 and run.end["state"] == "cancelled"
    assert run.end["error"]["code"] == "cancelled"
    assert not run.output.exists()

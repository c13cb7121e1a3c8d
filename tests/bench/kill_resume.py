#!/usr/bin/env python3
"""Is a training exact? Repeats a short one, kills others with SIGKILL at random moments, compares.

    python3 tests/bench/kill_resume.py --affect build/bin/affect --work /tmp/exact --kills 100 --runs 20

A small corpus is generated and imported (needs espeak-ng and numpy), the training takes about a second. Each killed
training is started again with --resume, killed again with some probability, until it ends. The hash
is over the tensors of best.safetensors and last.safetensors and over every epoch's report (times
left out), so one differing bit anywhere shows. Checkpoints within an epoch are kept every
hundredth of a second, so that many kills hit one being written. Prints one JSON object; the exit
code is 0 when all hashes are equal.
"""
import argparse
import collections
import hashlib
import json
import pathlib
import random
import shutil
import struct
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
SPEC = {"architecture": "paper-optimized", "threads": 2, "resume": True, "checkpoint_seconds": 0.01,
        "split": {"kind": "random", "validation": 0.2, "test": 0.1},
        "training": {"epochs": 4, "batch_size": 8, "seed": 5,
                     "schedule": {"kind": "plateau", "patience": 1}}}


def make_dataset(affect, work):
    """WORK/dataset: 64 generated utterances, clips of half a second."""
    if not (work / "dataset" / "dataset.json").exists():
        subprocess.run([sys.executable, HERE.parent / "corpus" / "make_corpus.py", work / "corpus",
                        "--utterances", "64", "--speakers", "4", "--seed", "3"],
                       check=True, stdout=subprocess.DEVNULL)
        subprocess.run([affect, "import", work / "corpus", "--store", work / "store",
                        "-o", work / "dataset", "-n", "exact", "--features",
                        json.dumps({"mel": {"clip_seconds": 0.5}})],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(work / "corpus")
    return work / "dataset"


def tensors_of(path):
    """The bytes of all tensors, in the order of their names; metadata (times) left out."""
    data = path.read_bytes()
    size, = struct.unpack("<Q", data[:8])
    header = json.loads(data[8:8 + size])
    header.pop("__metadata__", None)
    digest = hashlib.sha256()
    for name, tensor in sorted(header.items()):
        begin, end = tensor["data_offsets"]
        digest.update(f"{name} {tensor['shape']} ".encode() + data[8 + size + begin:8 + size + end])
    return digest.hexdigest()


class Training:
    """One training in a folder of its own, in one or several lives."""

    def __init__(self, affect, dataset, folder, spec=None):
        self.affect, self.folder, self.log, self.n_lives = affect, folder, folder / "events", 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "spec.json").write_text(
            json.dumps(SPEC | (spec or {}) | {"dataset": str(dataset), "output": str(folder)}))

    def live(self, kill_after=None):
        """Runs until it ends, or until it is killed; true when it has ended well."""
        self.n_lives += 1
        with open(self.log, "ab") as log:
            process = subprocess.Popen([self.affect, "train", "--spec", self.folder / "spec.json",
                                        "--events"], stdout=log, stderr=subprocess.PIPE)
            try:
                process.communicate(timeout=kill_after if kill_after is not None else 300)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                return False
        end = json.loads(self.log.read_bytes().splitlines()[-1])
        if process.returncode != 0 or end["state"] != "succeeded":
            raise RuntimeError(f"{self.folder}: {end}")
        return True

    def events(self):
        found = []
        for line in self.log.read_bytes().split(b"\n"):
            try:
                found.append(json.loads(line))
            except ValueError:  # cut off by a kill
                continue
        return found

    def hash(self):
        """Of tensors and epochs. Epochs told twice must say the same."""
        epochs = {}
        for event in self.events():
            if event.get("event") != "epoch":
                continue
            report = {k: v for k, v in event.items() if k not in ("seconds", "event")}
            if epochs.setdefault(event["epoch"], report) != report:
                return f"epoch {event['epoch']} was told in two ways"
        text = json.dumps([epochs[e] for e in sorted(epochs)], sort_keys=True)
        parts = [text] + [tensors_of(self.folder / f"{kind}.safetensors") for kind in ("best", "last")]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def run(affect, work, n_runs, n_kills, seed=1, again=0.3):
    """Repeats and kills; the counts of hashes and what was killed, as a dict."""
    work.mkdir(parents=True, exist_ok=True)
    dataset = make_dataset(affect, work)
    chance = random.Random(seed)
    hashes = collections.Counter()
    seconds, kills, lives, asides = [], 0, 0, 0
    for _ in range(n_runs):
        training = Training(affect, dataset, work / "training")
        began = time.monotonic()
        training.live()
        seconds.append(time.monotonic() - began)
        hashes[training.hash()] += 1
    span = sorted(seconds)[len(seconds) // 2]
    for _ in range(n_kills):
        training = Training(affect, dataset, work / "training")
        while training.live(chance.uniform(0, span)):  # it was faster than its kill: another one
            training = Training(affect, dataset, work / "training")
        killed = True
        while killed:
            kills += 1
            asides += any(training.folder.glob("*.aside-*"))
            killed = not training.live(chance.uniform(0, span) if chance.random() < again else None)
        lives += training.n_lives
        hashes[training.hash()] += 1
    shutil.rmtree(work / "training", ignore_errors=True)
    return {"runs": n_runs, "killed_trainings": n_kills, "kills": kills, "lives": lives,
            "kills_while_a_file_was_written": asides, "seconds_undisturbed": round(span, 2),
            "hashes": dict(hashes)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--affect", type=pathlib.Path, default="build/bin/affect")
    parser.add_argument("--work", type=pathlib.Path, default="build/bench/kill_resume")
    parser.add_argument("--runs", type=int, default=20, help="undisturbed trainings (at least 1)")
    parser.add_argument("--kills", type=int, default=100, help="trainings that are killed")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    found = run(args.affect.resolve(), args.work.resolve(), args.runs, args.kills, args.seed)
    print(json.dumps(found, indent=1))
    return len(found["hashes"]) != 1


if __name__ == "__main__":
    sys.exit(main())

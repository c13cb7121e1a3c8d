#!/usr/bin/env python3
"""A table of very many short clips is imported, killed half-way, and resumed: seconds, clips a second, peak memory.

    tests/bench/large_corpus.py AFFECT [--clips 100000] [--folder DIR] [--threads 0]        (numpy)

Clips are links to a few hundred recordings of 0.2 to 0.5 s; labels, speakers and dialogs as in a podcast corpus. Peak memory
is the largest resident set of the process (ru_maxrss), mapped files included.
"""
import argparse
import json
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import wave

import numpy as np

parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
parser.add_argument("affect", type=pathlib.Path)
parser.add_argument("--clips", type=int, default=100000)
parser.add_argument("--folder", type=pathlib.Path, help="where the corpus is made (default: a temporary folder)")
parser.add_argument("--threads", type=int, default=0)
args = parser.parse_args()


def make(root):
    rng = np.random.default_rng(1)
    sources = []
    (root / "sources").mkdir(parents=True)
    for i in range(300):
        path = root / f"sources/{i}.wav"
        with wave.open(str(path), "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(16000)
            out.writeframes((rng.standard_normal(int(16000 * rng.uniform(0.2, 0.5))) * 3000).astype("<i2").tobytes())
        sources.append(path)
    with open(root / "corpus.csv", "w") as out:
        out.write("file,label,speaker,gender,split,valence\n")
        for i in range(args.clips):
            folder = root / f"audio/{i // 1000:04}"
            if i % 1000 == 0:
                folder.mkdir(parents=True)
            os.link(sources[i % 300], folder / f"{i:06}.wav")
            out.write(f"audio/{i // 1000:04}/{i:06}.wav,l{i * 7919 % 8},s{i // 70:05},{'fm'[i // 70 % 2]},"
                      f"{('Train', 'Development', 'Test1')[i // 700 % 3]},{1 + i % 5}\n")
    shutil.rmtree(root / "sources")


def run(folder, kill_at=None):
    command = [args.affect, "import", folder / "corpus", "--layout", "table", "--store", folder / "store", "-o", folder / "dataset",
               "--features", '{"mel": {"clip_seconds": 1}}', "--threads", str(args.threads), "--events"]
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    end = {}
    while kill_at and process.poll() is None:
        if len(list((folder / "store").glob("*.safetensors"))) >= kill_at:
            process.send_signal(signal.SIGKILL)
            break
        time.sleep(0.02)
    for line in process.stdout:
        end = json.loads(line) if line.endswith("\n") else end
    process.wait()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # the most of all runs so far
    return time.monotonic() - began, usage.ru_maxrss / 1024, end


def main():
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="affect-large-") as name:
        folder = pathlib.Path(name)
        (folder / "corpus").mkdir()
        make(folder / "corpus")
        seconds, peak, _ = run(folder, args.clips // 128)
        shards = len(list((folder / "store").iterdir()))
        print(f"killed half-way through {args.clips} clips after {seconds:.1f} s, peak {peak:.0f} MiB, {shards} shards made")
        seconds, peak, end = run(folder)
        result = end["result"]
        print(f"resumed: {seconds:.1f} s, {args.clips / seconds:.0f} clips/s, peak {peak:.0f} MiB, {result['utterances']} utterances, "
              f"shards {result['shards']}")
        size = (folder / "dataset/dataset.json").stat().st_size
        print(f"dataset.json {size / 1e6:.1f} MB, store {sum(p.stat().st_size for p in (folder / 'store').iterdir()) / 1e6:.0f} MB")
        return 0 if result["utterances"] == args.clips and peak < 500 else 1


resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
raise SystemExit(main())

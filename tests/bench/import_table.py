#!/usr/bin/env python3
"""Import of a corpus of IEMOCAP's size, against what the parser alone would take on as many cores.

    python3 tests/bench/import_table.py [--corpus FOLDER] [--utterances 4600] [--rounds 3]

Without --corpus one is made in build/peer (tests/corpus/make_corpus.py; 4600 utterances: 2.1 GB of text, 2.9 GB in
all; some minutes). The parser's rate: bench_utterance's motion text of 16 s, one process on each core at once. Each round
imports everything anew with the files in the page cache, `affect import`; time is the wall's, memory the process' peak.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
PEER = BUILD / "peer"


def text_bytes(corpus):
    """Of the motion files; reading them also brings them into the page cache."""
    total = 0
    for path in sorted(corpus.rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            total += len(content) if path.parent.name.startswith("MOCAP_") else 0
    return total


def parser_rate(cores):
    """Bytes a second, all cores together."""
    folder = PEER / "clip_16"
    folder.mkdir(parents=True, exist_ok=True)
    running = [subprocess.Popen([BUILD / "bench" / "bench_utterance", folder, "16"], stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True) for _ in range(cores)]
    answers = [json.loads(process.communicate()[0]) for process in running]
    return sum(answer["motion_bytes"] / answer["motion"]["seconds"] for answer in answers)


def import_once(corpus, scratch):
    """Wall seconds and peak MiB of one import; the answer it prints."""
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    begin = time.monotonic()
    process = subprocess.Popen([BUILD / "bin" / "affect", "import", corpus, "--store", scratch / "store", "-o",
                                scratch / "dataset"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    answer = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    if status:
        sys.exit(f"import failed: {answer}")
    return seconds, usage.ru_maxrss / 1024, json.loads(answer)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=pathlib.Path)
    parser.add_argument("--utterances", type=int, default=4600)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD, "-j", str(os.cpu_count()), "--target", "affect-cli", "bench_utterance"],
                   check=True, stdout=subprocess.DEVNULL)
    corpus = args.corpus or PEER / f"corpus-{args.utterances}"
    if not corpus.exists():
        subprocess.run([sys.executable, ROOT / "tests/corpus/make_corpus.py", corpus, "--utterances", str(args.utterances)],
                       check=True, stdout=subprocess.DEVNULL)
    cores, n_bytes = len(os.sched_getaffinity(0)), text_bytes(corpus)
    rates, times, peaks = [], [], []
    for _ in range(args.rounds):
        rates.append(parser_rate(cores))
        seconds, peak, answer = import_once(corpus, PEER / "import")
        times.append(seconds)
        peaks.append(peak)
    shutil.rmtree(PEER / "import")
    allowed = n_bytes / statistics.median(rates)
    ratio, peak = statistics.median(times) / allowed, max(peaks)
    print(f"{answer['utterances']} utterances, {n_bytes / 1e9:.2f} GB of motion text, {cores} cores\n")
    print("| figure | measured | at most |\n|---|---|---|")
    print(f"| parser alone, all cores | {statistics.median(rates) / 1e9:.2f} GB/s: {allowed:.2f} s | |")
    print(f"| import, s | {statistics.median(times):.2f} ({min(times):.2f}-{max(times):.2f}) | |")
    print(f"| import over parser | {ratio:.1f}x | 1.3x: {'reached' if ratio <= 1.3 else 'MISSED'} |")
    print(f"| peak memory, MiB | {peak:.0f} | 500: {'reached' if peak <= 500 else 'MISSED'} |")


if __name__ == "__main__":
    main()

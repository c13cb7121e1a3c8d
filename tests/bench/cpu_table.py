#!/usr/bin/env python3
"""The CPU engine against its peers, in one run: the table of docs/measurements/*-cpu.md.

    python3 tests/bench/cpu_table.py [--all] [--quick] [--peer-python /usr/bin/python3] [--newer-python PYTHON]

Peers: PyTorch (Debian's python3-torch: `apt-get install python3-torch`) with the fastest formulation and environment we
know (torch_peer.py), librosa and numpy.loadtxt. Peer and ours run in turn, several rounds; each figure is the median of the
rounds' medians, and the ratio is the peer's over ours. Lengths of clips are drawn as IEMOCAP's: log-normal, median 3.58 s,
sigma 0.69, 0.585 to 16 s, seed 1. Builds what it needs into build/ (cmake), and fetches into build/peer what the peer
needs: OpenBLAS with OpenMP (apt-get download), librosa (pip). `--newer-python`: an interpreter with a newer torch, reported
beside. `--all`: then the import (import_table.py; its corpus has 2.9 GB) and the kernels' counts of instructions
(instructions.py; needs valgrind), half an hour more. Quiet cores matter: nothing else should run.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD, PEER = ROOT / "build", ROOT / "build" / "peer"
OPENMP = PEER / "openblas/usr/lib/x86_64-linux-gnu/openblas-openmp"


def run(command, **environment):
    """The JSON object that a command prints."""
    done = subprocess.run([str(part) for part in command], env={**os.environ, **environment}, cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def flags():
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    return set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()


def peer_environment():
    """The best that was found for PyTorch 1.13: an allocator that keeps its memory, huge pages, the widest vectors."""
    return {
        "MALLOC_MMAP_THRESHOLD_": "4294967296",
        "MALLOC_TRIM_THRESHOLD_": "17179869184",
        "MALLOC_TOP_PAD_": "1073741824",
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "ATEN_CPU_CAPABILITY": "avx512" if "avx512f" in flags() else "avx2",
        "LD_LIBRARY_PATH": str(OPENMP),
        "PYTHONPATH": str(PEER / "site"),
        "PYTHONWARNINGS": "ignore",
    }


def prepare(python):
    """Everything that the rows need, under build/."""
    targets = ["bench_step", "bench_utterance"]
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD, "-j", str(os.cpu_count()), "--target", *targets], check=True,
                   stdout=subprocess.DEVNULL)
    PEER.mkdir(exist_ok=True)
    if not OPENMP.exists():
        subprocess.run(["apt-get", "download", "-q", "libopenblas0-openmp"], cwd=PEER, check=True, stdout=subprocess.DEVNULL)
        package = next(PEER.glob("libopenblas0-openmp*.deb"))
        subprocess.run(["dpkg", "-x", package, PEER / "openblas"], check=True)
    if not (PEER / "site" / "librosa").exists():
        version = subprocess.run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"], check=True,
                                 stdout=subprocess.PIPE, text=True).stdout.strip()
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--target", PEER / "site", "--python-version", version,
                        "--only-binary=:all:", "librosa==0.11.0", "numpy<2"], check=True)
    generator = np.random.default_rng(1)
    seconds = np.clip(np.exp(np.log(3.58) + 0.69 * generator.standard_normal(48)), 0.585, 16)
    frames = np.minimum(1 + np.floor(seconds * 16000 / 512).astype(int), 501)
    (PEER / "lengths.txt").write_text("".join(f"{n}\n" for n in frames))
    for name in ("clip_16", "clip_4.5"):
        (PEER / name).mkdir(exist_ok=True)


def alternate(rounds, *commands):
    """Runs the commands in turn, `rounds` times; returns each one's results."""
    results = [[] for _ in commands]
    for _ in range(rounds):
        for result, command in zip(results, commands):
            result.append(command())
    return results


def middle(results, *path):
    values = []
    for result in results:
        for key in path:
            result = result[key]
        values.append(result)
    return statistics.median(values), min(values), max(values)


class Table:
    def __init__(self):
        self.rows = []

    def add(self, name, peer, ours, target, unit=1e3, digits=0):
        ratio = peer[0] / ours[0]
        show = lambda v: f"{v[0] * unit:.{digits}f} ({v[1] * unit:.{digits}f}-{v[2] * unit:.{digits}f})"  # noqa: E731
        verdict = "" if target is None else f"{target:g}x: " + ("reached" if ratio >= target else "MISSED")
        self.rows.append({"figure": name, "peer": peer, "ours": ours, "ratio": ratio, "target": target})
        print(f"| {name} | {show(peer)} | {show(ours)} | {ratio:.2f}x | {verdict} |", flush=True)


def steps(table, args, python):
    """Training steps; returns one result of each for the header."""
    ours = BUILD / "bench" / "bench_step"
    lengths, repeats = PEER / "lengths.txt", 1 if args.quick else 3
    peer = lambda *options: lambda: run(  # noqa: E731
        [python, ROOT / "tests/bench/torch_peer.py", "step", "--repeats", repeats, *options], **peer_environment())
    mine = lambda what: lambda: run([ours, what, 2 * repeats + 1])  # noqa: E731
    drawn, padded, bf16, our_drawn = alternate(
        args.rounds, peer("--lengths", lengths), peer("--lengths", lengths, "--pad"),
        peer("--lengths", lengths, "--pad", "--bf16"), mine(lengths))
    full, our_full = alternate(args.rounds, peer(), mine("FULL"))
    counts = {result["parameters"] for result in (*drawn, *our_drawn)}
    print(f"\nparameters: peer {drawn[0]['parameters']}, ours {our_drawn[0]['parameters']}")
    if len(counts) != 1:
        sys.exit("the networks differ: nothing below would mean anything")
    print("\n| figure | peer | ours | ratio | at least |\n|---|---|---|---|---|")
    time = ("seconds",)
    table.add("training step, IEMOCAP's lengths, ms", middle(drawn, *time), middle(our_drawn, *time), 4.5)
    table.add("the same, the peer computing the padding once, ms", middle(padded, *time), middle(our_drawn, *time), 2)
    table.add("training step, every clip 16 s, ms", middle(full, *time), middle(our_full, *time), 2.2)
    table.add("the peer in bf16, padding once (ours fp32), ms", middle(bf16, *time), middle(our_drawn, *time), None)
    table.add("peak memory of the training step, IEMOCAP's lengths, MiB", middle(drawn, "peak_mib"),
              middle(our_drawn, "peak_mib"), 3, 1)
    table.add("peak memory, every clip 16 s, MiB", middle(full, "peak_mib"), middle(our_full, "peak_mib"), 3, 1)
    if args.newer_python:
        newer = [run([args.newer_python, ROOT / "tests/bench/torch_peer.py", "step", "--repeats", repeats, "--lengths", lengths,
                      *pad], MALLOC_TOP_PAD_="1073741824") for pad in ((), ("--pad",))]
        for name, result in zip(("", ", padding once"), newer):
            table.add(f"torch {result['torch']}{name}, ms", middle([result], *time), middle(our_drawn, *time), None)
    return drawn[0], our_drawn[0]


def utterances(table, args, python):
    """Predictions, and what they are made of."""
    ours = BUILD / "bench" / "bench_utterance"
    repeats = 10 if args.quick else 50
    for name, seconds, target in (("clip_16", 16, 2.5), ("clip_4.5", 4.5, 5)):
        folder = PEER / name
        run([ours, folder, seconds])
        peer, mine = alternate(
            args.rounds,
            lambda: run([python, ROOT / "tests/bench/torch_peer.py", "predict", folder, "--repeats", repeats],
                        **peer_environment()),
            lambda: run([ours, folder, seconds]))
        table.add(f"prediction, {seconds:g} s, bytes to probabilities, p50, ms", middle(peer, "seconds"),
                  middle(mine, "prediction", "seconds"), target, digits=1)
        table.add(f"the same, p99, ms", middle(peer, "p99"), middle(mine, "prediction", "p99"), None, digits=1)
        if seconds == 16:
            table.add("mel in dB of 16 s, one thread; librosa load + mel + dB, ms", middle(peer, "sound_s"),
                      middle(mine, "mel", "seconds"), 5, digits=2)
            table.add("motion text of 16 s to 200 parts, one thread; numpy.loadtxt and means, ms", middle(peer, "motion_s"),
                      middle(mine, "motion", "seconds"), 6, digits=2)


def others(quick):
    """The tables of the other benches, below."""
    for bench, small in (("import_table.py", ["--utterances", "100", "--rounds", "1"]), ("instructions.py", ["--quick"])):
        print(f"\n{bench}:\n", flush=True)
        subprocess.run([sys.executable, ROOT / "tests/bench" / bench, *(small if quick else [])], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="also the import and the counts of instructions")
    parser.add_argument("--quick", action="store_true", help="one round, few repeats: to try it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-python", default="/usr/bin/python3")
    parser.add_argument("--newer-python", help="an interpreter with a newer torch and numpy")
    parser.add_argument("--json", type=pathlib.Path, help="also write the rows there")
    args = parser.parse_args()
    if args.quick:
        args.rounds = 1
    prepare(args.peer_python)
    model = next((line.split(":")[1].strip() for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines()
                  if line.startswith("model name")), platform.machine())
    print(f"{os.cpu_count()} cores, {model}; load {os.getloadavg()[0]:.2f} at the start")
    table = Table()
    peer, mine = steps(table, args, args.peer_python)
    utterances(table, args, args.peer_python)
    print(f"\npeer: torch {peer['torch']} ({peer['level']}, {peer['threads']} threads); ours: {mine['level']}, plan "
          f"{mine['plan_mib']} MiB. Median of {args.rounds} rounds' medians (least-most).")
    if args.json:
        args.json.write_text(json.dumps(table.rows, indent=1))
    if args.all:
        others(args.quick)


if __name__ == "__main__":
    main()

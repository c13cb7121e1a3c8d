#!/usr/bin/env python3
"""Instructions that the kernels take, counted by valgrind's callgrind: the same on a busy machine as on a quiet one.

    python3 tests/bench/instructions.py [--quick] [--against FILE] [--json FILE]

A training step of paper-optimized (4 clips of 501 frames, the first of the lengths that cpu_table.py draws), its
operations and the products they are made of; the mel spectrogram, the motion text and the whole prediction of a clip.
One thread and the level avx2 (valgrind 3.19 knows no AVX-512), or the one that AFFECT_CPU names. A figure is
instructions a call, whole, callees included; counts outside the step or the call (setting up, random weights) are not
taken. `--against`: a file that --json wrote before; tells the change of every figure in per cent. `--quick`: 3 clips of
12 frames, a clip of 1 s. Needs valgrind (apt-get install valgrind) and numpy; a quarter of an hour (valgrind does each
fused multiply-add in software), with --quick a minute.
"""

import argparse
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
STEP = ["affect_session_accumulate", "affect_session_step"]
PARTS = {"run_mel": "mel", "run_motion": "motion text", "run_prediction": "prediction"}


def read_calls(path):
    """{function: [calls, instructions of these calls with all they call]} of a callgrind output file.

    A call is `cfn=(number) name` (the name at its first mention only), `calls=N ...`, and a line whose last number is
    the cost."""
    names, calls = {}, collections.defaultdict(lambda: [0, 0])
    callee, counted = None, None
    for line in path.read_text().splitlines():
        if named := re.match(r"c?fn=\((\d+)\)(?: (.*))?$", line):
            number, name = named.groups()
            if name:
                names[number] = re.sub(r"\.(constprop|isra|part)\.\d+|'\d+$", "", name)
            if line.startswith("cfn="):
                callee = names[number]
        elif line.startswith("calls="):
            counted = int(line[6:].split()[0])
        elif counted is not None:
            calls[callee][0] += counted
            calls[callee][1] += int(line.split()[-1])
            counted = None
    return calls


def count(program, arguments, toggles, folder):
    """Runs it on one core under callgrind, which looks only within the functions of `toggles`."""
    output = folder / "callgrind.out"
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}",
               *(f"--toggle-collect={name}*" for name in toggles), BUILD / "bench" / program, *map(str, arguments)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", str(min(os.sched_getaffinity(0))), *command]  # one core: one thread
    done = subprocess.run(command, env={"AFFECT_CPU": "avx2", **os.environ}, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{program}: {done.stderr[-2000:]}")
    return read_calls(output)


def write_lengths(path):
    generator = np.random.default_rng(1)
    seconds = np.clip(np.exp(np.log(3.58) + 0.69 * generator.standard_normal(48)), 0.585, 16)
    path.write_text("".join(f"{min(1 + int(s * 16000 / 512), 501)}\n" for s in seconds))


def count_step(folder, quick):
    """Rows (figure, calls a step, instructions a step)."""
    write_lengths(folder / "lengths")
    calls = count("bench_step", ["--small", "FULL", 1] if quick else ["--clips", 4, folder / "lengths", 1], STEP, folder)
    n_steps = calls["affect_session_step"][0]
    total = sum(calls[name][1] for name in STEP)
    rows = [("training step", 1, total / n_steps)]
    for name, (n, cost) in sorted(calls.items(), key=lambda item: -item[1][1]):
        kernel = re.fullmatch(r"affect_cpu_(\w+)_(generic|avx2|avx512)", name)
        if kernel and kernel[1] != "run" and cost >= total / 1000:
            rows.append((kernel[1], n / n_steps, cost / n_steps))
    return rows


def count_utterance(folder, seconds):
    calls = count("bench_utterance", [folder, seconds, 2], PARTS, folder)
    return [(f"{what}, {seconds:g} s", 1, calls[name][1] / calls[name][0]) for name, what in PARTS.items()]


def show(rows, before):
    print("| figure | calls | instructions |" + (" change |" if before else ""))
    print("|---|---|---|" + ("---|" if before else ""))
    for name, n_calls, instructions in rows:
        change = f" {100 * (instructions / before[name] - 1):+.2f} % |" if name in before else " new |" if before else ""
        print(f"| {name} | {n_calls:g} | {instructions / 1e6:.3f} M |{change}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small shapes: to try it")
    parser.add_argument("--against", type=pathlib.Path, help="what --json wrote before")
    parser.add_argument("--json", type=pathlib.Path, help="also write the figures there")
    args = parser.parse_args()
    if not shutil.which("valgrind"):
        sys.exit("valgrind is not installed (apt-get install valgrind)")
    subprocess.run(["cmake", "-S", ROOT, "-B", BUILD], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", BUILD, "-j", str(os.cpu_count()), "--target", "bench_step", "bench_utterance"],
                   check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rows = count_step(folder, args.quick)
        for seconds in (1,) if args.quick else (16, 4.5):
            rows += count_utterance(folder, seconds)
    figures = {name: instructions for name, _, instructions in rows}
    show(rows, json.loads(args.against.read_text()) if args.against else {})
    if args.json:
        args.json.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()

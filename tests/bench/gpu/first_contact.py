"""The first minutes on a GPU that never ran this engine: nothing that hangs, crashes or is wrong stops the rest.

    python3 tests/bench/gpu/first_contact.py --programs PACK/bin --out FOLDER [--total 170]

PACK is what tests/bench/gpu/pack.sh makes. Each operation in each precision is a process of its own with a limit of its own;
its whole process group is killed at the limit. The truth, in double precision, is computed on the CPU beside it. What fails is
run once more with AFFECT_CUDA_DEBUG=1, which names the kernel. Then ten losses of a training, a timed step, and one profile.

FOLDER gets first_contact.json (everything), first_contact.txt (what was printed), profile.csv. Exit code: 0 all as it should
be, 1 something is not, whatever it is: all of it stands in the report.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

import op_cases
from gpu_lengths import lengths_like_iemocap

PRECISIONS = ("fp32", "tf32", "bf16")
# Of the loss before the first step, and of ten losses, as shares of the first: Adam's first steps follow the sign of a gradient,
# so that rounding moves the later ones (fp32 on a CPU: 1.3e-3).
LOSS_LIMITS = {"fp32": (1e-6, 2e-2), "tf32": (1e-3, 2e-2), "bf16": (1e-2, 2e-2)}


class Report:
    """Lines as they come, and the same as data."""

    def __init__(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.rows, self.began = folder, [], time.monotonic()
        self.text = open(folder / "first_contact.txt", "w")

    def add(self, verdict, what, detail="", **more):
        self.rows.append({"verdict": verdict, "what": what, "detail": detail, **more})
        line = f"{time.monotonic() - self.began:6.1f} {verdict:6} {what}{': ' if detail else ''}{detail}"
        print(line, flush=True)
        print(line, file=self.text, flush=True)

    def end(self):
        n_bad = sum(row["verdict"] not in ("ok", "info") for row in self.rows)
        self.add("info", "all", f"{len(self.rows)} lines, {n_bad} not ok")
        (self.folder / "first_contact.json").write_text(json.dumps(self.rows, indent=1) + "\n")
        self.text.close()
        return n_bad


def run(command, limit, environment=None):
    """(standard output and error, None) or (what was said, "HANG ..." or "CRASH ..."). The group is killed at the limit."""
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                               env={**os.environ, **(environment or {})}, start_new_session=True)
    try:
        said, _ = process.communicate(timeout=max(limit, 1))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        return said, f"HANG: more than {limit:.0f} s"
    if process.returncode:
        return said, f"CRASH: exit {process.returncode}: {' '.join(said[-300:].split())}"
    return said, None


def ask(command, request, limit, environment=None):
    """The arrays that run_ops answers to one request: (arrays, None) or (None, why)."""
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = pathlib.Path(folder, "request"), pathlib.Path(folder, "answer")
        asked.write_bytes(request)
        said, failure = run([*command, asked, answered], limit, environment)
        if failure:
            return None, failure
        try:
            return op_cases.read_answers(answered.read_bytes()), None
        except (OSError, ValueError) as error:
            return None, f"CRASH: no answer that can be read: {error}"


class FirstContact:
    def __init__(self, args):
        self.args, self.report = args, Report(args.out)
        self.ends = time.monotonic() + args.total
        self.truth = [args.programs / "run_ops64", "cpu", "fp32"]
        self.steps = ["--small"] if args.small else []
        self.n_losses = "2" if args.small else "10"
        self.lengths = args.out / "lengths.txt"
        self.lengths.write_text("".join(f"{n}\n" for n in lengths_like_iemocap(*((3, 12) if args.small else (48, 501)))))

    def left(self, limit):
        return max(1, min(limit, self.ends - time.monotonic()))

    def first_open(self):
        began = time.monotonic()
        _, failure = ask([self.args.programs / "run_ops", self.args.device, "fp32"], b"", self.left(60))
        self.report.add("FAIL" if failure else "ok", "open the device", failure or f"{time.monotonic() - began:.1f} s")
        return not failure

    def judge(self, precision, case, got):
        request = case.request()
        if case.operation == "conv1d":  # follow the device's y, as op_cases.check does
            y = got[0] if np.isfinite(got[0]).all() else np.zeros_like(got[0])
            request = case.request([*case.line[:-1], 1], [*case.inputs, y])
        right, failure = ask(self.truth, request, 120)
        if failure:
            return "NOTE", f"no truth: {failure}", {}
        errors = {name: op_cases.difference(g, r) for name, g, r in zip(case.outputs, got, right)}
        worst, limit = max(errors.values()), op_cases.LIMITS[precision]
        detail = f"{worst:.1e} of {limit:.0e}"
        if worst > limit:
            detail += " (" + ", ".join(f"{name} {error:.1e}" for name, error in errors.items()) + ")"
        return "ok" if worst <= limit else "WRONG", detail, errors

    def explain(self, precision, case):
        """The last kernel that a failing case named, run without recordings."""
        with tempfile.TemporaryDirectory() as folder:
            asked = pathlib.Path(folder, "request")
            asked.write_bytes(case.request())
            said, failure = run([self.args.programs / "run_ops", self.args.device, precision, asked, pathlib.Path(folder, "a")],
                                self.left(self.args.limit), {"AFFECT_CUDA_DEBUG": "1"})
        kernels = [line for line in said.splitlines() if line.startswith("cuda: ")]
        return f"debug: {failure or 'passes'}; last {kernels[-1] if kernels else 'none'}"

    def operation(self, precision, case):
        if time.monotonic() > self.ends - 30:
            return "LATE", "no time left", {}
        got, failure = ask([self.args.programs / "run_ops", self.args.device, precision], case.request(),
                           self.left(self.args.limit))
        if failure:
            return "FAIL", f"{failure}; {self.explain(precision, case)}", {}
        if len(got) != len(case.outputs):
            return "WRONG", f"{len(got)} arrays, not {len(case.outputs)}", {}
        return self.judge(precision, case, got)

    def operations(self):
        with concurrent.futures.ThreadPoolExecutor(self.args.at_once) as pool:
            waiting = {}
            for precision in self.args.precisions:
                listed = [case for case in op_cases.cases(self.args.sizes) if self.args.only in case.name]
                op_cases.drop_ties(listed, self.truth, precision)
                for case in listed:
                    waiting[pool.submit(self.operation, precision, case)] = precision, case
            for future in concurrent.futures.as_completed(waiting):
                precision, case = waiting[future]
                verdict, detail, errors = future.result()
                self.report.add(verdict, f"{precision} {case.name}", detail, errors=errors)

    def bench_step(self, program, *options, limit):
        said, failure = run([self.args.programs / program, *self.steps, *options], limit)
        return (None, failure) if failure else (json.loads(said.strip().splitlines()[-1]), None)

    def losses(self, truth):
        right, why = truth.result()
        for precision in self.args.precisions:
            got, failure = self.bench_step("bench_step", "--device", self.args.device, "--precision", precision, "--losses", self.n_losses,
                                           self.lengths, limit=self.left(40))
            if failure or why:
                self.report.add("FAIL" if failure else "NOTE", f"{precision} ten losses", failure or f"no truth: {why}")
                continue
            apart = np.abs(np.array(got["losses"]) - np.array(right["losses"])) / right["losses"][0]
            first = np.abs(np.array(got["probabilities"]) - np.array(right["probabilities"])).max()
            at_first, later = LOSS_LIMITS[precision]
            later = np.inf if self.args.small else later  # a training on three clips goes anywhere
            ok = np.isfinite(apart).all() and apart[0] <= at_first and apart.max() <= later
            self.report.add("ok" if ok else "WRONG", f"{precision} ten losses", f"first {apart[0]:.1e} of {at_first:.0e}, "
                            f"all {apart.max():.1e} of {later:.0e}, probabilities {first:.1e}", losses=got["losses"])

    def times(self):
        for precision in self.args.precisions:
            for what in (self.lengths, "FULL"):
                got, failure = self.bench_step("bench_step", "--device", self.args.device, "--precision", precision, "--block",
                                               "1" if self.args.small else "20", what, "1" if self.args.small else "7",
                                               limit=self.left(40))
                name = f"{precision} step, {'all clips 16 s' if what == 'FULL' else 'lengths of IEMOCAP'}"
                self.report.add("FAIL" if failure else "ok", name, failure or f"{1e3 * got['seconds']:.3f} ms", result=got)

    def profile(self):
        tool = shutil.which("ncu")
        if not tool:
            self.report.add("info", "profile", "ncu is not on this machine")
            return
        metrics = "gpu__time_duration.sum"  # one pass: more take a minute and longer
        said, failure = run([tool, "--clock-control", "none", "--csv", "--page", "raw", "--print-units", "base", "--metrics", metrics,
                             "--launch-count", "700", self.args.programs / "bench_step", *self.steps, "--device", self.args.device,
                             "--precision", self.args.precisions[-1], "--losses", "1", self.lengths], self.left(60),
                            {"AFFECT_CUDA_DEBUG": "1"})  # kernels of a graph are not seen one by one
        (self.report.folder / "profile.csv").write_text(said)
        self.report.add("FAIL" if failure else "ok", "profile", failure or "profile.csv")

    def all(self):
        if self.first_open():
            with concurrent.futures.ThreadPoolExecutor(1) as beside:
                truth = beside.submit(lambda: self.bench_step("bench_step64", "--losses", self.n_losses, self.lengths, limit=self.args.total))
                self.operations()
                self.times()
                self.losses(truth)
                self.profile()
        return self.report.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--sizes", choices=("paper", "small"), default="small", help="of operations")
    parser.add_argument("--only", default="", help="part of the names of operations")
    parser.add_argument("--limit", type=float, default=15, help="seconds of an operation")
    parser.add_argument("--total", type=float, default=170, help="seconds of everything")
    parser.add_argument("--at-once", type=int, default=4, help="operations side by side")
    parser.add_argument("--small", action="store_true", help="small steps: to try the script on a CPU or an emulated device")
    args = parser.parse_args()
    args.programs = args.programs.resolve()
    sys.exit(bool(FirstContact(args).all()))


if __name__ == "__main__":
    main()

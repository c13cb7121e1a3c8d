"""The GPU engine against PyTorch and against double precision, on a machine that has a GPU: one table.

    python3 tests/bench/gpu/gpu_table.py [STAGE...] [--programs FOLDER] [--out FOLDER]

The machine needs nvcc, gcc, CMake and a python3 with numpy and PyTorch; none of the libraries for sound, corpora and
service. cJSON, the one library that the network needs, comes in the folder that tests/bench/gpu/pack.sh makes elsewhere
(`--pack`); its finished programs can be run too (`--programs PACK/bin`), and then nothing is built here.

Stages, each of which can be run alone and keeps its result in the folder `--out`, so that a run that is cut off goes on
where it was (all, in this order, when none is named):

  system     device, driver, versions
  build      a reduced build (AFFECT_PARTS=network) into build-gpu/; not with --programs
  check      every operation, forward and backward, in fp32, tf32, bf16 against double on the CPU (op_cases.py), and what
             PyTorch's error on the same inputs is
  losses     the network's answers and 20 losses of a training in each precision against double; twice: the same bits?
  ours       seconds of a training step, of a BiLSTM, of an epoch, of trials side by side
  seeds      loss curves of whole trainings, three seeds in each precision: do they agree within the spread of seeds?
  peers      the same in PyTorch, all variants (gpu_peers.py)
  sanitizer  compute-sanitizer's memcheck and racecheck on the small cases of `check` and two small training steps
  profile    Nsight Compute: where a step's time goes, and what limits each kernel
  table      the results as markdown

A stage fits in ten minutes; `--seconds` bounds `peers`. What could not run is said in the table, never left out. Ours is
timed by a clock of the host around blocks of steps that end in a synchronisation, peers by CUDA events around blocks of
equal length; both are medians. `--small` shrinks everything: to try the script on a CPU or an emulated device.
"""

import argparse
import csv
import datetime
import io
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys

from gpu_lengths import lengths_like_iemocap
from gpu_report import markdown

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PRECISIONS = ("fp32", "tf32", "bf16")
TARGETS = ("run_ops", "run_ops64", "bench_step", "bench_step64", "bench_ops", "bench_epoch")


class Failed(Exception):
    """A command that did not do what it should; the text goes to the table."""


def say(text):
    print(f"== {datetime.datetime.now():%H:%M:%S} {text}", flush=True)


def run(command, timeout=560, environment=None):
    """Its standard output; Failed with the end of what it said."""
    try:
        done = subprocess.run([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=timeout, env=environment, cwd=ROOT)
    except FileNotFoundError:
        raise Failed(f"{command[0]} is not there") from None
    except subprocess.TimeoutExpired:
        raise Failed(f"more than {timeout} s: {command[0]}") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout)[-400:].split()).replace("|", "/")  # one cell of a table
        raise Failed(f"{pathlib.Path(str(command[0])).name}: exit {done.returncode}: {said}")
    return done.stdout


def last_json(text):
    return json.loads(text.strip().splitlines()[-1])


class Bench:
    def __init__(self, args):
        self.args, self.out = args, args.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.build = ROOT / "build-gpu"
        self.programs = args.programs or self.build / "bench"
        self.lengths = self.out / "lengths.txt"
        clips, frames = (3, 12) if args.small else (48, 501)
        self.lengths.write_text("".join(f"{n}\n" for n in lengths_like_iemocap(clips, frames)))
        self.small = ["--small"] if args.small else []

    @property
    def environment(self):
        """Where the plug-in is, and cuBLAS: the toolkit's, or the one that came with PyTorch."""
        environment = dict(os.environ)
        folders = [self.programs, self.programs.parent / "bin", self.programs.parent]
        plugin = next((f / "libaffect_cuda.so" for f in folders if (f / "libaffect_cuda.so").exists()), None)
        if plugin:
            environment.setdefault("AFFECT_CUDA_LIBRARY", str(plugin))
        found = [pathlib.Path("/usr/local/cuda/lib64")]
        found += [path.parent for entry in sys.path for path in pathlib.Path(entry).glob("nvidia/*/lib/libcublas.so*")]
        libraries = [str(path) for path in dict.fromkeys(found) if list(path.glob("libcublas.so.*"))]
        environment["LD_LIBRARY_PATH"] = ":".join(filter(None, [environment.get("LD_LIBRARY_PATH"), *libraries]))
        return environment

    def program(self, name):
        path = self.programs / name
        if not path.exists():
            raise Failed(f"no program {name} in {self.programs.name}/ (stage build, or --programs)")
        return path

    def ours(self, name, *options, timeout=300):
        return run([self.program(name), *options], timeout, self.environment)

    def each_precision(self, work):
        """{precision: what work gives, or {"failed": why}}."""
        found = {}
        for precision in self.args.precisions:
            try:
                found[precision] = work(precision)
            except Failed as failure:
                found[precision] = {"failed": str(failure)}
            say(f"{precision}: {json.dumps(found[precision])[:300]}")
        return found

    # Stages: each returns what is stored as OUT/STAGE.json.

    def system(self):
        def first(command, pattern=r"(.*)"):
            try:
                found = re.search(pattern, run(command, 60))
                return found[1].strip() if found else "?"
            except Failed as failure:
                return f"not there ({failure})"

        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,clocks.sm,clocks.max.sm", "--format=csv,noheader"]
        cpuinfo = pathlib.Path("/proc/cpuinfo")
        model = re.search(r"model name\s*: (.*)", cpuinfo.read_text() if cpuinfo.exists() else "")
        return {
            "date": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
            "device (name, driver, memory, clock, highest clock)": first(query),
            "host": f"{model[1] if model else platform.machine()}, {os.cpu_count()} processors, Linux {platform.release()}",
            "nvcc": first(["nvcc", "--version"], r"release ([\d., V]+)"),
            "gcc": first(["gcc", "--version"], r"\) (\S+)"),
            "torch": first([self.args.python, "-c", "import torch; print(torch.__version__, 'CUDA', torch.version.cuda, 'cuDNN', "
                            "torch.backends.cudnn.version())"]),
            "compute-sanitizer": first(["compute-sanitizer", "--version"], r"Version (\S+)"),
            "ncu": first(["ncu", "--version"], r"Version (\S+)"),
            "commit": first(["git", "-c", f"safe.directory={ROOT}", "rev-parse", "--short", "HEAD"]),
        }

    def build_here(self):
        if self.args.programs:
            return {"note": f"programs built elsewhere, from {self.args.programs}"}
        jobs = str(os.cpu_count())
        options = ["-DAFFECT_PARTS=network", f"-DCMAKE_PREFIX_PATH={self.args.pack.resolve()}", f"-DAFFECT_CUDA={self.args.cuda}"]
        if self.args.architectures:
            options.append(f"-DCMAKE_CUDA_ARCHITECTURES={self.args.architectures}")
        run(["cmake", "-S", ROOT, "-B", self.build, *options])
        run(["cmake", "--build", self.build, "-j", jobs, "--target", *TARGETS, *self.args.targets])
        return {"note": f"built here: {' '.join(options[:1] + options[2:])}"}

    def check(self):
        def one(precision):
            kept = self.out / f"check-{precision}.json"
            kept.unlink(missing_ok=True)
            run([self.args.python, HERE / "op_cases.py", "--programs", self.programs, "--device", self.args.device, "--precision",
                 precision, "--sizes", "small" if self.args.small else "paper", "--torch", "--json", kept, "--quiet"],
                560, self.environment)
            return json.loads(kept.read_text())

        return self.each_precision(one)

    def losses(self):
        steps = "2" if self.args.small else "20"
        truth = json.loads(self.ours("bench_step64", *self.small, "--losses", steps, self.lengths, timeout=500))

        def one(precision):
            once = [self.ours("bench_step", *self.small, "--device", self.args.device, "--precision", precision, "--losses",
                              steps, self.lengths) for _ in range(2)]
            found = json.loads(once[0])
            return {"probabilities": found["probabilities"], "losses": found["losses"], "same_bits": once[0] == once[1]}

        return {"truth": truth, "device": self.each_precision(one)}

    def times(self):
        repeats, block = ("2", "1") if self.args.small else ("7", "10")

        def one(precision):
            on = ["--device", self.args.device, "--precision", precision]
            step = lambda what: last_json(self.ours("bench_step", *self.small, *on, "--block", block, what, repeats))  # noqa: E731
            found = {"step": step(self.lengths), "step, all clips 16 s": step("FULL")}
            found["ops"] = last_json(self.ours("bench_ops", *on, "4" if self.args.small else "501"))
            for name, members in (("epoch", {}), ("trials", {"trials": 8})):
                try:
                    found[name] = self.epochs({"device": self.args.device, "precision": precision, **members})
                except Failed as failure:
                    unknown = "unknown field" in str(failure)
                    found[name] = {"failed": "the engine trains one at a time" if unknown else str(failure)}
            return found

        return self.each_precision(one)

    def train(self, members):
        """What a real training on made-up features says of its epochs. --small: 10 clips, 2 epochs."""
        clips = "10" if self.args.small else "5521"
        if self.args.small:
            members = {**members, "training": {**members.get("training", {}), "epochs": 2, "batch_size": 4}}
        return last_json(self.ours("bench_epoch", self.args.scratch, clips, json.dumps(members), timeout=400))["epochs"]

    def epochs(self, members):
        """Seconds of an epoch. Of each trial the first one warms up, and in the last some trials may be done."""
        seconds = [epoch["seconds"] for epoch in self.train({**members, "training": {"epochs": 6, "batch_size": 48}})]
        n = len(seconds) // members.get("trials", 1)
        middle = [s for i, s in enumerate(seconds) if 0 < i % n < max(n - 1, 2)]
        return {"seconds": statistics.median(middle), "all": seconds}

    def seeds(self):
        def one(precision):
            training = {"epochs": 10, "batch_size": 48}
            return [self.train({"device": self.args.device, "precision": precision, "training": {**training, "seed": seed}})
                    for seed in (1, 2, 3)]

        return self.each_precision(one)

    def peers(self):
        kept = self.out / "peers-lines.json"
        command = [self.args.python, HERE / "gpu_peers.py", "--device", self.args.device.split(":")[0], "--seconds",
                   self.args.seconds, "--json", kept, "--precisions", *reversed(self.args.precisions)]
        if self.args.small:
            command += ["--small", "--no-compile", "--blocks", "2", "--inner", "1"]
        text = run(command, self.args.seconds + 100)
        return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

    def joined(self, stage, result):
        """With --keep: what an earlier run of the stage said of other precisions stays."""
        path = self.out / f"{stage}.json"
        if not self.args.keep or not path.exists():
            return result
        old = json.loads(path.read_text())
        if isinstance(old, list) and isinstance(result, list):
            return result + [r for r in old if r.get("precision") not in ("", *self.args.precisions)]
        if stage in ("check", "ours", "seeds", "profile", "sanitizer") and "failed" not in {*old, *result}:
            return {**old, **result}
        return result

    def sanitizer(self):
        tool = shutil.which("compute-sanitizer") or shutil.which("/usr/local/cuda/bin/compute-sanitizer")
        if not tool:
            raise Failed("compute-sanitizer is not on this machine")
        found = {}
        for check in ("memcheck", "racecheck"):
            for precision in self.args.precisions:
                under = [tool, "--tool", check, "--report-api-errors", "no", "--error-exitcode", "9"]
                try:
                    run([self.args.python, HERE / "op_cases.py", "--programs", self.programs, "--device", self.args.device,
                         "--precision", precision, "--sizes", "small", "--quiet", "--prefix", *under], 280, self.environment)
                    run([*under, self.program("bench_step"), "--small", "--device", self.args.device, "--precision", precision,
                         "--losses", "2"], 280, self.environment)
                    found[f"{check}, {precision}"] = "clean"
                except Failed as failure:
                    found[f"{check}, {precision}"] = str(failure)
                say(f"{check}, {precision}: {found[f'{check}, {precision}'][:300]}")
        return found

    def profile(self):
        """{precision: [kernels by time]}: share of the step, and the highest of the device's throughputs: what limits it."""
        tool = shutil.which("ncu")
        if not tool:
            raise Failed("ncu (Nsight Compute) is not on this machine")
        metrics = {"time": "gpu__time_duration.sum", "sm": "sm__throughput.avg.pct_of_peak_sustained_elapsed",
                   "memory": "gpu__compute_memory_throughput.avg.pct_of_peak_sustained_elapsed",
                   "tensor": "sm__pipe_tensor_cycles_active.avg.pct_of_peak_sustained_active",
                   "warps": "sm__warps_active.avg.pct_of_peak_sustained_active"}

        def page(precision, names):
            text = run([tool, "--clock-control", "none", "--csv", "--page", "raw", "--print-units", "base", "--metrics",
                        ",".join(metrics[name] for name in names), "--launch-count", "2000", self.program("bench_step"),
                        *self.small, "--device", self.args.device, "--precision", precision, "--losses", "1", self.lengths],
                       280, self.environment)
            (self.out / f"profile-{precision}.csv").write_text(text)
            return kernels_of(text, metrics)

        def one(precision):
            try:
                return page(precision, list(metrics))
            except Failed as failure:  # a metric may be unknown to this ncu
                say(f"{precision}: {failure}; again with fewer metrics")
                return page(precision, ["time", "sm", "memory"])

        return self.each_precision(one)

    def table(self):
        results = {}
        for stage in STAGES:
            path = self.out / f"{stage}.json"
            results[stage] = json.loads(path.read_text()) if path.exists() else {"failed": "not run"}
        text = markdown(results, self.args)
        (self.out / "gpu.md").write_text(text)
        print(text)
        return {"file": "gpu.md"}


def number_of(text):
    """Of a cell of ncu's page; 0 where it has none."""
    try:
        return float(text.replace(",", ""))
    except (AttributeError, ValueError):
        return 0.0


def kernels_of(text, metrics):
    """Kernels by the time they take, from ncu's raw page (two header lines: names, units)."""
    lines = [line for line in text.splitlines() if line.startswith('"')]
    if len(lines) < 3:
        raise Failed("ncu reported no kernel")
    rows = [row for row in csv.DictReader(io.StringIO("\n".join(lines))) if row.get("ID")]
    kernels = {}
    for row in rows:
        entry = kernels.setdefault(row["Kernel Name"].split("(")[0], {"launches": 0, "time": 0.0})
        value = {name: number_of(row.get(metric)) for name, metric in metrics.items()}
        entry["launches"] += 1
        entry["time"] += value["time"]
        for name in ("sm", "memory", "tensor", "warps"):
            entry[name] = entry.get(name, 0.0) + value[name] * value["time"]
    total = sum(entry["time"] for entry in kernels.values()) or 1.0
    found = []
    for name, entry in sorted(kernels.items(), key=lambda item: -item[1]["time"]):
        means = {key: entry[key] / (entry["time"] or 1.0) for key in ("sm", "memory", "tensor", "warps")}
        found.append({"kernel": name, "launches": entry["launches"], "microseconds": entry["time"] / 1e3,
                      "share": entry["time"] / total, **means})
    return found


STAGES = {"system": Bench.system, "build": Bench.build_here, "check": Bench.check, "losses": Bench.losses, "ours": Bench.times,
          "seeds": Bench.seeds,          "peers": Bench.peers, "sanitizer": Bench.sanitizer, "profile": Bench.profile}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join([*STAGES, "table"]))
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build-gpu" / "results")
    parser.add_argument("--programs", type=pathlib.Path, help="folder of programs built elsewhere")
    parser.add_argument("--pack", type=pathlib.Path, default=ROOT / "build" / "gpu-pack", help="what pack.sh made: holds cJSON")
    parser.add_argument("--scratch", type=pathlib.Path, default=ROOT / "build-gpu" / "epoch", help="2 GB for made-up features")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cuda", default="ON", help="AFFECT_CUDA of the build")
    parser.add_argument("--architectures", default="", help="CMAKE_CUDA_ARCHITECTURES of the build")
    parser.add_argument("--targets", nargs="*", default=["affect_cuda"], help="of the build, beside the benches")
    parser.add_argument("--precisions", nargs="+", default=list(PRECISIONS), choices=PRECISIONS)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with PyTorch and numpy")
    parser.add_argument("--seconds", type=float, default=480, help="of the stage peers")
    parser.add_argument("--keep", action="store_true", help="results of other precisions stay: to run a stage in parts")
    parser.add_argument("--small", action="store_true")
    args = parser.parse_args()
    unknown = set(args.stages) - set(STAGES) - {"table"}
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))} (there are {', '.join([*STAGES, 'table'])})")
    for name in ("out", "scratch", "programs"):
        if getattr(args, name):
            setattr(args, name, getattr(args, name).resolve())
    bench = Bench(args)
    for stage in args.stages or [*STAGES, "table"]:
        say(stage)
        if stage == "table":
            bench.table()
            continue
        try:
            result = STAGES[stage](bench)
        except Failed as failure:
            result = {"failed": str(failure)}
        (bench.out / f"{stage}.json").write_text(json.dumps(bench.joined(stage, result), indent=1) + "\n")
        say(f"{stage}: {json.dumps(result)[:400]}")


if __name__ == "__main__":
    main()

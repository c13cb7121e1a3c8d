"""Runs `affect` from the experiments of this folder: imports, trainings, a few at a time.

A training's events are kept as OUT/<name>/events.jsonl; one that has ended well is not done again,
so an experiment that was stopped goes on where it was.
"""
import concurrent.futures
import json
import os
import pathlib
import platform
import subprocess
import sys
import time


def machine():
    """One line for reports: processor, cores, system."""
    model = "unknown processor"
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines()
                 if line.startswith("model name")]
        model = names[0] if names else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def read_events(path):
    """The events of a file, or [] where there is none. A cut last line is left out."""
    events = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            events.append(json.loads(line))
        except ValueError:
            break
    return events


def is_done(events):
    return bool(events) and events[-1].get("event") == "end" and \
        events[-1].get("state") == "succeeded"


def import_tree(affect, tree, out, name, features):
    """OUT/<name>, a dataset's folder; features as in `affect import --features`."""
    dataset = out / name
    if not (dataset / "dataset.json").exists():
        subprocess.run([affect, "import", tree, "--store", out / "store", "-o", dataset, "-n", name,
                        "--features", json.dumps(features)],
                       check=True, stdout=subprocess.DEVNULL)
    return dataset


def train(affect, out, name, spec):
    """One training; returns its events. spec: the job specification less "output"."""
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "events.jsonl"
    if is_done(read_events(log)):
        return read_events(log)
    (folder / "spec.json").write_text(json.dumps(spec | {"output": str(folder)}, indent=1))
    began = time.monotonic()
    with open(log, "w") as stream:
        done = subprocess.run([affect, "train", "--spec", folder / "spec.json", "--events"],
                              stdout=stream, stderr=subprocess.PIPE, text=True)
    for model in folder.glob("*.safetensors"):  # 15 MB each; the numbers are in the events
        model.unlink()
    events = read_events(log)
    if done.returncode != 0 or not is_done(events):
        raise RuntimeError(f"{name}: {events[-1:]} {done.stderr.strip()}")
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return events


def train_all(affect, out, specs, n_parallel):
    """{name: events} of {name: spec}, n_parallel at once, in order."""
    with concurrent.futures.ThreadPoolExecutor(n_parallel) as pool:
        running = {name: pool.submit(train, affect, out, name, spec)
                   for name, spec in specs.items()}
        return {name: job.result() for name, job in running.items()}


def epochs_of(events):
    return [event for event in events if event.get("event") == "epoch"]

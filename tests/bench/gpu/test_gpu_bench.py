"""The GPU's benches on shapes that a CPU and an emulated device can do: every stage runs, errors are found, nothing is
left out silently. What the figures say needs a GPU; what the scripts do with them does not."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

np = pytest.importorskip("numpy")
HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path.insert(0, str(HERE))

import gpu_report
import gpu_table
import op_cases

BUILD = pathlib.Path(os.environ.get("AFFECT_BUILD_DIR", ROOT / "build"))
EMULATED = BUILD / "tests" / "libaffect_cuda_host.so"


@pytest.fixture(scope="module")
def programs():
    if not (BUILD / "CMakeCache.txt").exists():
        pytest.skip("nothing is built (AFFECT_BUILD_DIR)")
    subprocess.run(["cmake", "--build", BUILD, "-j", str(os.cpu_count()), "--target", *gpu_table.TARGETS], check=True,
                   stdout=subprocess.DEVNULL)
    return BUILD / "bench"


def with_torch():
    """An interpreter with PyTorch and numpy, or None."""
    for python in dict.fromkeys([sys.executable, "/usr/bin/python3"]):
        if shutil.which(python) and subprocess.run([python, "-c", "import torch, numpy"], capture_output=True).returncode == 0:
            return python
    return None


def emulated(environment=None):
    return {**os.environ, **(environment or {}), "AFFECT_CUDA_LIBRARY": str(EMULATED)}


def device_missing(programs, precision="fp32"):
    """Why the emulated device cannot be opened, or None."""
    if not EMULATED.exists():
        return f"no {EMULATED.name} in this build"
    done = subprocess.run([programs / "run_ops", "cuda", precision, os.devnull, os.devnull], env=emulated(), capture_output=True,
                          text=True)
    return done.stderr.strip() if done.returncode else None


def test_the_cpu_agrees_with_double_precision(programs):
    rows, more = op_cases.check(programs, "cpu", "fp32", "small")
    assert [row["case"] for row in rows if not row["ok"]] == []
    assert len(rows) == len({row["case"] for row in rows}) >= 28
    assert all(len(row["errors"]) >= 1 for row in rows) and more["ties"] < 0.05
    assert {case.operation for case in op_cases.cases("small")} == {case.operation for case in op_cases.cases("paper")}


# Operations that compute nothing: memory, transfers, order, a name.
PLUMBING = {"free", "synchronize", "allocate", "deallocate", "zero", "copy", "upload", "download", "put", "record_begin",
            "record_end", "fork", "use_stream", "join", "allocate_host", "deallocate_host", "mark", "wait_for", "memory_free", "gemm_library"}


def test_every_operation_is_tried(programs):
    """The list that engine/device/operations.h makes: each operation has a request, named as it is without the ending that
    tells forward from backward, and each request has a case."""
    named, requests = op_cases.operations(programs)
    assert named >= PLUMBING and len(named) > 50
    families = {re.sub(r"_(forward|backward|infer|workspace|switches|reserve|step|rows|runs)$", "", name) for name in named - PLUMBING}
    assert families - {re.sub(r"_step$", "", name) for name in requests} == set()
    assert requests == {case.operation for case in op_cases.cases("small")}


@pytest.mark.parametrize("precision", op_cases.LIMITS)
@pytest.mark.parametrize("device", ["90,132,227", "90,1,227", "86,2,99"])
def test_the_emulated_device_agrees_with_double_precision(programs, precision, device):
    """An H200; one whose single multiprocessor must loop over all there is; one with less room on the chip."""
    missing = device_missing(programs, precision)
    if missing:
        pytest.skip(missing)
    rows, _ = op_cases.check(programs, "cuda", precision, "small", emulated({"AFFECT_CUDA_HOST_DEVICE": device}))
    assert [(row["case"], row["errors"]) for row in rows if not row["ok"]] == []


@pytest.mark.parametrize("precision", op_cases.LIMITS)
def test_a_gpu_agrees_with_double_precision(programs, precision):
    environment = {**os.environ, "AFFECT_CUDA_LIBRARY": str(BUILD / "bin" / "libaffect_cuda.so")}
    asked = subprocess.run([BUILD / "bin" / "affect", "inspect", "--devices", "--json"], env=environment, capture_output=True,
                           text=True, check=True)
    missing = json.loads(asked.stdout)["cuda_unavailable"]
    if missing:
        pytest.skip(f"no GPU: {missing}")
    rows, _ = op_cases.check(programs, "cuda", precision, "small", environment)
    assert [(row["case"], row["errors"]) for row in rows if not row["ok"]] == []


@pytest.mark.parametrize("change", ["data[-8:] = struct.pack('d', struct.unpack('d', data[-8:])[0] + 1e-2)",
                                    "data[-8:] = struct.pack('d', float('nan'))"])
def test_a_wrong_number_is_found(programs, tmp_path, change):
    """A device whose very last answer (an element of Adam's or a copy's output) is off."""
    shutil.copy(programs / "run_ops64", tmp_path / "run_ops64")
    wrong = tmp_path / "run_ops"
    wrong.write_text(f"#!{sys.executable}\nimport pathlib, struct, subprocess, sys\n"
                     f"subprocess.run([{str(programs / 'run_ops')!r}, *sys.argv[1:]], check=True)\n"
                     f"path = pathlib.Path(sys.argv[4])\ndata = bytearray(path.read_bytes())\n{change}\npath.write_bytes(data)\n")
    wrong.chmod(0o755)
    rows, _ = op_cases.check(tmp_path, "cpu", "fp32", "small")
    assert [row["case"] for row in rows if not row["ok"]] == ["copies of rows and runs"]


def test_a_device_that_fails_is_an_error_not_a_result(programs):
    with pytest.raises(RuntimeError, match="run_ops.*cuda:99|CUDA|device"):
        op_cases.check(programs, "cuda:99", "fp32", "small")


def run_table(tmp_path, programs, device, precisions, environment=None, stages=()):
    python = with_torch()
    command = [sys.executable, HERE / "gpu_table.py", *stages, "--small", "--programs", programs, "--device", device, "--out",
               tmp_path / "out", "--scratch", tmp_path / "scratch", "--seconds", "100", "--precisions", *precisions]
    if python:
        command += ["--python", python]
    done = subprocess.run(list(map(str, command)), env=environment or dict(os.environ), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-3000:]
    read = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "out").glob("*.json")}
    return read, (tmp_path / "out" / "gpu.md").read_text(), python


def test_every_stage_on_the_cpu(programs, tmp_path):
    read, text, python = run_table(tmp_path, programs, "cpu", ["fp32"])
    assert read["check"]["fp32"]["worst"] < 1e-5 and all(row["ok"] for row in read["check"]["fp32"]["rows"])
    losses = read["losses"]["device"]["fp32"]
    assert losses["same_bits"] and gpu_report.distance(losses["losses"], read["losses"]["truth"]["losses"]) < 1e-3
    assert gpu_report.distance(losses["probabilities"], read["losses"]["truth"]["probabilities"]) < 1e-6
    ours = read["ours"]["fp32"]
    assert ours["step"]["seconds"] > 0 and ours["ops"]["bilstm"] > 0 and ours["epoch"]["seconds"] > 0
    for stage, tool in (("sanitizer", "compute-sanitizer"), ("profile", "ncu")):
        if not shutil.which(tool):
            assert f"not run: {read[stage]['failed']}" in text and tool in text
    assert "small shapes" in text and "reached" not in text and "MISSED" not in text
    if not python:
        pytest.skip("no interpreter with PyTorch: the stage peers was not tried")
    peers = {(r["what"], r.get("mode"), r.get("memory")): r for r in read["peers"]}
    assert peers["header", None, None]["parameters"] == ours["step"]["parameters"], "the peer is another network"
    assert "They differ" not in text
    for what in ("step", "step, all clips 16 s", "step, padding computed once", "epoch", "bilstm"):
        assert any(key[0] == what and "seconds" in r for key, r in peers.items()), what
    torch = [row for row in read["check"]["fp32"]["rows"] if "torch" in row]
    assert len(torch) >= 7 and all(row["torch"] < 1e-5 and row["against_torch"] < 2e-5 for row in torch)


def test_an_emulated_device_goes_through_check_losses_and_times(programs, tmp_path):
    missing = device_missing(programs)
    if missing:
        pytest.skip(missing)
    read, text, _ = run_table(tmp_path, programs, "cuda", ["fp32"], emulated(), ["check", "losses", "table"])
    assert all(row["ok"] for row in read["check"]["fp32"]["rows"])
    losses = read["losses"]["device"]["fp32"]
    assert losses["same_bits"] and gpu_report.distance(losses["losses"], read["losses"]["truth"]["losses"]) < 1e-3
    assert "| training step, IEMOCAP's lengths | fp32 | not run" in text


TOOLS = {  # in place of NVIDIA's: they run the program, and say what the real ones would
    "compute-sanitizer": 'while [ "${{1#-}}" != "$1" ]; do shift 2; done\n"$@" || exit 1\nexit {code}\n',
    "ncu": 'while [ "${{1#-}}" != "$1" ]; do case $1 in --csv) shift ;; *) shift 2 ;; esac; done\n"$@" >/dev/null || exit 1\n'
           'echo "==PROF== Connected"\n'
           'echo \'"ID","Kernel Name","gpu__time_duration.sum","sm__throughput.avg.pct_of_peak_sustained_elapsed"\'\n'
           'echo \'"","","ns","%"\'\necho \'"0","walk(int)","2000","70"\'\nexit {code}\n',
}


@pytest.mark.parametrize("code", [0, 9])
def test_the_tools_are_run_and_what_they_find_is_told(programs, tmp_path, code):
    for name, script in TOOLS.items():
        (tmp_path / name).write_text("#!/bin/sh\n" + script.format(code=code))
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    read, text, _ = run_table(tmp_path, programs, "cpu", ["fp32"], environment, ["sanitizer", "profile", "table"])
    if code == 0:
        assert read["sanitizer"] == {"memcheck, fp32": "clean", "racecheck, fp32": "clean"}
        assert "| `walk` | 1 | 2.0 | 100% | 70 % |" in text and "| arithmetic |" in text
    else:
        assert all("exit" in found for found in read["sanitizer"].values()) and ": clean" not in text
        assert "exit 9" in read["profile"]["fp32"]["failed"]


def test_a_missing_device_is_said_in_the_table(programs, tmp_path):
    read, text, _ = run_table(tmp_path, programs, "cuda:99", ["bf16"], stages=["check", "losses", "ours", "table"])
    assert "Traceback" not in text and all(line.endswith("|") for line in text.splitlines() if line.startswith("|"))
    assert "failed" in read["ours"]["bf16"] and "failed" in read["losses"]["device"]["bf16"]
    assert text.count("not run") > 8 and "| bf16 | not run: " in text


def results(step=1e-3, parameters=1129572):
    """As the stages leave them, made up."""
    ours = {"step": {"seconds": step, "parameters": parameters}, "step, all clips 16 s": {"seconds": 2e-3},
            "ops": {"bilstm": 1e-3}, "epoch": {"seconds": 0.3}, "trials": {"seconds": 0.4}}
    variant = {"precision": "bf16", "mode": "graph", "memory": "channels_last", "weights": "bf16", "least": 1, "most": 2}
    peers = [{"what": "header", "parameters": 1129572}, {"what": "step", **variant, "seconds": 7e-3},
             {"what": "step", **variant, "mode": "eager", "seconds": 9e-3}, {"what": "step", **variant, "failed": "no time left"},
             {"what": "step, all clips 16 s", **variant, "seconds": 7e-3}, {"what": "bilstm", **variant, "seconds": 6e-3},
             {"what": "epoch", **variant, "seconds": 1.5}]
    missing = {"failed": "not run"}
    run = lambda *losses: [{"loss": x, "val_loss": x, "val_accuracy": 0.5} for x in losses]  # noqa: E731
    return {"system": {"date": "today"}, "build": {"note": "here"}, "check": missing, "losses": missing, "ours": {"bf16": ours},
            "seeds": {"fp32": [run(3, 1.0), run(3.2, 1.2)], "bf16": [run(3, 1.1), run(3.2, 1.4)]},
            "peers": peers, "sanitizer": {"memcheck, bf16": "clean", "racecheck, bf16": "exit 9"}, "profile": missing}


class Arguments:
    precisions, small = ["bf16"], False


def row_of(text, name):
    return next(line for line in text.splitlines() if line.startswith(f"| {name}"))


def test_the_report_takes_the_best_peer_and_judges():
    text = gpu_report.markdown(results(), Arguments)
    step = row_of(text, "training step, IEMOCAP")
    assert "7 ms (graph" in step and "7.00x" in step and "at least 6x: reached" in step
    assert "3.50x" in row_of(text, "training step, all clips") and "MISSED" in row_of(text, "training step, all clips")
    assert "at most 0.4 s: reached" in row_of(text, "epoch")
    assert "6.00x" in row_of(text, "8 trials") and "reached" in row_of(text, "8 trials")
    assert "not run: no time left" in text and "racecheck, bf16: **exit 9**" in text
    assert "MISSED" in row_of(gpu_report.markdown(results(step=2e-3), Arguments), "training step, IEMOCAP")
    assert "times its estimated floor" in text


def test_the_report_compares_curves_within_the_spread_of_seeds():
    class Both(Arguments):
        precisions = ["fp32", "bf16"]

    assert "0.75 spreads: within" in gpu_report.markdown(results(), Both)  # means 1.25 and 1.1, spread 0.2
    far = results()
    far["seeds"]["bf16"][0][0]["val_loss"] = 9
    assert "**not within**" in gpu_report.markdown(far, Both)


def test_the_report_refuses_to_compare_different_networks():
    assert "They differ" in gpu_report.markdown(results(parameters=1), Arguments)
    assert "They differ" not in gpu_report.markdown(results(), Arguments)


def test_a_stage_can_be_run_in_parts(tmp_path):
    class Parts:
        keep, precisions = True, ["bf16"]

    bench = gpu_table.Bench.__new__(gpu_table.Bench)
    bench.args, bench.out = Parts, tmp_path
    (tmp_path / "ours.json").write_text('{"fp32": 1, "bf16": 2}')
    (tmp_path / "peers.json").write_text('[{"what": "header", "precision": ""}, {"precision": "fp32"}, {"precision": "bf16"}]')
    assert bench.joined("ours", {"bf16": 3}) == {"fp32": 1, "bf16": 3}
    new = [{"what": "header", "precision": ""}, {"precision": "bf16", "seconds": 1}]
    assert bench.joined("peers", new) == [*new, {"precision": "fp32"}]
    Parts.keep = False
    assert bench.joined("ours", {"bf16": 3}) == {"bf16": 3}


def test_kernels_are_added_up_from_the_profilers_page():
    metrics = {"time": "t", "sm": "s", "memory": "m", "tensor": "x", "warps": "w"}
    header = '"ID","Kernel Name","t","s","m","x","w"\n"","","ns","%","%","%","%"\n'
    rows = '"0","lstm(float *)","1,000","10","20","0","5"\n"1","conv(int)","3000","80","40","0","50"\n"2","lstm(float *)","1000","30","20","0","5"\n'
    found = gpu_table.kernels_of("==PROF== noise\n" + header + rows, metrics)
    assert [k["kernel"] for k in found] == ["conv", "lstm"]
    assert found[1]["launches"] == 2 and found[1]["sm"] == pytest.approx(20) and found[1]["share"] == pytest.approx(0.4)
    with pytest.raises(gpu_table.Failed):
        gpu_table.kernels_of("==ERROR== nothing", metrics)


def test_a_pack_runs_without_our_libraries(tmp_path):
    """pack.sh itself tries the folder in a root of its own, as root; here without CUDA, to be quick."""
    if not shutil.which("pkg-config") or os.geteuid() != 0:
        pytest.skip("needs root: chroot and a mount namespace")
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("no mount namespace can be made here")
    done = subprocess.run([HERE / "pack.sh", tmp_path / "pack", "-DAFFECT_CUDA=OFF"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-1500:] + done.stderr[-1500:]
    assert "runs in a root that holds the folder and glibc alone" in done.stdout
    assert not (tmp_path / "pack" / "bin" / "libaffect_cuda.so").exists()
    assert {path.name for path in (tmp_path / "pack" / "bin").iterdir()} >= set(gpu_table.TARGETS)
    assert (tmp_path / "pack" / "include" / "cjson" / "cJSON.h").exists()


def test_a_stage_that_does_not_exist_is_refused(tmp_path):
    done = subprocess.run([sys.executable, HERE / "gpu_table.py", "chek", "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 2 and "no stage chek" in done.stderr


INJECTED = """#!{python}
import os, pathlib, struct, subprocess, sys, time
request = pathlib.Path(sys.argv[3]).read_bytes()
if sys.argv[2] == "tf32" and request.startswith(b"dropout "):
    subprocess.Popen(["sleep", "600"])  # a child that outlives it
    time.sleep(600)
if sys.argv[2] == "bf16" and request.startswith(b"adam_step "):
    os.abort()
code = subprocess.run([{program!r}, *sys.argv[1:]]).returncode
if sys.argv[2] == "fp32" and request.startswith(b"l2_penalty "):
    path = pathlib.Path(sys.argv[4])
    data = bytearray(path.read_bytes())
    data[-8:] = struct.pack("d", struct.unpack("d", data[-8:])[0] + 1e-2)
    path.write_bytes(data)
sys.exit(code)
"""


def test_first_contact_reports_a_hang_a_crash_and_a_wrong_result_and_goes_on(programs, tmp_path):
    missing = device_missing(programs)
    if missing:
        pytest.skip(missing)
    for name in ("run_ops64", "bench_step", "bench_step64"):
        os.symlink(programs / name, tmp_path / name)
    (tmp_path / "run_ops").write_text(INJECTED.format(python=sys.executable, program=str(programs / "run_ops")))
    (tmp_path / "run_ops").chmod(0o755)
    done = subprocess.run([sys.executable, HERE / "first_contact.py", "--programs", tmp_path, "--out", tmp_path / "out",
                           "--small", "--limit", "5", "--total", "150", "--at-once", "2"], env=emulated(), capture_output=True,
                          text=True, timeout=200)
    rows = json.loads((tmp_path / "out" / "first_contact.json").read_text())
    bad = {row["what"]: row["verdict"] + " " + row["detail"] for row in rows if row["verdict"] not in ("ok", "info")}
    assert done.returncode == 1 and set(bad) == {"tf32 dropout", "bf16 Adam", "fp32 L2 penalty"}, (bad, done.stdout[-2000:])
    assert "HANG: more than 5 s" in bad["tf32 dropout"] and "CRASH: exit -6" in bad["bf16 Adam"]
    assert bad["fp32 L2 penalty"].startswith("WRONG") and len(rows) > 3 * 38
    assert len(list((tmp_path / "out").iterdir())) <= 8
    assert subprocess.run(["pgrep", "-f", "sleep 600"], capture_output=True).stdout == b"", "its child is gone too"

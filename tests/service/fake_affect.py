#!/usr/bin/env python3
"""A worker and a predictor that compute nothing: what the service's tests run instead of `affect`.

Speaks the same protocols: `fake_affect.py train|import|evaluate --spec FILE --events --supervised`
writes event lines, `predict --serve` answers packets on descriptor 3. What it does is told by the
job's specification: `variables` of a train job, the name of an import, the first bytes of a prediction's
audio; AFFECT_CUDA_FAKE, which the server passes on, for `inspect --devices`.

  variables: {"fake": "epochs", "delay_ms": 5, "pad": 100}   epochs at that pace, padded
             {"fake": "crash" | "hang" | "exit" | "garbage" | "protocol" | "diverge" | "long" | "last_words" | "apart" | "held"}
"""
import argparse
import array
import ctypes
import json
import os
import signal
import socket
import struct
import sys
import threading
import time

stopped = threading.Event()


def watch_stdin():
    while os.read(0, 1):
        pass
    stopped.set()


def tell(event, /, **members):
    os.write(1, (json.dumps({"event": event, **members}) + "\n").encode())


def end(state, reason=None, error=None, result=None):
    tell("end", state=state, reason=reason, error=error, result=result)
    sys.exit(0 if state == "succeeded" else 1)


def write_model(path, labels=("angry", "happy", "neutral", "sad")):
    """The smallest safetensors file with a model's metadata."""
    metadata = {
        "format": json.dumps("affect-model-1"),
        "architecture": json.dumps({"name": "fake"}),
        "labels": json.dumps(list(labels)),
        "dataset": json.dumps({"name": "fake", "digest": "0" * 64}),
        "metrics": json.dumps({"accuracy": 0.5}),
    }
    header = json.dumps(
        {
            "__metadata__": metadata,
            "fusion.output.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        }
    ).encode()
    header += b" " * (-len(header) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 0.25, 0.75))


def fork_apart(seize=0):
    """A process outside of our group that holds our descriptors for a while; or that traces the process `seize`, which
    cannot be reaped then: like one that hangs in a driver."""
    ready, done = os.pipe()
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_long(-1), 0, 0, 0)  # PR_SET_PTRACER, any
    if os.fork() == 0:
        os.setsid()
        if seize:
            os.closerange(0, done)
            ctypes.CDLL(None).ptrace(0x4206, seize, None, None)  # PTRACE_SEIZE
        os.write(done, b".")
        time.sleep(12)
        os._exit(0)
    os.read(ready, 1)


def misbehave(how):
    if how == "apart":
        fork_apart()
    if how == "held":
        fork_apart(os.getpid())
    if how == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "lost":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "exit":
        sys.exit(3)
    if how == "hang":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            time.sleep(1)
    if how == "garbage":
        os.write(1, b"this is no JSON\n[1, 2]\n" + b"\xff\xfe\n")
    if how == "long":
        os.write(1, b'{"event":"log","message":"' + b"x" * (5 << 20) + b'"}\n')
    if how == "diverge":
        end("failed", "diverged", {"code": "diverged", "message": "the loss is not a number"})
    if how == "last_words":
        os.write(2, b"x" * 60000 + b"the reason\n")
        os.kill(os.getpid(), signal.SIGABRT)
    if how == "stderr":
        os.write(2, b"noise\n" * (1 << 20))


def train(spec):
    told = spec.get("variables") or {}
    epochs = int((spec.get("training") or {}).get("epochs", 100))
    delay = told.get("delay_ms", 0) / 1000
    misbehave(told.get("fake"))
    if spec.get("dry_run"):
        end("succeeded", result={"bytes": {"total": 1}})
    tell("state", state="running")
    for epoch in range(1, epochs + 1):
        if stopped.wait(delay) or stopped.is_set():
            end("cancelled", "user", {"code": "cancelled", "message": "asked to stop"})
        loss = 2.0 / (1 + 0.1 * epoch)
        tell("progress", what="epoch", fraction=1, done=1, total=1, rate=1, eta_seconds=0)
        tell(
            "epoch",
            epoch=epoch,
            epochs=epochs,
            loss=loss,
            accuracy=1 - loss / 3,
            val_loss=loss + 0.1,
            val_accuracy=0.95 - loss / 3,
            val_f1_macro=0.5,
            confusion=[[1, 0], [0, 1]],
            recall={"angry": 1, "sad": 1},
            learning_rate=0.001,
            seconds=0.01,
            pad="x" * int(told.get("pad", 0)),
        )
        tell("checkpoint", kind="best", epoch=epoch)
    labels = [f"{n:05d}" + "x" * 60 for n in range(int(told.get("n_labels", 0)))]
    write_model(os.path.join(spec["output"], "best.safetensors"), *([labels] if labels else []))
    end(
        "succeeded",
        result={
            "model_file": "best.safetensors",
            "best": {"epoch": epochs, "val_loss": 0.3, "val_accuracy": 0.8},
            "metrics": {"accuracy": 0.8},
            "selection": "optimistic",
        },
    )


def import_(spec):
    source = spec["source"]
    told = {"labels": spec.get("labels") or {}}
    tell("state", state="running")
    for done in range(1, 4):
        tell("progress", what="import", fraction=done / 3, done=done, total=3, rate=1, eta_seconds=1)
    if spec["name"].startswith("slow"):
        stopped.wait(60)
    if stopped.is_set():
        end("cancelled", "user", {"code": "cancelled", "message": "asked to stop"})
    if spec["name"].startswith("broken"):
        os.makedirs(os.path.join(spec["output"], ".staging"))
        misbehave("crash")
    path = os.path.join(source.get("root", ""), source.get("path") or source.get("archive"))
    if not os.path.exists(path):
        end("failed", "dataset_invalid", {"code": "not_found", "message": f"{path} is not there"})
    os.makedirs(spec["output"], exist_ok=True)
    classes = {"angry": 2, "happy": 1, "neutral": 1, "sad": 1}
    utterances = [
        {"id": f"Ses01F_impro01_F{i:03}", "label": label, "speaker": "Ses01F"}
        for i, label in enumerate(["angry", "angry", "happy", "neutral", "sad"])
    ]
    report = {
        "utterances": 5,
        "classes": classes,
        "speakers": {"Ses01F": 5},
        "streams": {"audio": 5, "face": 4, "head": 4, "hand": 4},
        "dropped": [{"utterance": "Ses01F_impro01_F009", "reason": "label xxx"}],
        "n_dropped": 1,
        "rejected": [{"file": "a.txt", "line": 3, "reason": "not a number"}],
        "n_rejected": 1,
        "warnings": [],
        "n_warnings": 0,
        **told,
    }
    manifest = {"name": spec["name"], "digest": "d" * 64, "report": report, "utterances": utterances}
    with open(os.path.join(spec["output"], "dataset.json"), "w", encoding="utf-8") as file:
        json.dump(manifest, file)
    end("succeeded", result={**report, "dataset": spec["name"], "digest": "d" * 64})


def evaluate(spec):
    tell("state", state="running")
    if not os.path.exists(spec["model"]):
        end("failed", "dataset_invalid", {"code": "not_found", "message": "no model file"})
    end("succeeded", result={"part": spec["part"], "utterances": 5, "metrics": {"accuracy": 0.5}})


def answer_request(link, model, request, fd, size):
    parts = {}
    for name, where in request["parts"].items():
        parts[name] = os.pread(fd, where["size"], where["offset"])
    audio = parts.get("audio", b"")
    if audio.startswith(b"DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
    if audio.startswith(b"APART"):
        fork_apart()
        os._exit(0)
    if audio.startswith(b"HELD"):
        fork_apart(os.getpid())
        time.sleep(3600)
    if audio.startswith(b"NOISE"):
        os.write(2, b"noise\n" * 100000)
    if audio.startswith(b"HANG"):
        time.sleep(3600)
    if audio.startswith(b"SLOW"):
        time.sleep(0.5)
    if audio.startswith(b"UNTIL "):
        while not os.path.exists(audio[6:]):
            time.sleep(0.01)
    answer = {"id": request["id"], "status": "ok"}
    if audio.startswith(b"BAD"):
        answer |= {"status": "malformed", "error": "audio: no sound file"}
    else:
        answer["result"] = {
            "label": "angry",
            "probabilities": {"angry": 0.7, "happy": 0.2, "neutral": 0.06, "sad": 0.04},
            "streams": {name: {"bytes": len(data)} for name, data in parts.items()},
            "timings_ms": {"features": 1.0, "network": 2.0, "total": 3.0},
            "warnings": [f"{s}: missing" for s in ("audio", "mocap_face") if s not in parts],
            "window": [request.get("start"), request.get("end")],
            "model_file": os.path.basename(model),
        }
        if audio.startswith((b"SIZE", b"UNTIL")):
            answer["result"] |= {"batch": size, "pid": os.getpid()}
    link.send(json.dumps(answer).encode())


def serve():
    link = socket.socket(fileno=3)
    link.send(json.dumps({"event": "hello", "protocol": 4}).encode())
    while True:
        packet, control, _, _ = link.recvmsg(1 << 18, socket.CMSG_SPACE(64 * 4))
        if not packet:
            return
        fds = array.array("i")
        for level, kind, data in control:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds.frombytes(data[: len(data) - len(data) % fds.itemsize])
        batch = json.loads(packet)
        for request, fd in zip(batch["requests"], fds, strict=True):
            answer_request(link, batch["model"], request, fd, len(fds))
        for fd in fds:
            os.close(fd)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("command", choices=["train", "import", "evaluate", "predict", "inspect"])
    parser.add_argument("--spec")
    parser.add_argument("--device")
    parser.add_argument("--threads")
    parser.add_argument("--batch")
    for flag in ("--events", "--supervised", "--serve", "--devices", "--json"):
        parser.add_argument(flag, action="store_true")
    args = parser.parse_args()
    if args.command == "predict":
        serve()
        return
    if args.command == "inspect":
        misbehave(os.environ.get("AFFECT_CUDA_FAKE"))
        os.write(1, b'{"devices": [{"device": "cpu", "name": "fake"}], "cuda_unavailable": null}')
        return
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    threading.Thread(target=watch_stdin, daemon=True).start()
    with open(args.spec, encoding="utf-8") as file:
        spec = json.load(file)
    told = spec.get("variables") or {}
    tell("hello", protocol=7 if told.get("fake") == "protocol" else 1, version="fake", pid=os.getpid())
    tell("state", state="preparing")
    {"train": train, "import": import_, "evaluate": evaluate}[args.command](spec)


main()

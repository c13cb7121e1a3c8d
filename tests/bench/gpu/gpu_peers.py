"""The peers on a GPU: paper-optimized and its BiLSTM in PyTorch, in every variant that we know of: the `peers` stage.

    python3 tests/bench/gpu/gpu_peers.py [--device cuda] [--precisions fp32 tf32 bf16] [--seconds 500] [--json FILE]

A training step is forward, backward and Adam (fused, L2 as its weight decay: the fastest form) on 48 clips already on the
device. Variants: eager, the whole step as a CUDA graph, torch.compile alone, with its own CUDA graphs, and with the whole step as
one; convolutions on channels-last or contiguous memory; bf16 by autocast or with bf16 weights throughout (not the same training, but faster);
cuDNN's LSTM in all. The cheap variants run first, the best of them is then compiled, and the winner is measured again with
all clips at 16 s and with the padding computed once. Then nn.LSTM alone (48 x 501 x 256, 2 x 128 units, forward and
backward), eager and as a graph, and an epoch of 4416 + 1105 clips gathered on the device.

Times: CUDA events around blocks of steps, the median of the blocks. A variant that fails or for which no time is left is
listed with the reason. Each result is printed as one line of JSON at once, so that a run that is cut off keeps what it has.
"""

import argparse
import gc
import json
import pathlib
import statistics
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import torch_peer
from gpu_lengths import lengths_like_iemocap

EPOCH = {"training": 4416, "validation": 1105}
SKIPPED = "no time left"
PIECES, WHOLE = "compile, its own graphs", "compile, the step as one graph"
COMPILED = ("compile", PIECES, WHOLE)


class Clock:
    """Seconds between two points of the device's work."""

    def __init__(self, device):
        self.is_cuda = device.type == "cuda"

    def point(self):
        if not self.is_cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def between(self, a, b):
        if not self.is_cuda:
            return b - a
        torch.cuda.synchronize()
        return a.elapsed_time(b) / 1e3

    def measure(self, work, blocks, inner):
        """Seconds of one call: medians of blocks of `inner` calls, after a warm-up block."""
        found = []
        for block in range(blocks + 1):
            begin = self.point()
            for _ in range(inner):
                work()
            seconds = self.between(begin, self.point()) / inner
            if block:
                found.append(seconds)
        return {"seconds": statistics.median(found), "least": min(found), "most": max(found)}


def set_precision(precision):
    fast = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = fast
    torch.backends.cudnn.allow_tf32 = fast
    torch.backends.cudnn.benchmark = True


def capture(work, device):
    """`work` as one CUDA graph, after the side-stream warm-up that capture asks for."""
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(5):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()

    def replay(_keeps=work):  # the graph reads and writes what `work` holds
        graph.replay()

    return replay


class Step:
    """A training step of the network in one variant: call it."""

    def __init__(self, device, sizes, variant, lengths, pad=False):
        self.variant, self.device = variant, device
        memory = torch.channels_last if variant["memory"] == "channels_last" else torch.contiguous_format
        set_precision(variant["precision"])
        self.network = torch_peer.Network(memory).to(device).train()
        self.autocast = variant["precision"] == "bf16" and variant["weights"] == "autocast"
        if variant["precision"] == "bf16" and not self.autocast:
            self.network.to(torch.bfloat16)
        dtype = next(self.network.parameters()).dtype
        generator = np.random.default_rng(2)
        sound = torch.from_numpy(generator.random((sizes["batch"], torch_peer.FRAMES, torch_peer.MELS), np.float32))
        for clip, length in enumerate(lengths):
            sound[clip, length:] = 0
        self.index = None
        if pad:
            sound, index = torch_peer.distinct_rows(sound, lengths)
            self.index = index.to(device)
        self.sound = sound.to(device, dtype)
        motion = generator.random((sizes["batch"], torch_peer.PARTS, torch_peer.COLUMNS), np.float32)
        self.motion = torch.from_numpy(motion).to(device, dtype)
        self.labels = (torch.arange(sizes["batch"]) % 4).to(device)
        self.optimizer = self.make_optimizer()
        self.forward = self.network
        if variant["mode"].startswith("compile"):
            self.forward = torch.compile(self.network, mode="reduce-overhead" if variant["mode"] == PIECES else None)
        self.run = capture(self.once, device) if variant["mode"] in ("graph", WHOLE) else self.once

    def make_optimizer(self):
        audio, motion = ({id(c.weight) for c in part.convolutions} for part in (self.network.audio, self.network.motion))
        groups = {0.02: [], 0.002: [], 0.0: []}  # the gradient of 0.01 |w|^2 is 0.02 w
        for parameter in self.network.parameters():
            groups[0.02 if id(parameter) in audio else 0.002 if id(parameter) in motion else 0.0].append(parameter)
        fused = self.device.type == "cuda"
        return torch.optim.Adam([{"params": p, "weight_decay": w} for w, p in groups.items()], 1e-3, eps=1e-7,
                                **({"fused": True, "capturable": True} if fused else {}))

    def once(self):
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.autocast):
            loss = functional.cross_entropy(self.forward(self.sound, self.motion, self.index).float(), self.labels)
        loss.backward()
        self.optimizer.step()

    def __call__(self):
        self.run()


def variants(precision, device):
    """Those that need no compiler."""
    modes = ["eager", "graph"] if device.type == "cuda" else ["eager"]
    weights = ["autocast", "bf16"] if precision == "bf16" else ["fp32"]
    return [{"precision": precision, "mode": mode, "memory": memory, "weights": w}
            for mode in modes for memory in ("channels_last", "contiguous") for w in weights]


class Peers:
    def __init__(self, args):
        self.args, self.device = args, torch.device(args.device)
        self.ends = time.monotonic() + args.seconds
        self.clock = Clock(self.device)
        self.sizes = {"batch": torch_peer.BATCH}
        self.lengths = lengths_like_iemocap(torch_peer.BATCH, torch_peer.FRAMES)
        self.results = []

    def record(self, what, variant, measured):
        result = {"what": what, **variant, **measured}
        self.results.append(result)
        print(json.dumps(result), flush=True)
        return result

    def attempt(self, what, variant, make, needs=0):
        """Measures make(); whatever goes wrong is a result too."""
        if time.monotonic() + needs > self.ends:
            return self.record(what, variant, {"failed": SKIPPED})
        work = None
        try:
            work = make()
            measured = self.clock.measure(work, self.args.blocks, self.args.inner)
        except Exception as error:  # noqa: BLE001: a variant that does not work is a finding
            message = str(error).strip() or type(error).__name__
            measured = {"failed": message.splitlines()[0][:200]}
        work = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return self.record(what, variant, measured)

    def best(self, what, precision):
        found = [r for r in self.results if r["what"] == what and r["precision"] == precision and "seconds" in r]
        return min(found, key=lambda r: r["seconds"], default=None)

    def step(self, variant, lengths, pad=False):
        return lambda: Step(self.device, self.sizes, variant, lengths, pad)

    def cheap_steps(self, precision):
        for variant in variants(precision, self.device):
            self.attempt("step", variant, self.step(variant, self.lengths))

    def compiled_steps(self, precision):
        best = self.best("step", precision)
        if not best or self.args.no_compile:
            return
        for mode in COMPILED:
            if mode != WHOLE or self.device.type == "cuda":
                variant = {key: best[key] for key in ("precision", "memory", "weights")} | {"mode": mode}
                self.attempt("step", variant, self.step(variant, self.lengths), needs=60 + self.args.reserve)
                if hasattr(torch, "_dynamo"):
                    torch._dynamo.reset()

    def best_steps(self, precision):
        best = self.best("step", precision)
        if best:
            variant = {key: best[key] for key in ("precision", "mode", "memory", "weights")}
            full = [torch_peer.FRAMES] * self.sizes["batch"]
            self.attempt("step, all clips 16 s", variant, self.step(variant, full))
            self.attempt("step, padding computed once", variant, self.step(variant, self.lengths, True))
            self.attempt("epoch", variant, lambda: self.epoch(variant))

    def lstm(self, precision):
        dtypes = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}
        steps, batch, units = (self.args.steps, self.sizes["batch"], 128)
        for mode in ["eager", "graph"] if self.device.type == "cuda" else ["eager"]:

            def make(mode=mode):
                set_precision(precision)
                layer = nn.LSTM(256, units, bidirectional=True).to(self.device, dtypes[precision])
                x = torch.randn(steps, batch, 256, device=self.device, dtype=dtypes[precision], requires_grad=True)
                d_y = torch.randn(steps, batch, 2 * units, device=self.device, dtype=dtypes[precision])

                def once():
                    layer.zero_grad(set_to_none=True)
                    x.grad = None
                    layer(x)[0].backward(d_y)

                return capture(once, self.device) if mode == "graph" else once

            self.attempt("bilstm", {"precision": precision, "mode": mode}, make)

    def epoch(self, variant):
        """Training and validation, each batch gathered from features on the device into the step's own inputs."""
        step = Step(self.device, self.sizes, variant, self.lengths)
        clips, batch = sum(EPOCH.values()) // self.args.shrink, self.sizes["batch"]
        sounds = torch.zeros(clips, *step.sound.shape[1:], device=self.device, dtype=step.sound.dtype)
        motions = torch.zeros(clips, *step.motion.shape[1:], device=self.device, dtype=step.motion.dtype)
        labels = (torch.arange(clips) % 4).to(self.device)
        n_training = EPOCH["training"] // self.args.shrink

        def infer():
            with torch.no_grad(), torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=step.autocast):
                step.forward(step.sound, step.motion, None).argmax(1)

        step.network.eval()
        run_infer = capture(infer, self.device) if variant["mode"] in ("graph", WHOLE) else infer
        step.network.train()

        def once():
            order = torch.randperm(n_training, device=self.device)
            for begin in range(0, n_training - batch + 1, batch):
                rows = order[begin:begin + batch]
                torch.index_select(sounds, 0, rows, out=step.sound)
                torch.index_select(motions, 0, rows, out=step.motion)
                torch.index_select(labels, 0, rows, out=step.labels)
                step()
            step.network.eval()
            for begin in range(n_training, clips, batch):
                rows = torch.arange(begin, begin + batch, device=self.device).clamp_(max=clips - 1)
                torch.index_select(sounds, 0, rows, out=step.sound)
                torch.index_select(motions, 0, rows, out=step.motion)
                run_infer()
            step.network.train()

        return once

    def header(self):
        network = torch_peer.Network()
        about = {"what": "header", "torch": torch.__version__, "parameters": network.n_parameters(),
                 "device": "cpu", "cuda": torch.version.cuda, "cudnn": None, "precision": "", "lengths": sum(self.lengths)}
        if self.device.type == "cuda":
            about |= {"device": torch.cuda.get_device_name(self.device), "cudnn": torch.backends.cudnn.version()}
        self.results.append(about)
        print(json.dumps(about), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precisions", nargs="+", default=["bf16", "tf32", "fp32"])
    parser.add_argument("--blocks", type=int, default=7)
    parser.add_argument("--inner", type=int, default=10, help="calls in a block")
    parser.add_argument("--seconds", type=float, default=500, help="variants that would begin later are skipped")
    parser.add_argument("--reserve", type=float, default=90, help="of them, kept for the winners: nothing is compiled then")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--small", action="store_true", help="3 clips of 12 frames, 40 parts: to try the script on a CPU")
    parser.add_argument("--json", type=pathlib.Path)
    args = parser.parse_args()
    args.steps, args.shrink = 501, 1
    if args.small:
        torch_peer.BATCH, torch_peer.FRAMES, torch_peer.PARTS, args.steps, args.shrink = 3, 12, 40, 4, 500
    torch.manual_seed(0)
    torch.set_flush_denormal(True)
    peers = Peers(args)
    peers.header()
    for part in (peers.lstm, peers.cheap_steps, peers.compiled_steps, peers.best_steps):
        for precision in args.precisions:
            part(precision)
    if args.json:
        args.json.write_text(json.dumps(peers.results, indent=1) + "\n")


if __name__ == "__main__":
    main()

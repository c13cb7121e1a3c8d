#!/usr/bin/env python3
"""The peer: paper-optimized in PyTorch on a CPU, as fast as we know how to make it. cpu_table.py runs it.

  python3 tests/bench/torch_peer.py step    [--lengths FILE] [--pad] [--bf16] [--repeats N]
  python3 tests/bench/torch_peer.py predict FOLDER [--repeats N]       (needs librosa)

step: a training step on 48 clips of 501 frames of 128 bands and their motion: forward, backward, L2, Adam. `--lengths`: one
number of frames a line; what follows them is padding. `--pad` computes the padding once: the convolutions run on the
distinct frames of all clips, which are then gathered into (frames, clips). predict: utt.wav and utt_{face,head,hand}.txt of a
folder, bytes to probabilities, warm.

The formulation is the fastest of those tried: convolutions as Conv2d (1, 3) on channels-last memory, nn.LSTM, denormals
flushed; the environment (allocator, instruction set, OpenBLAS with OpenMP) is the caller's. Prints one JSON object.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH, FRAMES, MELS, PARTS, COLUMNS = 48, 501, 128, 200, 189
AUDIO_FILTERS, MOTION_FILTERS = [64, 128, 64, 32, 64], [128, 128, 64, 64, 32, 32]
STREAMS = {"face": 165, "head": 6, "hand": 18}


class Audio(nn.Module):
    """(clips, 501, 128) to (clips, 256). memory: of the convolutions' images."""

    def __init__(self, memory=torch.channels_last):
        super().__init__()
        channels = [1, *AUDIO_FILTERS]
        self.memory = memory
        self.convolutions = nn.ModuleList(nn.Conv2d(i, o, (1, 3)) for i, o in zip(channels, channels[1:]))
        self.convolutions.to(memory_format=memory)
        self.bilstm_1 = nn.LSTM(128, 128, bidirectional=True)
        self.bilstm_2 = nn.LSTM(256, 128, bidirectional=True)
        self.dense = nn.Linear(256, 256)

    def frames(self, x):
        """(rows, frames, 128) to (rows, frames, 128): 64 channels at the 2 places left of the bands."""
        x = x.unsqueeze(1).contiguous(memory_format=self.memory)
        for convolution in self.convolutions:
            x = functional.max_pool2d(functional.relu(convolution(x), inplace=True), (1, 2))
        return x.permute(0, 2, 3, 1).flatten(2)

    def forward(self, x, index):
        if index is None:
            steps = self.frames(x).transpose(0, 1)
        else:  # x: (1, distinct frames, 128); index: (501, clips)
            steps = self.frames(x)[0].index_select(0, index.flatten()).view(*index.shape, -1)
        steps, _ = self.bilstm_1(steps)
        _, (last, _) = self.bilstm_2(steps)
        return functional.dropout(functional.relu(self.dense(torch.cat([last[0], last[1]], 1))), 0.3, self.training)


class Motion(nn.Module):
    """(clips, 200, 189) to (clips, 256)."""

    def __init__(self):
        super().__init__()
        channels = [COLUMNS, *MOTION_FILTERS]
        self.convolutions = nn.ModuleList(nn.Conv1d(i, o, 3) for i, o in zip(channels, channels[1:]))
        self.norms = nn.ModuleList(nn.BatchNorm1d(o, momentum=0.01, eps=1e-3) for o in MOTION_FILTERS)
        steps = PARTS
        for _ in range(3):
            steps = (steps - 4) // 2  # two convolutions and a pool
        self.dense = nn.Linear(steps * MOTION_FILTERS[-1], 256)

    def forward(self, x):
        x = x.transpose(1, 2)
        for i, (convolution, norm) in enumerate(zip(self.convolutions, self.norms)):
            x = norm(functional.relu(convolution(x)))
            if i % 2:
                x = functional.max_pool1d(x, 2)
        return functional.dropout(functional.relu(self.dense(x.transpose(1, 2).flatten(1))), 0.3, self.training)


class Network(nn.Module):
    def __init__(self, memory=torch.channels_last):
        super().__init__()
        self.audio, self.motion, self.output = Audio(memory), Motion(), nn.Linear(512, 4)

    def forward(self, sound, motion, index=None):
        return self.output(torch.cat([self.audio(sound, index), self.motion(motion)], 1))

    def penalty(self):
        kernels = [(0.01, c.weight) for c in self.audio.convolutions] + [(0.001, c.weight) for c in self.motion.convolutions]
        return sum(scale * (kernel**2).sum() for scale, kernel in kernels)

    def n_parameters(self):
        """As Keras counts: one bias a gate (torch.nn.LSTM has two), moving statistics included."""
        return sum(p.numel() for p in self.parameters()) - 2 * 2 * 512 + 2 * sum(MOTION_FILTERS)


def distinct_rows(sound, lengths):
    """The distinct frames of all clips, one after another (padding: one a clip), and which one each frame is."""
    rows, index, n = [], np.empty((FRAMES, len(lengths)), np.int64), 0
    for clip, length in enumerate(lengths):
        count = min(length + 1, FRAMES)
        rows.append(sound[clip, :count])
        index[:, clip] = n + np.minimum(np.arange(FRAMES), count - 1)
        n += count
    return torch.cat(rows).unsqueeze(0), torch.from_numpy(index)


def report(seconds, network, **more):
    print(json.dumps({
        "seconds": statistics.median(seconds), "least": min(seconds), "most": max(seconds), "repeats": len(seconds),
        "p99": sorted(seconds)[min(len(seconds) - 1, int(0.99 * len(seconds)))],
        "parameters": network.n_parameters(), "torch": torch.__version__, "threads": torch.get_num_threads(),
        "level": os.environ.get("ATEN_CPU_CAPABILITY", "default"),
        "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024), **more}))


def step(args):
    generator = np.random.default_rng(2)
    lengths = [int(line) for line in args.lengths.read_text().split()] if args.lengths else [FRAMES] * BATCH
    sound = torch.from_numpy(generator.random((BATCH, FRAMES, MELS), np.float32))
    for clip, length in enumerate(lengths):
        sound[clip, length:] = 0
    motion = torch.from_numpy(generator.random((BATCH, PARTS, COLUMNS), np.float32))
    labels = torch.arange(BATCH) % 4
    network = Network().train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, eps=1e-7)
    seconds = []
    for _ in range(args.repeats + 1):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        x, index = distinct_rows(sound, lengths) if args.pad else (sound, None)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=args.bf16):
            loss = functional.cross_entropy(network(x, motion, index), labels)
        (loss + network.penalty()).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - started)
    report(seconds[1:], network, rows=x.shape[1] if args.pad else BATCH * FRAMES)


def read_motion(path, columns):
    """(200, columns): means of 200 parts. numpy.loadtxt parses in C since numpy 1.23."""
    rows = np.loadtxt(path, dtype=np.float32, skiprows=1)[:, 2:]
    edges = np.arange(PARTS + 1) * len(rows) // PARTS
    known = ~np.isnan(rows)
    sums = np.add.reduceat(np.where(known, rows, 0), edges[:-1])
    counts = np.add.reduceat(known.astype(np.float32), edges[:-1])
    assert rows.shape[1] == columns
    return np.divide(sums, counts, out=np.zeros_like(sums), where=counts > 0)


def read_sound(path):
    """(501, 128) in 0..1."""
    import librosa

    y, rate = librosa.load(path, sr=None)
    y = librosa.util.fix_length(y, size=16 * rate)
    mel = librosa.feature.melspectrogram(y=y, sr=rate, n_fft=2048, hop_length=512, n_mels=MELS)
    return (librosa.power_to_db(mel, ref=np.max, top_db=80.0).T + 80) / 80


def predict(args):
    network = Network().eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    example = torch.zeros(1, FRAMES, MELS), torch.zeros(1, PARTS, COLUMNS)
    with torch.no_grad():
        traced = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(network, example)))
    seconds, parts = [], []
    for i in range(args.repeats + 5):
        started = time.perf_counter()
        sound = read_sound(args.folder / "utt.wav")
        heard = time.perf_counter()
        motion = np.concatenate([read_motion(args.folder / f"utt_{s}.txt", n) for s, n in STREAMS.items()], 1) / 50
        seen = time.perf_counter()
        with torch.inference_mode():
            traced(torch.from_numpy(sound[None]), torch.from_numpy(motion[None])).softmax(1).numpy()
        ended = time.perf_counter()
        if i >= 5:
            seconds.append(ended - started)
            parts.append((heard - started, seen - heard, ended - seen))
    names = ("sound_s", "motion_s", "network_s")
    report(seconds, network, **{n: statistics.median(p) for n, p in zip(names, zip(*parts))})


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    commands = parser.add_subparsers(required=True)
    one = commands.add_parser("step")
    one.add_argument("--lengths", type=pathlib.Path)
    one.add_argument("--pad", action="store_true")
    one.add_argument("--bf16", action="store_true")
    one.add_argument("--repeats", type=int, default=5)
    one.set_defaults(run=step)
    one = commands.add_parser("predict")
    one.add_argument("folder", type=pathlib.Path)
    one.add_argument("--repeats", type=int, default=50)
    one.set_defaults(run=predict)
    args = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    args.run(args)


if __name__ == "__main__":
    main()

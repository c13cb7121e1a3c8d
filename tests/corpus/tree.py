"""Writes the files of an IEMOCAP-shaped tree: labels, transcripts, motion text, wav.

Formats as in the release: see the functions. Motion is formatted by table look-up on whole arrays,
because a face row has 165 numbers and a corpus has a hundred thousand rows.
"""
import struct

import numpy as np

from emotions import ATTRIBUTES, WORD_OF_LABEL
from motion import FRAMES_PER_SECOND, HANDS, HEAD, MARKERS

STREAM_FOLDERS = {"face": "MOCAP_rotated", "head": "MOCAP_head", "hand": "MOCAP_hand"}
CELL = np.dtype([("space", "S1"), ("whole", "S6"), ("decimals", "S5")])
LARGEST = 9999
# "-12." at LARGEST + 1 + 12, "12." at 12: the sign must survive in -0.5.
WHOLE = np.array([b"%d." % n for n in range(LARGEST + 1)]
                 + [b"-%d." % n for n in range(LARGEST + 1)], "S6")
DECIMALS = np.array([b"%05d" % n for n in range(100000)], "S5")


def format_rows(first_frame, seconds, values, newline=b"\n"):
    """`frame time v v ...` with five decimals, single spaces and NaN for what is missing."""
    if values.size and np.nanmax(np.abs(values), initial=0.0) >= LARGEST:
        raise ValueError(f"motion: a value is not below {LARGEST}")
    blocks = []
    for start in range(0, len(values), 1024):
        block = values[start: start + 1024]
        scaled = np.rint(np.nan_to_num(block) * 1e5).astype(np.int64)
        whole, decimals = np.divmod(np.abs(scaled), 100000)
        cells = np.empty(block.shape, CELL)
        cells["space"] = b" "
        cells["whole"] = WHOLE[whole + (scaled < 0) * (LARGEST + 1)]
        cells["decimals"] = DECIMALS[decimals]
        missing = np.isnan(block)
        cells["whole"][missing] = b"NaN"
        cells["decimals"][missing] = b""
        heads = [b"%d %.5f" % (first_frame + start + row, second)
                 for row, second in enumerate(seconds[start: start + len(block)])]
        heads = np.array(heads, "S24").view(np.uint8).reshape(len(block), -1)
        ends = np.tile(np.frombuffer(newline, np.uint8), (len(block), 1))
        text = np.hstack([heads, cells.view(np.uint8).reshape(len(block), -1), ends])
        blocks.append(text[text != 0].tobytes())  # the cells' unused bytes are zeros
    return b"".join(blocks)


def motion_header(stream, newline=b"\n"):
    """The two header lines."""
    if stream == "head":
        return b"Frame# Time pitch roll yaw tra_x tra_y tra_z" + newline + b"       " + newline
    names = MARKERS if stream == "face" else HANDS
    first = "Frame# Time " + " ".join(f"{name} {name} {name}" for name in names)
    return first.encode() + newline + b"   " + b" X Y Z" * len(names) + newline


def motion_text(stream, values, newline=b"\n", first_row=0):
    """A whole file. first_row: which row of the dialog `values` begins with; its frame numbers and
    times go on from there."""
    rows = first_row + np.arange(len(values))
    body = format_rows(first_row + 1, rows / FRAMES_PER_SECOND, values, newline)
    return motion_header(stream, newline) + body


def n_columns(stream):
    return {"face": 3 * len(MARKERS), "head": len(HEAD), "hand": 3 * len(HANDS)}[stream]


def wav_bytes(samples, rate):
    """PCM16; samples int16, (n,) or (n, channels)."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    data = np.ascontiguousarray(samples, "<i2").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1,
                         channels, rate, rate * channels * 2, channels * 2, 16, b"data", len(data))
    return header + data


def label_block(rng, turn):
    """The lines of one utterance in EmoEvaluation/<dialog>.txt: label, votes, attributes."""
    centre = np.array(ATTRIBUTES[turn["voiced_as"]])
    ratings = np.clip(np.rint(centre + rng.normal(0.0, 0.7, (3, 3))), 1, 5).astype(int)
    mean = ", ".join("%.4f" % value for value in ratings[:2].mean(axis=0))
    lines = ["[%.4f - %.4f]\t%s\t%s\t[%s]" % (turn["start"], turn["end"], turn["id"],
                                              turn["label"], mean)]
    words = sorted(WORD_OF_LABEL.values())
    if turn["label"] == "xxx":  # no majority
        votes = [str(word) for word in rng.choice(words, 3, replace=False)]
    else:
        votes = [WORD_OF_LABEL[turn["label"]]] * 2 + [str(rng.choice(words))]
    for evaluator, vote in zip(("E2", "E3", "E4"), votes):
        second = f" {words[int(rng.integers(len(words)))]};" if rng.uniform() < 0.1 else ""
        comment = "(not sure)" if rng.uniform() < 0.05 else "()"
        lines.append(f"C-{evaluator}:\t{vote};{second}\t{comment}")
    lines.append(f"C-{turn['speaker'][-1]}1:\t{votes[0]};\t()")
    for evaluator, (val, act, dom) in zip(("E3", "E4"), ratings):
        lines.append(f"A-{evaluator}:\tval {val}; act {act}; dom  {dom};\t()")
    val, act, dom = ratings[2]
    lines.append(f"A-{turn['speaker'][-1]}1:\tval {val}; act {act}; dom  {dom};\t()")
    return lines


LABEL_HEADER = "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]"


def transcript_line(turn):
    return "%s [%08.4f-%08.4f]: %s" % (turn["id"], turn["start"], turn["end"], turn["text"])


def write(path, data):
    """Writes bytes, making folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def write_lines(path, lines, newline="\n", last_newline=True, blank_lines=0):
    text = newline.join(lines).rstrip("\r\n") + newline * (last_newline + blank_lines)
    write(path, text.encode())

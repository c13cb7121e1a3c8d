#!/usr/bin/env python3
"""Lays a folder of labelled recordings out as an IEMOCAP tree with generated motion.

    python3 tests/corpus/from_wavs.py labels.csv WAV_DIR OUT

The CSV has a header with at least file, label, speaker; gender (male, female, m, f) is used where it
is there. label: one of the release's (ang, hap, exc, neu, sad, ...) or of the four classes' names.
Wavs are copied byte for byte: any rate, width and channel count.

Speakers become Ses01F, Ses01M, Ses02F, ...: women are F and men M as long as both are left, then
the rest fill what is free, whatever their gender. OUT/speakers.json says who became whom, and
OUT/files.json which recording became which utterance. Each dialog holds recordings of one speaker,
who also wears the markers, so all motion is the speaker's own. By default it carries no emotion
(--emotion-strength 0): a network that sees it learns nothing about the label from it.
"""
import argparse
import csv
import json
import pathlib
import shutil
import struct
import sys

import emotions
import motion
import tree
from make_corpus import SCENARIOS, rng_for

LABEL_OF_CLASS = {"angry": "ang", "anger": "ang", "happy": "hap", "happiness": "hap",
                  "neutral": "neu", "sad": "sad", "sadness": "sad"}
TURNS_PER_DIALOG = 12


def wav_seconds(path):
    """Duration from the chunks of a RIFF file, whatever its format tag."""
    data = path.read_bytes()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise ValueError(f"{path}: not a RIFF wav")
    offset, bytes_per_second = 12, 0
    while offset + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, offset)
        if name == b"fmt ":
            bytes_per_second = struct.unpack_from("<I", data, offset + 16)[0]
        if name == b"data" and bytes_per_second:
            return min(size, len(data) - offset - 8) / bytes_per_second
        offset += 8 + size + size % 2
    raise ValueError(f"{path}: no fmt or no data chunk")


def read_rows(labels, folder):
    """[{"path", "label", "speaker", "gender"}] of the CSV; errors name the line."""
    rows = []
    with open(labels, newline="", encoding="utf-8-sig") as stream:
        for number, row in enumerate(csv.DictReader(stream), 2):
            missing = [key for key in ("file", "label", "speaker") if not row.get(key)]
            if missing:
                raise ValueError(f"{labels}: line {number}: no {', '.join(missing)}")
            label = row["label"].strip().lower()
            label = LABEL_OF_CLASS.get(label, label)
            if label != "xxx" and label not in emotions.WORD_OF_LABEL:
                raise ValueError(f"{labels}: line {number}: label {label!r} is unknown")
            found = [path for path in (folder / row["file"],
                                       folder / pathlib.PurePosixPath(row["file"]).name)
                     if path.is_file()]
            if not found:
                raise ValueError(f"{labels}: line {number}: no file {row['file']} in {folder}")
            rows.append({"path": found[0], "label": label, "speaker": row["speaker"].strip(),
                         "gender": (row.get("gender") or "").strip().lower()[:1]})
    return rows


def assign_speakers(rows):
    """{"03": "Ses01M", ...}: pairs of a woman and a man first, then whoever is left."""
    gender = {row["speaker"]: row["gender"] for row in rows}
    women = sorted(name for name in gender if gender[name] == "f")
    men = sorted(name for name in gender if gender[name] == "m")
    rest = sorted(name for name in gender if gender[name] not in ("f", "m"))
    n_sessions, assigned = (len(gender) + 1) // 2, {}
    for letter, names in (("F", women), ("M", men)):
        for session in range(1, n_sessions + 1):
            if names:
                assigned[names.pop(0)] = f"Ses{session:02d}{letter}"
    rest += women + men
    free = [f"Ses{session:02d}{letter}" for session in range(1, n_sessions + 1) for letter in "FM"
            if f"Ses{session:02d}{letter}" not in assigned.values()]
    assigned.update(zip(sorted(rest), free))
    return dict(sorted(assigned.items()))


def make_dialog(out, name, speaker, rows, number, options):
    """Writes one dialog; returns {utterance: file}."""
    rng, cursor, turns = rng_for(options.seed, 2, number), 0.5, []
    for index, row in enumerate(rows):
        voiced_as = emotions.CLASS_OF_LABEL.get(row["label"]) or emotions.VOICED_AS[row["label"]]
        seconds = wav_seconds(row["path"])
        turns.append({"id": f"{name}_{speaker[-1]}{index:03d}", "speaker": speaker,
                      "label": row["label"], "voiced_as": voiced_as, "text": "(recording)",
                      "start": round(cursor, 4), "end": round(cursor + seconds, 4)})
        cursor = turns[-1]["end"] + 0.3
    session = int(name[3:5])
    folder = out / f"Session{session}"
    wearer = motion.speaker_motion(rng_for(options.seed, 7, session, ord(speaker[-1])), 1.0)
    scene = motion.DialogMotion(rng, cursor + 0.5, wearer, motion.dialog_take(rng, 0.0),
                                options.emotion_strength)
    labels = [tree.LABEL_HEADER, ""]
    for turn, row in zip(turns, rows):
        scene.add_turn(turn["start"], turn["end"], turn["voiced_as"], own=True)
        labels += tree.label_block(rng, turn) + [""]
        wav = folder / f"sentences/wav/{name}/{turn['id']}.wav"
        wav.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(row["path"], wav)
    tree.write_lines(folder / f"dialog/EmoEvaluation/{name}.txt", labels)
    tree.write_lines(folder / f"dialog/transcriptions/{name}.txt",
                     [tree.transcript_line(turn) for turn in turns])
    for stream, values in (("face", scene.face()), ("head", scene.head_pose()),
                           ("hand", scene.hands(missing=0.5))):
        tree.write(folder / "dialog" / tree.STREAM_FOLDERS[stream] / f"{name}.txt",
                   tree.motion_text(stream, values))
    return {turn["id"]: row["path"].name for turn, row in zip(turns, rows)}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("labels", type=pathlib.Path)
    parser.add_argument("wavs", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--emotion-strength", type=float, default=0.0, help="of the motion")
    options = parser.parse_args(argv)
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty")
    try:
        rows = read_rows(options.labels, options.wavs)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    assigned, files, number = assign_speakers(rows), {}, 0
    for original, speaker in assigned.items():
        own = sorted((row for row in rows if row["speaker"] == original),
                     key=lambda row: row["path"].name)
        own = [own[index] for index in rng_for(options.seed, 1, number).permutation(len(own))]
        n_dialogs = min(-(-len(own) // TURNS_PER_DIALOG), len(SCENARIOS["impro"]))
        for index in range(n_dialogs):
            part = own[len(own) * index // n_dialogs: len(own) * (index + 1) // n_dialogs]
            files |= make_dialog(options.out, f"{speaker}_{SCENARIOS['impro'][index]}", speaker,
                                 part, number, options)
            number += 1
    gender = {row["speaker"]: row["gender"] for row in rows}
    table = {name: {"speaker": speaker, "gender": gender[name]}
             for name, speaker in assigned.items()}
    for name, content in (("speakers.json", table), ("files.json", files)):
        tree.write(options.out / name, (json.dumps(content, indent=1) + "\n").encode())
    print(f"{options.out}: {len(files)} utterances, {number} dialogs, {len(assigned)} speakers")


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Makes an IEMOCAP-shaped corpus of any size: speech by espeak-ng, generated motion, labels.

    python3 tests/corpus/make_corpus.py OUT --utterances 240 --speakers 10 --seed 1

OUT gets Session1..n as in the release and OUT/expected.json, which says what an import must find.
The same arguments give the same bytes for one version of espeak-ng and numpy, however many jobs.

What the strengths do:
  --emotion-strength   how far emotion moves voice and motion from neutral (0: not at all)
  --speaker-strength   how much speakers differ (from 0.5 on each has a voice of their own)
  --dialog-signature   how recognisable each dialog is, whatever is felt in it: marker offsets of the
                       take, colour and noise of the sound. 0: nothing identifies a dialog. Labels
                       hang together within dialogs (--mood), so a signature lets a random split leak.
  --overlap            share of utterances that express another class than their label says: the
                       ceiling of every classifier is about 1 - overlap

--utterances counts those of the four classes; about an eighth more carry other labels (xxx, fru,
...) and must be dropped by an import. --quirks adds everything that breaks naive readers of the
release, in dialogs and turns of its own: see quirks.py.
"""
import argparse
import functools
import json
import multiprocessing
import os
import pathlib
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # dialogs are the unit of parallel work

import numpy as np

import emotions
import motion
import quirks
import tree
import voice

TURNS_PER_DIALOG = 12
SCENARIOS = {
    "impro": [f"impro0{n}{part}" for part in ("", "a", "b") for n in range(1, 9)],
    "script": [f"script0{a}_{b}{part}" for part in ("", "b") for a in (1, 2, 3) for b in (1, 2, 3)],
}


def rng_for(*numbers):
    """A generator of its own for each purpose, so that nothing depends on the order of work."""
    return np.random.default_rng(np.random.SeedSequence(numbers))


def new_turn(rng, speaker, mood, options):
    """One utterance of a class; mood: the label that this dialog is mostly about."""
    label = mood if rng.uniform() < options.mood else emotions.choose(rng, emotions.CLASS_SHARE)
    expressed = label
    if rng.uniform() < options.overlap:
        expressed = emotions.choose(rng, emotions.CONFUSED_WITH[label])
    names = {"angry": "ang", "neutral": "neu", "sad": "sad",
             "happy": "exc" if rng.uniform() < 0.64 else "hap"}
    return {"speaker": speaker, "label": names[label], "expressed": expressed, "voiced_as": label,
            "text": voice.SENTENCES[int(rng.integers(len(voice.SENTENCES)))], "quirk": ""}


def other_turn(rng, speaker):
    """One utterance whose label is none of the classes."""
    label = emotions.choose(rng, emotions.OTHER_LABELS)
    sounds_like = emotions.VOICED_AS[label]
    return {"speaker": speaker, "label": label, "expressed": sounds_like, "voiced_as": sounds_like,
            "text": voice.SENTENCES[int(rng.integers(len(voice.SENTENCES)))], "quirk": ""}


def number_turns(dialog):
    """Gives each turn its id: one counter for each speaker."""
    counters = {"F": 0, "M": 0}
    for turn in dialog["turns"]:
        letter = turn["speaker"][-1]
        turn["id"] = "%s_%s%03d" % (dialog["name"], letter, counters[letter])
        counters[letter] += 1
    return dialog


def new_dialog(session, scenario, wearer, n_turns, mood, number, options):
    rng = rng_for(options.seed, 2, number)
    n_other = int(rng.binomial(n_turns, options.other))
    is_other = rng.permutation(np.arange(n_turns + n_other) >= n_turns)
    letter, turns = str(rng.choice(["F", "M"])), []
    for other in is_other:
        speaker = f"Ses{session:02d}{letter}"
        turns.append(other_turn(rng, speaker) if other else new_turn(rng, speaker, mood, options))
        if rng.uniform() < 0.8:
            letter = "M" if letter == "F" else "F"
    name = f"Ses{session:02d}{wearer}_{scenario}"
    return {"name": name, "session": session, "wearer": f"Ses{session:02d}{wearer}",
            "improvised": scenario.startswith("impro"), "mood": mood, "number": number,
            "turns": turns, "quirks": []}


def choose_mood(dialogs, scenario, rng):
    """A script has the same mood in every session; otherwise the mood of the fewest turns so far."""
    for dialog in dialogs:
        if not dialog["improvised"] and dialog["name"].endswith(scenario):
            return dialog["mood"]
    n_turns = {mood: rng.uniform() + sum(len(dialog["turns"]) for dialog in dialogs
                                         if dialog["mood"] == mood) for mood in emotions.CLASSES}
    return min(n_turns, key=n_turns.get)


def plan(options):
    """The list of dialogs with their turns; nothing is spoken yet."""
    n_sessions, dialogs = options.speakers // 2, []
    for session in range(1, n_sessions + 1):
        share = options.utterances * session // n_sessions
        share -= options.utterances * (session - 1) // n_sessions
        n_dialogs = max(2, 2 * round(share / (2 * TURNS_PER_DIALOG)))
        n_dialogs = min(n_dialogs, 2 * min(len(names) for names in SCENARIOS.values()))
        for index in range(n_dialogs):
            kind = "impro" if index // 2 % 2 == 0 else "script"
            scenario = SCENARIOS[kind][2 * (index // 4) + index % 2]
            n_turns = share * (index + 1) // n_dialogs - share * index // n_dialogs
            mood = choose_mood(dialogs, scenario, rng_for(options.seed, 1, len(dialogs)))
            dialogs.append(new_dialog(session, scenario, "FM"[index % 2], n_turns, mood,
                                      len(dialogs), options))
    if options.quirks:
        quirks.plan(dialogs, n_sessions, functools.partial(new_dialog, options=options))
    return [number_turns(dialog) for dialog in dialogs]


def speak_turns(dialog, options):
    """Adds the sound of each turn, then start and end in the dialog; some turns overlap."""
    rng = rng_for(options.seed, 3, dialog["number"])
    colour = voice.dialog_colour(rng_for(options.seed, 4, dialog["number"]),
                                 options.sound_signature)
    cursor, last_speaker = 0.5, None
    for turn in dialog["turns"]:
        letter, session = turn["speaker"][-1], dialog["session"]
        speaker = voice.speaker_voice(rng_for(options.seed, 5, session, ord(letter)), letter,
                                      session - 1, options.speaker_strength)
        sound = voice.utterance(rng, turn["text"], speaker, turn["expressed"],
                                options.emotion_strength, colour, options.max_seconds)
        turn["sound"] = quirks.change_sound(turn, sound)
        gap = rng.uniform(0.1, 0.4)
        if last_speaker not in (None, turn["speaker"]) and rng.uniform() < 0.12:
            gap = -0.3
        turn["start"] = round(max(cursor + gap, 0.1), 4)
        turn["end"] = round(turn["start"] + len(turn["sound"]) / voice.RATE, 4)
        cursor, last_speaker = turn["end"], turn["speaker"]
    return cursor + 0.5


def move_turns(dialog, duration, options):
    """{"face": (rows, 165), "head": (rows, 6), "hand": (rows, 18)} of the marker wearer."""
    rng = rng_for(options.seed, 6, dialog["number"])
    wearer = motion.speaker_motion(rng_for(options.seed, 7, dialog["session"],
                                           ord(dialog["wearer"][-1])), options.speaker_strength)
    take = motion.dialog_take(rng_for(options.seed, 8, dialog["number"]), options.dialog_signature)
    scene = motion.DialogMotion(rng, duration, wearer, take, options.emotion_strength)
    for turn in dialog["turns"]:
        own = turn["speaker"] == dialog["wearer"]
        jaw = motion.jaw_from_sound(turn["sound"], voice.RATE) if own else None
        scene.add_turn(turn["start"], turn["end"], turn["expressed"], own, jaw)
    return {"face": scene.face(), "head": scene.head_pose(), "hand": scene.hands(missing=0.5)}


def count_rows(turn, n_rows, bad_rows):
    """Rows with start <= time < end, time as printed in the file."""
    seconds = np.round(np.arange(n_rows) / motion.FRAMES_PER_SECOND, 5)
    inside = (seconds >= turn["start"]) & (seconds < turn["end"])
    inside[[row for row in bad_rows if row < n_rows]] = False
    return int(inside.sum())


def write_dialog(root, dialog, duration, streams, options):
    """Writes all files of a dialog; returns what an import must reject, file and line."""
    name, folder = dialog["name"], root / f"Session{dialog['session']}"
    style = quirks.text_style(dialog)
    rng = rng_for(options.seed, 9, dialog["number"])
    labels = [tree.LABEL_HEADER, ""]
    for turn in dialog["turns"]:
        labels += tree.label_block(rng, turn) + [""]
    rejected = quirks.add_bad_labels(dialog, labels)
    tree.write_lines(folder / f"dialog/EmoEvaluation/{name}.txt", labels, **style)
    lines = [tree.transcript_line(turn) for turn in dialog["turns"]]
    tree.write_lines(folder / f"dialog/transcriptions/{name}.txt",
                     quirks.add_transcript_lines(dialog, lines), **style)
    for turn in dialog["turns"]:
        tree.write(folder / f"sentences/wav/{name}/{turn['id']}.wav",
                   tree.wav_bytes(turn["sound"], voice.RATE))
    if options.layout != "sentence":
        tree.write(folder / f"dialog/wav/{name}.wav", dialog_wav(dialog, duration))
    for stream, values in streams.items():
        for turn in dialog["turns"] if options.layout != "dialog" else []:
            write_sentence_motion(folder, dialog, turn, stream, values)
        if options.layout != "sentence":
            text = tree.motion_text(stream, values, style["newline"].encode())
            text, bad = quirks.damage_motion(dialog, stream, text)
            rejected += bad
            tree.write(folder / "dialog" / tree.STREAM_FOLDERS[stream] / f"{name}.txt", text)
    return rejected


def dialog_wav(dialog, duration):
    """Two channels: F left, M right."""
    mix = np.zeros((int(duration * voice.RATE), 2), np.int32)
    for turn in dialog["turns"]:
        first = int(turn["start"] * voice.RATE)
        mix[first: first + len(turn["sound"]), "FM".index(turn["speaker"][-1])] += turn["sound"]
    return tree.wav_bytes(np.clip(mix, -32768, 32767), voice.RATE)


def write_sentence_motion(folder, dialog, turn, stream, values):
    """Sentence files: time goes on in dialogs of F and restarts at 0 in dialogs of M, since nobody
    has confirmed which of the two the release does."""
    seconds = np.round(np.arange(len(values)) / motion.FRAMES_PER_SECOND, 5)
    first, last = np.searchsorted(seconds, [turn["start"], turn["end"]])
    if first == last:
        return
    first_row = int(first) if dialog["wearer"].endswith("F") else 0
    text = tree.motion_text(stream, values[first:last], first_row=first_row)
    tree.write(folder / "sentences" / tree.STREAM_FOLDERS[stream] / dialog["name"]
               / f"{turn['id']}.txt", text)


def make_dialog(dialog, root, options):
    """Speaks, moves and writes one dialog. Returns {"turns", "rejected", "quirks"}."""
    duration = speak_turns(dialog, options)
    streams = quirks.cut_motion(dialog, move_turns(dialog, duration, options))
    rejected = write_dialog(root, dialog, duration, streams, options)
    found = quirks.add_foreign_files(root, dialog)
    # The damaged rows are in the dialog's file; sentence files are whole.
    bad_rows = quirks.bad_rows(dialog) if options.layout == "dialog" else []
    turns = []
    for turn in dialog["turns"]:
        n_rows = count_rows(turn, len(streams.get("face", ())), bad_rows)
        kept = {key: turn[key] for key in ("id", "speaker", "label", "expressed", "start", "end",
                                           "text")}
        turns.append(kept | {"dialog": dialog["name"], "wearer": dialog["wearer"],
                             "own_motion": turn["speaker"] == dialog["wearer"],
                             "improvised": dialog["improvised"], "face_rows": n_rows,
                             "class": emotions.CLASS_OF_LABEL.get(turn["label"])})
    return {"turns": turns, "rejected": rejected, "quirks": found}


def count_by(turns, key):
    counts = {}
    for turn in turns:
        counts[key(turn)] = counts.get(key(turn), 0) + 1
    return dict(sorted(counts.items()))


def expectation(results, arguments):
    """What an import of this tree must report; the names are those of its report."""
    rated = [turn for result in results for turn in result["turns"]]
    kept = [turn for turn in rated if turn["class"]]
    return {
        "generator": arguments,
        "utterances": len(kept), "rated": len(rated), "dialogs": len(results),
        "classes": count_by(kept, lambda turn: turn["class"]),
        "labels": count_by(rated, lambda turn: turn["label"]),
        "sessions": count_by(kept, lambda turn: turn["id"][:5]),
        "speakers": count_by(kept, lambda turn: turn["speaker"]),
        "classes_by_session": count_by(kept, lambda turn: turn["id"][:5] + " " + turn["class"]),
        "classes_by_speaker": count_by(kept, lambda turn: turn["speaker"] + " " + turn["class"]),
        "improvised": sum(turn["improvised"] for turn in kept),
        "scripted": sum(not turn["improvised"] for turn in kept),
        "streams": {"audio": len(kept), "face": sum(turn["face_rows"] > 0 for turn in kept),
                    "own_motion": sum(turn["own_motion"] for turn in kept)},
        "mislabelled": sum(turn["expressed"] != turn["class"] for turn in kept),
        "dropped": [{"utterance": turn["id"], "reason": f"label {turn['label']}"}
                    for turn in rated if not turn["class"]],
        "rejected": [row for result in results for row in result["rejected"]],
        "quirks": [quirk for result in results for quirk in result["quirks"]],
        "list": rated,
    }


def parse_arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--utterances", type=int, default=240, help="of the four classes")
    parser.add_argument("--speakers", type=int, default=10, help="even; two a session")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-seconds", type=float, default=4.0, help="longest sentence")
    parser.add_argument("--emotion-strength", type=float, default=1.0)
    parser.add_argument("--speaker-strength", type=float, default=1.0)
    parser.add_argument("--dialog-signature", type=float, default=0.0)
    parser.add_argument("--sound-signature", type=float,
                        help="the sound's part of it, where it differs")
    parser.add_argument("--overlap", type=float, default=0.1)
    parser.add_argument("--mood", type=float, default=0.5,
                        help="share of a dialog's utterances that get the dialog's own label")
    parser.add_argument("--other", type=float, default=0.12, help="more utterances, other labels")
    parser.add_argument("--quirks", action="store_true")
    parser.add_argument("--layout", choices=("dialog", "sentence", "both"), default="dialog",
                        help="where the motion lies")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(argv)
    if options.sound_signature is None:
        options.sound_signature = options.dialog_signature
    if options.speakers < 2 or options.speakers % 2 or options.speakers > 198:
        parser.error("--speakers must be even, 2 to 198 (two a session)")
    if options.utterances < 1:
        parser.error("--utterances must be at least 1")
    if options.out.exists() and any(options.out.iterdir()):
        parser.error(f"{options.out} is not empty")
    if not voice.have_espeak():
        parser.error("espeak-ng is not installed (Debian package espeak-ng)")
    return options


def main(argv=None):
    began = time.monotonic()
    options = parse_arguments(argv)
    dialogs = plan(options)
    work = functools.partial(make_dialog, root=options.out, options=options)
    if options.jobs > 1:
        with multiprocessing.Pool(options.jobs) as pool:
            results = list(pool.imap(work, dialogs))
    else:
        results = [work(dialog) for dialog in dialogs]
    arguments = {key: value for key, value in sorted(vars(options).items())
                 if key not in ("out", "jobs")}
    expected = expectation(results, arguments | {"espeak": voice.espeak_version()})
    tree.write(options.out / "expected.json", (json.dumps(expected, indent=1) + "\n").encode())
    size = sum(path.stat().st_size for path in options.out.rglob("*") if path.is_file())
    print(f"{options.out}: {expected['utterances']} utterances of {expected['rated']} rated, "
          f"{expected['dialogs']} dialogs, {len(expected['speakers'])} speakers, "
          f"{expected['classes']}, {size / 1e6:.0f} MB, {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    sys.exit(main())

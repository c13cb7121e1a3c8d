"""What a real copy of the release contains that breaks naive readers, for make_corpus.py --quirks.

Each quirk is listed in expected.json ("quirks": name, file, detail). Quirks that cost utterances
live in dialogs of their own, so the regular ones stay as they are:
  last session   M script01_1 and script01_1b: the second has no motion of its own
  third session  (or the last) M impro05a, impro05b, impro08a, impro08b: irregular names
                 05a: a turn longer than 16 s and one of less than 200 rows; 05b: the motion ends
                 before the last turn; 08a: malformed label lines; 08b: malformed face rows
All dialogs: foreign files (._*, .DS_Store), the sub-folders of EmoEvaluation, transcript lines
without id or time and with XX ids; line ends, blank last lines and missing last newlines in turn.
"""
import numpy as np

APPLE_DOUBLE = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(58)
LONG_SECONDS, SHORT_SECONDS = 17.5, 0.9
BAD_ROWS = (3, 40)  # rows of the face file of impro08b, from 0

BAD_LABELS = (  # (line, why); {name}: the dialog
    ("[12.0x00 - 13.5000]\t{name}_F900\tneu\t[2.5000, 2.5000, 2.5000]", "time is not a number"),
    ("[14.0000 - 13.0000]\t{name}_F901\tneu\t[2.5000, 2.5000, 2.5000]", "ends before it starts"),
    ("[15.0000 - 16.0000]\t{name}_F902", "no label"),
)


def plan(dialogs, n_sessions, new_dialog):
    """Adds the dialogs above. new_dialog(session, scenario, wearer, n_turns, mood, number)."""
    def add(session, scenario, n_turns, mood, *names):
        exists = [d for d in dialogs if d["name"] == f"Ses{session:02d}M_{scenario}"]
        dialog = exists[0] if exists else new_dialog(session, scenario, "M", n_turns, mood,
                                                     len(dialogs))
        if not exists:
            dialogs.append(dialog)
        dialog["quirks"] += names
        return dialog

    third = min(3, n_sessions)
    add(n_sessions, "script01_1", 4, "sad")
    add(n_sessions, "script01_1b", 4, "happy", "no_motion")
    long_and_short = add(third, "impro05a", 4, "angry")
    long_and_short["turns"][0]["quirk"] = "long"
    long_and_short["turns"][1]["quirk"] = "short"
    add(third, "impro05b", 4, "neutral", "motion_ends_early")
    add(third, "impro08a", 4, "sad", "bad_labels")
    add(third, "impro08b", 4, "happy", "bad_motion_rows")
    for dialog in dialogs:
        dialog["quirks"].append("files")


def change_sound(turn, sound):
    """Long: said again until it fills the time. Short: cut."""
    if turn["quirk"] == "long":
        n_samples = int(LONG_SECONDS * 16000)
        return np.tile(sound, -(-n_samples // len(sound)))[:n_samples]
    if turn["quirk"] == "short":
        return sound[: int(SHORT_SECONDS * 16000)]
    return sound


def cut_motion(dialog, streams):
    if "no_motion" in dialog["quirks"]:
        return {}
    if "motion_ends_early" in dialog["quirks"]:
        n_rows = int((dialog["turns"][-1]["start"] - 0.2) * 119.88)
        return {name: values[:n_rows] for name, values in streams.items()}
    return streams


def text_style(dialog):
    """Arguments of tree.write_lines."""
    if "files" not in dialog["quirks"]:
        return {"newline": "\n", "last_newline": True, "blank_lines": 0}
    number = dialog["number"]
    return {"newline": "\r\n" if number % 2 else "\n", "last_newline": number % 3 != 0,
            "blank_lines": 3 if number % 3 == 1 else 0}


def add_bad_labels(dialog, lines):
    """Appends malformed label lines; returns where they stand."""
    rejected = []
    for line, why in BAD_LABELS if "bad_labels" in dialog["quirks"] else ():
        lines += [line.format(name=dialog["name"]), "C-E2:\tNeutral;\t()", ""]
        rejected.append({"file": f"Session{dialog['session']}/dialog/EmoEvaluation/"
                                 f"{dialog['name']}.txt", "line": len(lines) - 2, "reason": why})
    return rejected


def add_transcript_lines(dialog, lines):
    if "files" not in dialog["quirks"]:
        return lines
    name = dialog["name"]
    return (["M: Yeah."] + lines[:1] + [f"{name}_MXX0 [002.1000-002.4000]: Mm-hm.", "F: [LAUGHTER]"]
            + lines[1:] + [f"{name}_FXX0 [003.1000-003.4000]: Right."])


def bad_rows(dialog):
    return BAD_ROWS if "bad_motion_rows" in dialog["quirks"] else ()


def damage_motion(dialog, stream, text):
    """Spoils two rows of a face file: a token that is no number, and a missing column."""
    if stream != "face" or not bad_rows(dialog):
        return text, []
    newline = text_style(dialog)["newline"].encode()
    lines = text.split(newline)
    first, second = (2 + row for row in BAD_ROWS)  # two header lines
    tokens = lines[first].split(b" ")
    tokens[10] = b"12.3x4"
    lines[first] = b" ".join(tokens)
    lines[second] = lines[second].rsplit(b" ", 1)[0]
    file = f"Session{dialog['session']}/dialog/MOCAP_rotated/{dialog['name']}.txt"
    return newline.join(lines), [
        {"file": file, "line": first + 1, "reason": "a value is not a number"},
        {"file": file, "line": second + 1, "reason": "164 values instead of 165"}]


def add_foreign_files(root, dialog):
    """Writes files that are not the corpus' and lists every quirk of the dialog."""
    if "files" not in dialog["quirks"]:
        return []
    name, session = dialog["name"], f"Session{dialog['session']}"
    folder, found = root / session, []

    def note(quirk, path, detail=""):
        found.append({"name": quirk, "file": str(path.relative_to(root)), "detail": detail})

    labels = folder / f"dialog/EmoEvaluation/{name}.txt"
    _write_foreign(folder, name, note)
    for sub_folder, ending, line in (("Attribute", "e2_atr", "act 3; val 2; dom  2; ()"),
                                     ("Categorical", "e2_cat", ":Frustration; ()"),
                                     ("Self-evaluation", "f1_cat", ":Anger; ()")):
        path = labels.parent / sub_folder / f"{name}_{ending}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{name}_F000 {line}\n")
        note("evaluation_sub_folder", path)
    style = text_style(dialog)
    note("crlf" if style["newline"] == "\r\n" else "lf", labels)
    if not style["last_newline"]:
        note("no_last_newline", labels)
    if style["blank_lines"]:
        note("trailing_blank_lines", labels)
    note("transcript_without_id_and_xx_ids", folder / f"dialog/transcriptions/{name}.txt")
    _note_dialog_quirks(dialog, folder, labels, note)
    return found


def _write_foreign(folder, name, note):
    for path in sorted(folder.glob(f"*/*/{name}.*")) + sorted(folder.glob(f"*/*/{name}/*")):
        if path.is_file() and not path.name.startswith("._"):
            double = path.with_name("._" + path.name)
            double.write_bytes(APPLE_DOUBLE)
            note("apple_double", double)
    for parent in (folder, folder / "dialog/EmoEvaluation", folder / "sentences/wav" / name):
        (parent / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1" + bytes(24))
        note("ds_store", parent / ".DS_Store")


def _note_dialog_quirks(dialog, folder, labels, note):
    name = dialog["name"]
    if name[-1] in "ab":
        note("irregular_name", labels)
    for quirk in dialog["quirks"]:
        if quirk != "files":
            note(quirk, labels)
    for turn in dialog["turns"]:
        wav = folder / f"sentences/wav/{name}/{turn['id']}.wav"
        seconds = turn["end"] - turn["start"]
        if seconds > 16.0:
            note("longer_than_16_s", wav, f"{seconds:.2f} s")
        elif seconds * 119.88 < 200:
            note("fewer_than_200_rows", wav, f"{seconds:.2f} s")
    for before, after in zip(dialog["turns"], dialog["turns"][1:]):
        if after["start"] < before["end"]:
            note("overlapping_turns", labels, f"{before['id']} {after['id']}")
    if (folder / f"dialog/wav/{name}.wav").exists():
        note("stereo_dialog_wav", folder / f"dialog/wav/{name}.wav")

"""A tiny IEMOCAP-shaped tree written by hand, for tests that need one now and need no espeak-ng.

    tree = SmallTree(path)        # 2 sessions, 2 dialogs, 4 utterances each; noise, drifting markers
    tree.rows["Ses01F_impro01"]   # (n, 165) numbers of the dialog's face file
"""
import pathlib
import wave

import numpy as np

RATE = 16000
FRAMES_PER_SECOND = 119.88
COLUMNS = {"rotated": 165, "head": 6, "hand": 18}
LABELS = ("neu", "exc", "ang", "sad")


def write_wav(path, samples, rate=RATE, channels=1):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(samples, "<i2").tobytes())


def motion_lines(values, first_time=0.0):
    lines = ["Frame# Time " + "M " * values.shape[1], "  X Y Z"]
    for row, line in enumerate(values):
        numbers = " ".join("NaN" if np.isnan(v) else f"{v:.5f}" for v in line)
        lines.append(f"{row + 1} {first_time + row / FRAMES_PER_SECOND:.5f} {numbers}")
    return lines


class SmallTree:
    dialogs = ("Ses01F_impro01", "Ses02M_script01_1")

    def __init__(self, root, seed=1, labels=LABELS):
        self.root, self.rows, self.turns = pathlib.Path(root), {}, {}
        self.raw_labels = labels
        rng = np.random.default_rng(seed)
        for dialog in self.dialogs:
            self._write_dialog(dialog, rng)

    def session(self, dialog):
        return self.root / f"Session{int(dialog[3:5])}"

    def labels(self, dialog):
        return self.session(dialog) / f"dialog/EmoEvaluation/{dialog}.txt"

    def wav(self, dialog, turn):
        return self.session(dialog) / f"sentences/wav/{dialog}/{dialog}_{turn}.wav"

    def motion(self, dialog, folder="rotated"):
        return self.session(dialog) / f"dialog/MOCAP_{folder}/{dialog}.txt"

    def _write_dialog(self, dialog, rng):
        blocks, texts, turns = ["% header", ""], [], []
        for number, label in enumerate(self.raw_labels):
            name = f"{'FM'[number % 2]}{number // 2:03d}"
            start, end = 0.5 + number * 1.2, 0.5 + number * 1.2 + 1.0
            turns.append((name, start, end, label))
            blocks += [f"[{start:.4f} - {end:.4f}]\t{dialog}_{name}\t{label}\t[2.5, 3.0, 3.5]",
                       "C-E2:\tNeutral;\t()", "A-E3:\tval 3; act 2; dom  2;\t()", ""]
            texts.append(f"{dialog}_{name} [{start:08.4f}-{end:08.4f}]: Said {number}.")
            write_wav(self.wav(dialog, name), rng.normal(0, 3000, RATE).clip(-32768, 32767))
        self.turns[dialog] = turns
        for path, lines in ((self.labels(dialog), blocks),
                            (self.session(dialog) / f"dialog/transcriptions/{dialog}.txt", texts)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n")
        n_rows = int(6 * FRAMES_PER_SECOND)
        for folder, columns in COLUMNS.items():
            values = np.round(rng.normal(0, 1, (n_rows, columns)).cumsum(0) + 50, 5)
            values[rng.uniform(size=values.shape) < 0.01] = np.nan
            self.rows[dialog, folder] = values
            path = self.motion(dialog, folder)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(motion_lines(values)) + "\n")

"""Reference numbers of numpy for engine/modality/segments: the averages over parts of an utterance.

    python make_segments.py --check    recompute from the stored texts and compare exactly (exit code 1 if not)
    python make_segments.py            make the texts anew (seeded) and their averages

segments/NAME.txt is motion text in IEMOCAP's form; NAME.npy (200, columns) float64 is
nanmean over numpy.array_split(rows, 200) of the rows in the window, NaN where a part has no value.
face_reference8.npy is what the study's reference code computes: strict bounds, plain mean, NaN -> 0.
"""
import argparse
import pathlib
import sys
import warnings

import numpy as np

HERE = pathlib.Path(__file__).parent / "segments"
PARTS = 200
# name: (columns, rows, window in seconds or None, share of values missing)
CASES = {
    "face": (165, 90, None, 0.02),
    "hand": (18, 431, None, 0.3),
    "head": (6, 2003, (1.0, 14.25), 0.01),
}


def write_text(name, columns, rows, share, random):
    time = 0.00834 * np.arange(rows)
    values = random.normal(0, 60, (rows, columns)) + random.normal(0, 300, columns)
    values[random.random(values.shape) < share] = np.nan
    values[:, 3 % columns] = 0  # the face's origin marker is constant
    lines = ["Frame# Time " + " ".join(f"C{i}" for i in range(columns)), " ".join("XYZ"[i % 3] for i in range(columns))]
    for i in range(rows):
        numbers = " ".join("NaN" if np.isnan(v) else f"{v:.5f}" for v in values[i])
        lines.append(f"{i + 1} {time[i]:.5f} {numbers}")
    (HERE / f"{name}.txt").write_text("\n".join(lines) + "\n")


def read_text(name):
    rows = [line.split() for line in (HERE / f"{name}.txt").read_text().splitlines()[2:]]
    table = np.array([[float(token) for token in row[1:]] for row in rows])
    return table[:, 0], table[:, 1:]


def averages(name):
    time, values = read_text(name)
    window = CASES[name][2]
    if window:
        values = values[(time >= window[0]) & (time < window[1])]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # means of nothing
        return np.array([np.nanmean(part, axis=0) for part in np.array_split(values, PARTS)])


def averages_reference8(name, start, end):
    time, values = read_text(name)
    values = values[(time > start) & (time < end)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.nan_to_num(np.array([np.mean(part, axis=0) for part in np.array_split(values, PARTS)]))


def compute():
    arrays = {name: averages(name) for name in CASES}
    arrays["face_reference8"] = averages_reference8("face", 0.0, 0.00834 * 80)
    return arrays


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the stored arrays, write nothing")
    check = parser.parse_args().check
    failed = False
    if not check:
        HERE.mkdir(exist_ok=True)
        random = np.random.default_rng(20261123)
        for name, (columns, rows, _, share) in CASES.items():
            write_text(name, columns, rows, share, random)
    for name, array in compute().items():
        if check:
            stored = np.load(HERE / f"{name}.npy")
            good = stored.shape == array.shape and np.allclose(stored, array, rtol=1e-14, atol=0, equal_nan=True)
            print(name, stored.shape, "equal" if good else "DIFFERS")
            failed |= not good
        else:
            np.save(HERE / f"{name}.npy", array)
    sys.exit(failed)


if __name__ == "__main__":
    main()

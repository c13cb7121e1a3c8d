#!/usr/bin/env python3
"""Group splits of scikit-learn: which fold tests each utterance of small corpora.

    python3 tests/reference/make_splits.py [--check]

Writes splits.json beside this file, or computes it again and compares. LeaveOneGroupOut takes groups in the order of
their names; GroupKFold takes them by falling size into the lightest fold, of equal sizes the later name first (numpy's
stable order, reversed), which the last case has.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import sklearn
from sklearn.model_selection import GroupKFold, LeaveOneGroupOut

FILE = pathlib.Path(__file__).with_name("splits.json")


def corpora():
    """(name, group of each utterance)."""
    rng = np.random.default_rng(11)
    speakers = [f"Ses{s:02d}{g}" for s in range(1, 6) for g in "FM"]
    sizes = rng.permutation(np.arange(7, 27, 2))
    yield "speakers", rng.permutation(np.repeat(speakers, sizes))
    dialogs = [f"dialog{n}" for n in range(40)]
    yield "dialogs", rng.permutation(np.repeat(dialogs, rng.permutation(np.arange(1, 41))))
    yield "names", np.repeat(["é", "z", "Z", "a b", "10", "9"], [6, 5, 4, 3, 2, 1])
    yield "equal", np.repeat(["a", "b", "c", "d", "e", "f"], [4, 4, 4, 4, 4, 4])


def fold_of(splitter, groups):
    found = np.full(len(groups), -1)
    for fold, (_, tested) in enumerate(splitter.split(np.zeros(len(groups)), groups=groups)):
        assert np.all(found[tested] == -1)
        found[tested] = fold
    assert np.all(found >= 0)
    return found.tolist()


def make():
    cases = []
    for name, groups in corpora():
        cases.append({"name": name, "folds": "all", "groups": groups.tolist(), "fold_of": fold_of(LeaveOneGroupOut(), groups)})
        for k in (2, 3, 5):
            cases.append({"name": name, "folds": k, "groups": groups.tolist(), "fold_of": fold_of(GroupKFold(k), groups)})
    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__, "cases": cases}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with splits.json instead of writing it")
    made = make()
    if not parser.parse_args().check:
        FILE.write_text(json.dumps(made, ensure_ascii=False) + "\n", encoding="utf-8")
    elif json.loads(FILE.read_text(encoding="utf-8"))["cases"] != made["cases"]:
        sys.exit("splits.json differs from what scikit-learn makes now")


if __name__ == "__main__":
    main()

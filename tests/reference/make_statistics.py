#!/usr/bin/env python3
"""Intervals, calibration, comparisons and discriminant analysis by statsmodels, SciPy, scikit-learn and NumPy.

    python3 tests/reference/make_statistics.py [--check]

Writes statistics.json beside this file, or computes it again and compares. Wilson's interval is SciPy's
(binomtest.proportion_ci), the temperature SciPy's too (minimize_scalar), McNemar's test statsmodels', NLL, recall and LDA scikit-learn's, the rest a few lines of NumPy below. The bootstrap has 20 000
draws of NumPy's generator: ours draws otherwise, and is held to 5e-3.
"""
import argparse
import json
import pathlib
import sys

import numpy as np
import scipy
import sklearn
import statsmodels
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from scipy.stats import binomtest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.impute import SimpleImputer
from sklearn.metrics import f1_score, log_loss, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from statsmodels.stats.contingency_tables import mcnemar

FILE = pathlib.Path(__file__).with_name("statistics.json")
DRAWS = 20000


def corpus(seed, n, n_classes, n_groups, sharpness):
    """Labels, probabilities (float32) and groups; a group has its own difficulty."""
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, n_groups, n)
    labels = rng.choice(n_classes, n, p=rng.dirichlet(np.full(n_classes, 3)))
    logits = rng.normal(size=(n, n_classes))
    logits[np.arange(n), labels] += 1 + rng.normal(scale=0.8, size=n_groups)[groups]
    p = np.exp(sharpness * logits)
    return labels, np.float32(p / p.sum(1, keepdims=True)), groups


def ece(confidence, right, edges=None):
    if edges is None:  # equal numbers
        bins = np.array_split(np.lexsort((np.arange(len(right)), confidence)), 15)
    else:
        at = np.clip(np.ceil(confidence * 15).astype(int) - 1, 0, 14)
        bins = [np.flatnonzero(at == b) for b in range(15)]
    return sum(len(b) / len(right) * abs(right[b].mean() - confidence[b].mean()) for b in bins if len(b))


def temperature(labels, p):
    """Of least NLL of softmax(log(p) / T), and what it comes to."""
    z = np.log(np.maximum(p, np.finfo("f4").tiny))
    fit = minimize_scalar(lambda b: -log_softmax(b * z, axis=1)[np.arange(len(labels)), labels].mean(), bounds=(0.05, 20),
                          method="bounded", options={"xatol": 1e-12})
    return [1 / fit.x, fit.fun]


def bootstrap(labels, predicted, groups, n_classes, seed, first=None):
    """Intervals of the measures of predicted, or of their differences to those of first on the same draws."""
    rng = np.random.default_rng(seed)
    names = np.unique(groups)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), DRAWS)
    measures = measure(labels, predicted, groups, n_classes, times)
    if first is not None:
        of_first = measure(labels, first, groups, n_classes, times)
        measures = {name: values - of_first[name] for name, values in measures.items()}
    return {name: np.percentile(values, [2.5, 97.5]).tolist() for name, values in measures.items()}


def measure(labels, predicted, groups, n_classes, times):
    """Of each draw, in which group g counts times[:, g] times."""
    names = np.unique(groups)
    confusion = np.zeros((len(names), n_classes, n_classes))
    for g, name in enumerate(names):
        np.add.at(confusion[g], (labels[groups == name], predicted[groups == name]), 1)
    drawn = np.tensordot(times, confusion, 1)
    right, there, said = np.einsum("dcc->dc", drawn), drawn.sum(2), drawn.sum(1)
    with np.errstate(invalid="ignore"):
        recall = np.where(there > 0, right / there, np.nan)
        f1 = np.where(there + said > 0, 2 * right / (there + said), 0)
    return {"accuracy": right.sum(1) / there.sum(1), "recall_mean": np.nanmean(recall, 1), "f1_macro": f1.mean(1)}


def second_model(labels, predicted, n_classes, seed):
    """Predictions of another model: like the first's, some of its mistakes corrected, some new."""
    rng = np.random.default_rng(seed + 100)
    chance = rng.random(len(labels))
    return np.where(chance < 0.15, labels, np.where(chance > 0.9, rng.integers(0, n_classes, len(labels)), predicted))


def mcnemar_of(only_first, only_second):
    exact = only_first + only_second < 25
    test = mcnemar([[0, only_first], [only_second, 0]], exact=exact, correction=True)
    return {"exact": exact, "statistic": float(test.statistic), "p_value": float(test.pvalue)}


def lda_case(seed, n, p, n_classes, missing=0.0):
    """Rows that train, then ten more with their scores; one column is constant, another nearly repeats a third."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    rows = rng.normal(size=(n + 10, p)) * rng.uniform(0.1, 50, p) + rng.normal(scale=100, size=p)
    rows[:n] += rng.normal(scale=2, size=(n_classes, p))[labels]
    rows[:, 1] = 7.25
    rows[:, 2] = rows[:, 0] * 3 + 1e-3 * rng.normal(size=n + 10)
    rows[rng.random(rows.shape) < missing] = np.nan
    rows = np.round(rows, 6)
    model = make_pipeline(StandardScaler(), SimpleImputer(), LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.1))
    model.fit(rows[:n], labels)
    scores = model.decision_function(rows[n:])
    return {"n": n, "n_classes": n_classes, "labels": labels.tolist(), "predicted": model.predict(rows[n:]).tolist(),
            "scores": scores.tolist() if n_classes > 2 else [[0, s] for s in scores],
            "rows": [[None if np.isnan(x) else x for x in row] for row in rows]}


def make():
    cases = []
    for seed, n, n_classes, n_groups, sharpness in ((1, 400, 4, 10, 1), (2, 151, 3, 30, 3), (3, 40, 2, 5, 0.3), (4, 997, 7, 24, 1.5)):
        labels, p, groups = corpus(seed, n, n_classes, n_groups, sharpness)
        predicted, wide = p.argmax(1), p.astype("f8")
        confidence, right = wide.max(1), predicted == labels
        assert abs(recall_score(labels, predicted, average="macro", zero_division=0) - np.mean([right[labels == c].mean() for c in np.unique(labels)])) < 1e-9
        assert 0 <= f1_score(labels, predicted, average="macro", zero_division=0) <= 1
        wilson = binomtest(int(right.sum()), n).proportion_ci(method="wilson")
        cases.append({
            "n_classes": n_classes, "labels": labels.tolist(), "groups": groups.tolist(), "probabilities": wide.ravel().tolist(),
            "wilson": [wilson.low, wilson.high],
            "nll": -np.mean(np.log(wide[np.arange(n), labels])), "brier": float(np.mean(((wide - np.eye(n_classes)[labels]) ** 2).sum(1))),
            "ece": ece(confidence, right, edges=15), "ece_adaptive": ece(confidence, right), "temperature": temperature(labels, wide),
            "bootstrap": bootstrap(labels, predicted, groups, n_classes, seed)})
        second = second_model(labels, predicted, n_classes, seed)
        only_first, only_second = int((right & (second != labels)).sum()), int((~right & (second == labels)).sum())
        cases[-1]["second"] = {
            "predicted": second.tolist(), "right": [only_first, only_second], "mcnemar": mcnemar_of(only_first, only_second),
            "difference": bootstrap(labels, second, groups, n_classes, seed, first=predicted)}
        assert abs(cases[-1]["nll"] - log_loss(labels, wide / wide.sum(1, keepdims=True), labels=range(n_classes))) < 1e-6
    ends = [[k, n, *binomtest(k, n).proportion_ci(method="wilson")] for k, n in ((0, 1), (1, 1), (0, 50), (50, 50), (3, 7), (4000, 5531))]
    # Equal numbers above 24 are left out: statsmodels takes the correction off a difference of 0, R and we do not.
    pairs = [[b, c, mcnemar_of(b, c)] for b, c in ((0, 0), (1, 0), (0, 5), (7, 7), (12, 12), (3, 21), (0, 24), (0, 25), (12, 13), (30, 10), (400, 250))]
    return {"statsmodels": statsmodels.__version__, "scipy": scipy.__version__, "scikit-learn": sklearn.__version__, "numpy": np.__version__, "cases": cases, "wilson": ends, "mcnemar": pairs,
            "lda": [lda_case(1, 60, 5, 4), lda_case(2, 35, 50, 3), lda_case(3, 80, 9, 2, 0.2)]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with statistics.json instead of writing it")
    made = json.loads(json.dumps(make()))
    if not parser.parse_args().check:
        FILE.write_text(json.dumps(made) + "\n", encoding="utf-8")
        return
    stored = json.loads(FILE.read_text(encoding="utf-8"))
    for mine, theirs in zip(made["cases"], stored["cases"], strict=True):
        if mine["second"]["predicted"] != theirs["second"]["predicted"]:
            sys.exit("statistics.json: the second model's predictions differ")
        for name in ("wilson", "nll", "brier", "ece", "ece_adaptive"):
            if not np.allclose(mine[name], theirs[name], rtol=0, atol=1e-12):
                sys.exit(f"statistics.json: {name} differs")
        if not np.allclose(mine["temperature"], theirs["temperature"], rtol=0, atol=1e-7):
            sys.exit("statistics.json: temperature differs")
    for mine, theirs in zip(made["lda"], stored["lda"], strict=True):
        if mine["rows"] != theirs["rows"] or not np.allclose(mine["scores"], theirs["scores"], rtol=1e-8, atol=1e-8):
            sys.exit("statistics.json: discriminant analysis differs")
    for mine, theirs in zip(made["mcnemar"], stored["mcnemar"], strict=True):
        if not np.allclose(list(mine[2].values()), list(theirs[2].values()), rtol=0, atol=1e-12):
            sys.exit(f"statistics.json: McNemar of {mine[:2]} differs")


if __name__ == "__main__":
    main()

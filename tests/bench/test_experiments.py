"""The arithmetic of the experiments: what is trained on what, and what is read off the results."""
import pathlib
import sys

import pytest

np = pytest.importorskip("numpy")
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import emodb
import study
import trainings


def test_folds_test_each_speaker_once_and_validate_on_another():
    pairs = emodb.folds(["a", "b", "c"])
    assert pairs == [("a", "b"), ("b", "c"), ("c", "a")]


def test_the_test_speaker_steers_nothing():
    for spec in emodb.specifications("d", ["a", "b", "c"], 1).values():
        split = spec["split"]
        assert len(split["test"]) == len(split["validation"]) == 1
        assert split["test"] != split["validation"]
        assert spec["training"]["best"] == "val_loss"
    assert len(emodb.specifications("d", [str(n) for n in range(10)], 1)) == 30


def test_recall_mean_leaves_out_classes_that_do_not_occur():
    assert emodb.recall_mean([[3, 1], [1, 1]]) == pytest.approx((0.75 + 0.5) / 2)
    assert emodb.recall_mean([[3, 1], [0, 0]]) == 0.75


def test_lda_separates_what_can_be_separated_and_reads_no_test_label():
    rng = np.random.default_rng(1)
    labels = np.tile([0, 1], 60)
    rows = rng.normal(0, 1, (120, 5)) + labels[:, None] * 4
    is_test = np.arange(120) >= 80
    confusion = emodb.lda_confusion(rows, labels, is_test, 2)
    assert confusion.sum() == 40 and np.trace(confusion) == 40
    changed = np.where(is_test, 1 - labels, labels)
    assert np.trace(emodb.lda_confusion(rows, changed, is_test, 2)) == 0


def epochs(training, validation):
    return [{"accuracy": t, "val_accuracy": v} for t, v in zip(training, validation)]


def test_study_reads_the_last_epochs():
    found = study.at_the_end(epochs([0.1, 0.99] + [0.9] * 5, [0.9, 0.9] + [0.7] * 5))
    assert found == pytest.approx((0.9, 0.7, 0.2, 0.99))


@pytest.mark.parametrize("base, optimised, failing", [
    ((0.98, 0.7, 0.28, 0.985), (0.8, 0.72, 0.08, 0.8), []),
    ((0.97, 0.7, 0.27, 0.98), (0.8, 0.72, 0.08, 0.8), ["base reaches > 0.98"]),
    ((0.99, 0.9, 0.09, 1.0), (0.91, 0.9, 0.01, 0.9), ["base's gap >= 0.15"]),
    ((0.99, 0.7, 0.29, 1.0), (0.9, 0.75, 0.15, 0.9), ["gap at most half"]),
    ((0.99, 0.7, 0.29, 1.0), (0.8, 0.69, 0.11, 0.8), ["validation no lower"]),
])
def test_study_verdicts(base, optimised, failing):
    found = study.verdicts(base, optimised)
    assert [name for name, holds in found.items() if not holds] == failing


def test_both_networks_get_the_same_but_their_schedule():
    base, optimised = (study.request_of("d", network, 4) for network in study.NETWORKS)
    assert base["split"] == optimised["split"]
    for name in ("epochs", "batch_size", "learning_rate", "seed"):
        assert base["training"][name] == optimised["training"][name]


def test_a_training_cut_short_is_not_done(tmp_path):
    log = tmp_path / "events.jsonl"
    assert not trainings.is_done(trainings.read_events(log))
    log.write_text('{"event": "epoch"}\n{"event": "end", "sta')
    assert len(trainings.read_events(log)) == 1
    assert not trainings.is_done(trainings.read_events(log))
    log.write_text('{"event": "end", "state": "failed"}\n')
    assert not trainings.is_done(trainings.read_events(log))
    log.write_text('{"event": "end", "state": "succeeded"}\n')
    assert trainings.is_done(trainings.read_events(log))

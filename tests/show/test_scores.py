"""Views of the list of scores: nothing in them knows a protocol by name."""

import numpy as np

from tfssl.runs.scores import Counts, Score
from tfssl.show import console
from tfssl.show.scores import RunScores, groups, score_line, text_table


def score(protocol, top1, subject="trained", dataset="folder:x/val", **more):
    return Score(protocol, dataset, subject, {"top1": top1}, **more)


def test_the_table_of_the_console():
    chain = [
        RunScores(
            "",
            [
                score("knn", 0.811),
                score("knn", 0.3, "raw_pixels"),
                score("linear", 0.9),
                score("knn", 0.4, "untrained"),
                score("linear", 0.41, "untrained"),
            ],
        )
    ]
    assert console.table(text_table(chain)) == (
        "                     kNN top-1  Linear top-1\n"
        "  ------------------------------------------\n"
        "  Raw pixels            30.0 %             -\n"
        "  Untrained encoder     40.0 %        41.0 %\n"
        "  Trained encoder       81.1 %        90.0 %"
    )
    assert text_table([RunScores("", [])]) == []


def test_a_new_protocol_data_set_and_subject_need_nothing():
    ap = Score("detect_boxes", "voc:test", "with_fpn", {"AP50": 0.25, "time": 31.0})
    rows = text_table([RunScores("", [score("knn", 0.5), ap])])
    assert rows == [
        ("", "kNN top-1", "Detect boxes AP50"),
        ("Trained encoder · folder:x/val", "50.0 %", "-"),
        ("With fpn · voc:test", "-", "25.0 %"),
    ]
    assert score_line(ap) == "Detect boxes AP50 of with fpn: 25.0 % (time 31)"


def test_settings_tell_scores_of_one_protocol_apart():
    few = score("linear", 0.6, settings={"label_fraction": "0.1", "epochs": 2})
    all_ = score("linear", 0.9, settings={"label_fraction": "1", "epochs": 2})
    got = groups([RunScores("", [few, all_, score("knn", 0.5)])])
    assert [g.protocol for g in got] == [
        "Linear label fraction 0.1",
        "Linear label fraction 1",
        "kNN",
    ]


def test_a_chain_shows_each_score_once_with_the_run_it_is_of():
    tuned = score("finetune", 0.95)
    chain = [
        RunScores("", [score("knn", 0.5), tuned]),
        RunScores("finetune", [tuned, score("knn", 0.7)]),
    ]
    assert [(g.run, g.protocol, len(g.scores)) for g in groups(chain)] == [
        ("", "kNN", 1),
        ("finetune", "Fine-tuned", 1),
        ("finetune", "kNN", 1),
    ]
    assert text_table(chain) == [
        ("", "kNN top-1", "Fine-tuned top-1"),
        ("Trained encoder", "50.0 %", "-"),
        ("Trained encoder · finetune", "70.0 %", "95.0 %"),
    ]
    # Without the folder of the fine-tuned run its score still stands.
    assert len(groups(chain[:1])) == 2


def test_a_line_says_of_how_many_images_it_speaks():
    counts = Counts.of(np.array([0, 1, 1, -1]), 2, images=6)
    line = score_line(score("knn", 0.5, counts=counts))
    assert line == (
        "kNN top-1 of trained encoder: 50.0 % (3 of 6 images (2 unreadable, 1 without "
        "a label))"
    )

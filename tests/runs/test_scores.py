"""One list of scores: joined, replaced, read back, and read as it was before it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tfssl.errors import DataError
from tfssl.runs import RunDirectory
from tfssl.runs.scores import (
    Confusion,
    Counts,
    Score,
    add_score,
    confusions_of,
    scores_of,
)


def score(protocol="knn", dataset="folder:x/val", subject="trained", top1=0.5, **more):
    return Score(protocol, dataset, subject, {"top1": top1}, **more)


@pytest.fixture
def directory(tmp_path):
    return RunDirectory(tmp_path)


def listed(directory):
    return scores_of(directory.read_results())


def test_a_score_comes_back_as_it_was(directory):
    given = score(
        settings={"k": 200},
        intervals={"top1": (0.4, 0.6)},
        counts=Counts(16, 10, skipped=6, classes=3),
        found={"k": 64},
        description="how",
        note="k cut",
    )
    add_score(directory, given)
    assert listed(directory) == [given]


def test_the_same_four_replace_and_anything_else_joins(directory):
    for new in (
        score(top1=0.1, settings={"k": 200}),
        score(top1=0.2, settings={"k": 20}),
        score(top1=0.3, dataset="tfds:other/test", settings={"k": 200}),
        score(top1=0.4, subject="untrained", settings={"k": 200}),
        score(top1=0.5, protocol="my_protocol"),
        score(top1=0.9, settings={"k": 200}),
    ):
        add_score(directory, new)
    assert [s.metrics["top1"] for s in listed(directory)] == [0.2, 0.3, 0.4, 0.5, 0.9]


def test_readers_of_the_keys_before_find_them(directory):
    directory.add_results({"skipped_files": [], "pretrain": {"steps": 4}})
    more = {"settings": {"k": 200}, "found": {"k": 64}, "description": "how"}
    add_score(directory, score(top1=0.1, **more))
    add_score(directory, score(top1=0.7, **more))
    add_score(directory, score(top1=0.2, subject="raw_pixels"))
    add_score(directory, score("detect", top1=0.3))
    results = json.loads(directory.results.read_text())
    assert results["knn"] == {"top1": 0.7, "k": 64, "protocol": "how", "note": ""}
    assert results["baselines"]["raw_pixels"]["knn"]["top1"] == 0.2
    assert results["detect"]["top1"] == 0.3  # whatever the protocol's name
    assert results["pretrain"] == {"steps": 4}


OLD = {
    "pretrain": {"steps": 10},
    "skipped_files": [],
    "knn": {"top1": 0.8, "top5": 1.0, "k": 64, "temperature": 0.1,
            "protocol": "weighted kNN", "note": "k cut"},
    "baselines": {"raw_pixels": {"knn": {"top1": 0.3, "protocol": "p"}},
                  "untrained": {"linear": {"top1": 0.4, "epochs": 90}}},
    "finetune": {"top1": 0.9, "top5": 0.99, "epochs": 2, "protocol": "whole network"},
}  # fmt: skip


def test_a_file_from_before_the_list_is_read_and_added_to(directory):
    directory.results.write_text(json.dumps(OLD))
    found = {(s.protocol, s.subject): s for s in listed(directory)}
    assert {key: s.metrics["top1"] for key, s in found.items()} == {
        ("knn", "trained"): 0.8,
        ("knn", "raw_pixels"): 0.3,
        ("linear", "untrained"): 0.4,
        ("finetune", "trained"): 0.9,
    }
    assert found["knn", "trained"].note == "k cut"
    assert found["knn", "trained"].description == "weighted kNN"
    assert found["linear", "untrained"].settings == {"epochs": 90}
    # An old score does not say of which images: a new one of its kind replaces it.
    add_score(directory, score(top1=0.85, settings={"k": 200}))
    kept = {(s.protocol, s.subject): s.metrics["top1"] for s in listed(directory)}
    assert kept["knn", "trained"] == 0.85 and len(listed(directory)) == 4
    results = json.loads(directory.results.read_text())
    assert results["finetune"]["epochs"] == 2
    assert results["baselines"]["untrained"]["linear"]["top1"] == 0.4


@pytest.mark.parametrize(
    "results", [{}, {"knn": None, "baselines": None}, {"convert": {"seconds": 3}}]
)
def test_nothing_scored(results):
    assert scores_of(results) == []


def test_confusions_go_with_their_scores(directory):
    labels, answers = np.array([0, 0, 1, 2]), np.array([0, 1, 1, 2])
    table = Confusion.of(labels, answers, ["a", "b\udcff", "c"])
    first = score(settings={"k": 1}, confusion=table)
    add_score(directory, first)
    add_score(directory, score("linear", confusion=table))
    back = confusions_of(directory)[first.key]
    for name in ("truth", "predicted", "count"):
        np.testing.assert_array_equal(getattr(back, name), getattr(table, name))
    assert back.names == ("a", r"b\xff", "c")
    assert set(confusions_of(directory)) == {s.key for s in listed(directory)}


def test_names_that_are_not_utf8(directory):
    table = Confusion.of(np.zeros(1, int), np.zeros(1, int), "a")
    strange = {"dataset": "folder:caf\udce9/val", "settings": {"file": "\udcff"}}
    given = score(**strange, confusion=table)
    add_score(directory, given)
    (back,) = listed(directory)
    assert back.dataset == r"folder:caf\xe9/val"
    assert back.key == given.key and set(confusions_of(directory)) == {given.key}
    add_score(directory, given)
    assert len(listed(directory)) == 1


@pytest.mark.parametrize("bad", [{"protocol": "baselines"}, {"protocol": "scores"}])
def test_a_protocol_takes_no_other_keys_place(bad):
    with pytest.raises(DataError, match="; try "):
        score(**bad)


def test_a_score_of_nothing_is_refused():
    with pytest.raises(DataError, match="without metrics"):
        Score("knn", "x", "trained", {})


def test_scores_are_read_without_tensorflow():
    code = "import sys, tfssl.show.scores; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_what_a_newer_version_wrote_is_read_as_far_as_it_is_known(directory):
    known = score(counts=Counts(16, 10), note="old")
    add_score(directory, known)
    results = directory.read_results()
    results["scores"][0] |= {"hue": 3, "counts": {"images": 16, "scored": 10, "hue": 1}}
    strange = [
        {"metrics": {"top1": 1.0}},
        {"protocol": "x", "metrics": {}},
        "text",
        None,
    ]
    strange.append({"protocol": "x", "subject": "trained", "metrics": {"top1": [1]}})
    results["scores"] += strange
    directory.write_atomic(directory.results, json.dumps(results))
    assert listed(directory) == [known]
    add_score(directory, score("linear"))
    assert [each.protocol for each in listed(directory)] == ["knn", "linear"]
    kept = directory.read_results()["scores"]
    assert all(each in kept for each in strange)  # a newer version will want them


def test_damaged_confusions_cost_no_score(directory, caplog):
    (directory.path / "confusions.json").write_text("{")
    table = Confusion.of(np.array([0, 1]), np.array([0, 0]), ["a", "b"])
    add_score(directory, score(confusion=table))
    assert len(confusions_of(directory)) == len(listed(directory)) == 1
    assert "confusions.json is damaged" in caplog.text


def test_scores_of_two_checkpoints_are_told_apart(directory, caplog):
    """The run was trained on since; or it holds scores of others' weights."""
    folder = directory.path / "checkpoints"
    add_score(directory, score(), folder / "step-1")
    add_score(directory, score(settings={"k": 9}), folder / "step-1")
    add_score(directory, score(subject="raw_pixels"))
    assert not caplog.text
    add_score(directory, score("linear"), folder / "step-2")
    assert "of checkpoints/step-2, others there are of checkpoints/step-1" in (
        caplog.text
    )
    found = [each.checkpoint for each in listed(directory)]
    assert found == ["checkpoints/step-1"] * 2 + ["", "checkpoints/step-2"]
    caplog.clear()
    add_score(directory, score(), folder / "step-2")
    add_score(directory, score(settings={"k": 9}), "/elsewhere/checkpoints/step-2")
    assert "/elsewhere/checkpoints/step-2, others there are of checkpoints/step-2" in (
        caplog.text
    )

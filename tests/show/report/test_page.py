"""The page: all of a run, parts of one, and nothing from elsewhere."""

from __future__ import annotations

import base64
import html.parser
import re
import subprocess
import sys

import numpy as np
import pytest

from tfssl.runs.scores import Confusion, Counts, Score
from tfssl.show.report import ReportData, build_page, feature_space
from tfssl.show.report.log_sentences import start_sentence
from tfssl.show.scores import RunScores

EVIL = '<script src="https://evil.example/x.js">alert(1)</script>'


def log_rows(count=120):
    rows = [
        {"step": 10 * i, "epoch": i / 10, "loss": 5 / (1 + i), "learning_rate": 0.1,
         "images_per_second": 500.0 + i, "data_wait": 0.03, "gradient_norm": 1.0,
         "entropy": 2.0, "name": "text"}
        for i in range(1, count + 1)
    ]  # fmt: skip
    rows[-1]["knn_top1"] = 0.625
    return rows


def full():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    features = rng.normal(size=(3, 16))[labels] * 3 + rng.normal(size=(60, 16))
    std = rng.uniform(0.5, 1, 16)
    return ReportData(
        title=f"run {EVIL}",
        created="2031-02-03",
        log=log_rows(),
        results={
            "knn": {"top1": 0.8123, "top5": 0.99, "protocol": "kNN protocol text",
                    "note": "k cut from 200 to 60"},
            "linear": {"top1": 0.8531, "protocol": "linear protocol text"},
            "baselines": {
                "raw_pixels": {"knn": {"top1": 0.354}, "linear": {"top1": 0.39}},
                "untrained": {"knn": {"top1": 0.4123}},
            },
            "skipped_files": [{"path": f"/x/{EVIL}.jpg", "reason": "truncated"}],
        },
        flags={"method": "byol", "dataset": f"folder:{EVIL}", "train_steps": 5000,
               "seed": 0, "augment": ""},
        views=rng.integers(0, 256, (3, 2, 32, 32, 3), np.uint8),
        features=features,
        labels=labels,
        images=rng.integers(0, 256, (60, 32, 32, 3), np.uint8),
        class_names=["cat", "dog", EVIL],
        collapse={"std": std, "mean_std": 0.75, "effective_rank": 12.3,
                  "dimension": 16, "duplicates": 0.0123, "verdict": "All is well.",
                  "healthy": True},
        versions={"tensorflow": "9.8.7"},
    )  # fmt: skip


@pytest.fixture(scope="module")
def page():
    return build_page(full())


@pytest.fixture
def quick(monkeypatch):
    """Maps by principal components: t-SNE takes seconds."""
    monkeypatch.setattr(feature_space, "MOST_FOR_TSNE", 0)


class Reader(html.parser.HTMLParser):
    """Collects tags, checks that they close, and keeps what a browser would load."""

    VOID = {"meta", "img", "source", "br", "link", "input", "path"}

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.loads, self.text = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in self.VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "srcset", "href", "action", "data", "poster"}:
                self.loads.append(value)

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] != "style":
            self.text.append(data)


def read(page):
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def words(page):
    return re.sub(r"\s+", " ", " ".join(read(page).text))


def test_nothing_is_loaded_from_elsewhere(page):
    reader = read(page)
    assert not {"script", "link", "iframe", "object", "form"} & set(reader.tags)
    assert reader.loads and all(v.startswith("data:image/") for v in reader.loads)
    style = re.search("<style>(.*?)</style>", page, re.S).group(1)
    assert "url(" not in style and "@import" not in style
    # What is left of "http" is escaped text that came from outside.
    markup = re.sub(r">[^<]*<", "><", page.replace(style, ""))
    assert not re.search(r"(src|href|srcset)=[\"']?\s*(https?:)?//", markup)
    assert "default-src 'none'" in page


def test_text_from_outside_is_escaped(page):
    assert "<script" not in page
    assert page.count("&lt;script") >= 4  # title, flag, class, file


def test_every_section_and_number_is_there(page):
    for name in ("results", "curves", "views", "neighbours", "map", "collapse", "speed",
                 "configuration", "skipped", "versions"):  # fmt: skip
        assert f'<section id="{name}">' in page
    text = words(page)
    for part in ("81.2 %", "85.3 %", "35.4 %", "39.0 %", "41.2 %", "kNN protocol text",
                 "linear protocol text", "k cut from 200", "Raw pixels", "33.3 %",
                 "Untrained encoder", "t-SNE of 60", "12.3 of 16", "1.23 %",
                 "All is well.", "--train_steps", "truncated", "9.8.7", "2031-02-03",
                 "62.5 %", "3.0 % of the time waiting", "1,200", "of 5,000",
                 "Entropy", "scikit-learn"):  # fmt: skip
        assert part in text, part
    assert "Not measured" not in text


def test_pictures_are_whole_and_there_is_one_for_the_dark(page):
    uris = re.findall(r"data:image/(png|jpeg);base64,([A-Za-z0-9+/=]+)", page)
    starts = {"png": b"\x89PNG", "jpeg": b"\xff\xd8"}
    for kind, content in uris:
        assert base64.b64decode(content, validate=True).startswith(starts[kind])
    assert page.count('prefers-color-scheme: dark)" srcset') == 9
    assert len(page) < 3e6


def test_neighbours_are_marked(quick):
    data = full()
    data.features = np.eye(3)[data.labels] + 1e-3 * np.random.default_rng(0).normal(
        size=(60, 3)
    )
    text = words(build_page(data))
    assert "40 of 40" in text and "✗" not in text
    data.labels = np.arange(60)
    text = words(build_page(data))
    assert "0 of 40" in text and text.count("✗") == 40


def test_a_run_still_going():
    text = words(build_page(ReportData(log=log_rows(3), flags={"method": "byol"})))
    assert "Not measured yet" in text
    assert "online kNN top-1 62.5 %" in text


@pytest.mark.parametrize(
    "data",
    [
        ReportData(),
        ReportData(log=[{"step": 1, "loss": float("nan")}]),
        ReportData(results={"knn": {"top1": 0.5}}),
        ReportData(results={"knn": None, "baselines": None, "skipped_files": None}),
        ReportData(features=np.zeros((1, 4))),
        ReportData(
            features=np.zeros((12, 4)), images=np.zeros((12, 8, 8, 3), np.uint8)
        ),
        ReportData(features=np.eye(6), labels=np.full(6, -1)),
        ReportData(collapse={"std": np.zeros(8), "dimension": 8}),
    ],
)
def test_missing_parts(data, quick):
    assert "not measured yet" in words(build_page(data)).lower()


def test_many_classes_and_many_skipped_files(quick):
    data = ReportData(
        features=np.random.default_rng(0).normal(size=(200, 8)),
        labels=np.arange(200) % 50,
        skipped=[{"path": f"{i}.jpg", "reason": "broken"} for i in range(500)],
    )
    text = words(build_page(data))
    assert "and 22 smaller classes" in text
    assert "500 files were" in text and "and 400 more" in text


def test_collapse_is_not_overlooked(quick):
    data = full()
    data.collapse |= {"healthy": False, "verdict": "The features look collapsed."}
    assert '<p class="verdict bad">The features look collapsed.' in build_page(data)


def test_waiting_for_data_is_said():
    rows = [{"step": i, "images_per_second": 10.0, "data_wait": 0.6} for i in range(5)]
    assert "starves" in words(build_page(ReportData(log=rows)))


def log(**changes: dict[int, float]) -> list[dict[str, float]]:
    """A training that falls steadily, with a little noise, but for what is changed."""
    rng = np.random.default_rng(0)
    rows = [
        {
            "step": 10 * i,
            "loss": 9 * 0.99**i + 0.02 * noise,
            "gradient_norm": 40 - 0.2 * i,
        }
        for i, noise in enumerate(rng.normal(size=100))
    ]
    for name, values in changes.items():
        for row, value in values.items():
            rows[row][name] = value
    return rows


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"gradient_norm": {4: 400.0}}, "the gradient norm reached 10.5 times"),
        ({"loss": {i: 9 + i % 2 for i in range(1, 9)}}, "the loss jumped"),
        ({"loss": {i: 9 + 0.1 * i for i in range(20)}}, "the loss rose to 1.21 times"),
        ({"loss": {3: float("nan")}}, "not finite"),
        ({"gradient_norm": {3: float("inf")}}, "not finite"),
        ({"gradient_norm": {60: 400.0}}, ""),
        ({"loss": {80: 30.0}}, ""),
        ({}, ""),
    ],
)
def test_an_unstable_start_is_said(changes, said):
    sentence = start_sentence(log(**changes))
    assert said in sentence and bool(said) == bool(sentence)
    assert bool(said) == ("--warmup_epochs" in sentence)


def test_the_page_says_how_the_start_was(quick):
    unstable = log(gradient_norm={4: 400.0})
    for rows, told in ((unstable, True), (log(), False), (unstable[:8], False)):
        assert ("unstable start" in words(build_page(ReportData(log=rows)))) == told
    assert start_sentence([]) == start_sentence([{"step": 1, "loss": True}]) == ""


def test_scores_of_several_checkpoints_say_which(quick):
    def page(*places):
        scores = [
            Score(name, "x", "trained", {"top1": 0.5}, checkpoint=place)
            for name, place in zip(("knn", "linear"), places, strict=True)
        ]
        return words(build_page(ReportData(chain=[RunScores("", scores)])))

    assert "scored at" not in page("step-1", "step-1")
    text = page("step-1", "other/step-2")
    assert "kNN: scored at step-1" in text and "Linear: scored at other/step-2" in text


def test_a_detection_that_two_runs_keep_is_shown_once(quick):
    row = {"ap": 0.1, "ap50": 0.2, "voc_ap50": 0.3, "objects": 7}
    found = {"precision": [1.0, 0.5, 0.0], "by_class": {"ball": row}}
    scores = [
        Score("detect", "s/val", subject, {"ap": 0.1}, {}, found=found)
        for subject in ("trained", "scratch")
    ]
    chain = [RunScores("", scores), RunScores("detect", scores[:1])]
    text = words(build_page(ReportData(chain=chain)))
    assert text.count("Precision over recall in per cent") == 2
    assert "detect/ · Trained encoder" in text


def test_neither_tensorflow_nor_pyplot():
    # pyplot's global state breaks in threads and picks a window system.
    code = (
        "import sys, tfssl.show.report; "
        "sys.exit(bool({'tensorflow', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_profile_shows_the_share_of_each_piece():
    times = {"input_wait": 1.0, "photometry": 3.0, "forward_backward": 12.0}
    page = build_page(ReportData(profile={"steps": 5, "milliseconds": times}))
    assert 'id="profile"' in page
    assert "forward backward" in page and "75.0 %" in page and "18.8 %" in page
    assert 'id="profile"' not in build_page(ReportData())


def scored(classes, protocol="knn", subject="trained", **more):
    """A score whose class c has c % 4 of 4 images right, the others taken for c + 1."""
    labels = np.repeat(np.arange(classes), 4)
    right = np.tile(np.arange(4), classes) < labels % 4
    answers = np.where(right, labels, (labels + 1) % classes)
    names = more.pop("names", [f"name {c}" for c in range(classes)])
    found = {"top1": float(right.mean()), "top5": 1.0, "mean_per_class": 0.1234}
    counts = Counts(len(labels) + 6, len(labels), skipped=6, classes=classes)
    score = Score(protocol, "folder:x/val", subject, found, counts=counts, **more)
    return score, Confusion.of(labels, answers, names)


def page_of(*pairs, run=""):
    tables = {score.key: table for score, table in pairs if table}
    runs = [RunScores("", []), RunScores(run, [s for s, _ in pairs], tables)]
    return build_page(ReportData(chain=runs if run else runs[1:]))


@pytest.mark.parametrize("classes", [1, 2, 10, 24, 25, 1000])
def test_classes_can_be_read_however_many(classes):
    page = page_of(scored(classes))
    text = words(page)
    table = re.search('<table class="confusion.*?</table>', page, re.S).group()
    assert table.count("<td") == min(classes, 24) ** 2
    assert ("most confused of" in text) == (classes > 24)
    assert ("Hardest classes 10 of" in text) == (classes > 24)
    assert "12.3 %" in text
    assert f"{4 * classes:,} of {4 * classes + 6:,}" in text
    assert ("top-5" in text) == (classes > 5)  # of five classes, all are
    if classes > 1:
        assert "taken for" in text
    if classes == 1000:
        # 0, 4, 8 … have no image right.
        first = re.search('<table class="each">.*?</table>', page, re.S).group()
        assert "name 996" not in first and first.count("0.0 %") >= 10
        assert len(page) < 2e6


def test_numbers_of_a_class_and_its_confusions():
    text = words(page_of(scored(10)))
    # Class 3 has 3 of 4; class 2 has 2 of 4, and is given as answer to 3 images of 1.
    assert "name 3 4 75.0 % 60.0 % 66.7 % name 4 (1)" in text
    assert "name 2 4 50.0 % 40.0 % 44.4 % name 3 (2)" in text
    assert "1. name" not in text and "name 0 taken for name 1 4 of 4 images" in text


def test_any_protocol_and_run_has_its_table():
    text = words(page_of(scored(3, "transfer_knn", settings={"k": 5}), run="tuned"))
    assert "tuned/ · Transfer knn · folder:x/val" in text
    overlap = Score("segment", "voc", "trained", {"mIoU": 0.456})
    page = page_of((overlap, None), scored(3))
    assert "45.6 %" in words(page)
    assert page.count('class="headline scores"') == 2  # overlaps apart from accuracies


def test_names_that_are_not_printable_are_written(tmp_path, quick):
    data = full()
    data.title = data.flags["augment"] = "caf\udce9"
    data.class_names[0] = "a\udcffb"
    data.results["skipped_files"] = [{"path": "/x/\udc80\n.jpg", "reason": "bad"}]
    data.chain = [RunScores("", [(pair := scored(2, names=["b\udcfe", "ok"]))[0]],
                            {pair[0].key: pair[1]})]  # fmt: skip
    page = build_page(data)
    (tmp_path / "page.html").write_text(page, encoding="utf-8")
    for shown in (r"caf\xe9", r"a\xffb", r"b\xfe", r"/x/\x80\n.jpg"):
        assert shown in page, shown


def test_the_page_says_how_the_images_were_read():
    line = (
        "folder:photos/train: 20 images, no labels; passed over 200 files (200 .heic)"
    )
    data = ReportData(results={"data": {"folder:photos/train": {"text": line}}})
    page = build_page(data)
    assert "How the images were read" in page and line in page
    assert "How the images were read" not in build_page(ReportData())

"""Learning curves: points from scores, a table, a picture in the report."""

import statistics

from tfssl.runs.scores import Score
from tfssl.show.label_curves import Measured, curves, text_table
from tfssl.show.report import ReportData, build_page


def of(fraction, images, protocol, subject, top1, **settings):
    return Measured(
        images, fraction, Score(protocol, "val", subject, {"top1": top1}, settings)
    )


ROWS = [
    of("0.1", 100, "finetune", "trained", 0.7),
    of("0.01", 10, "finetune", "trained", 0.4),
    of("0.01", 10, "finetune", "trained", 0.5),
    of("0.01", 10, "finetune", "scratch", 0.2),
    of("0.01", 10, "distill", "trained", 0.6, encoder="small"),
    of("0.01", 10, "distill", "teacher", 0.9, encoder="small"),
    of("0.1", 100, "linear", "trained", 0.3),
    of("0.1", 100, "linear", "untrained", 0.1),
    of("0.1", 100, "knn", "trained", 0.3),
]


def test_points_are_means_over_draws_the_fewest_images_first():
    found = {curve.name: curve.points for curve in curves(ROWS)}
    assert list(found) == [
        "supervised from scratch", "linear", "fine-tuned", "distilled, small",
    ]  # fmt: skip
    low, high = found["fine-tuned"]
    assert (low.images, low.draws, high.draws) == (10, 2, 1)
    assert low.mean == statistics.fmean([0.4, 0.5])
    assert low.deviation == statistics.stdev([0.4, 0.5]) and high.deviation == 0
    assert found["linear"][0].mean == 0.3  # not the baseline's
    assert found["distilled, small"][0].mean == 0.6


def test_the_table_and_the_page_show_them():
    heads, *rows = text_table(curves(ROWS))
    assert heads == ("labels", "0.01 (10 images)", "0.1 (100 images)")
    assert ("fine-tuned", "45.0 % ± 7.1", "70.0 %") in rows
    assert ("supervised from scratch", "20.0 %", "-") in rows
    assert text_table([]) == []
    page = build_page(ReportData(curves=curves(ROWS)))
    assert "Accuracy against labels" in page and "45.0 % ± 7.1" in page
    assert "Means over 2 draws" in page
    assert "Accuracy against labels" not in build_page(ReportData())

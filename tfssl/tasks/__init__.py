"""One file per `--mode`; composition of the parts, and the only readers of Config."""

from tfssl.tasks import convert, doctor, export, finetune, knn, linear, pretrain, report

MODES = {
    "pretrain": pretrain.run,
    "convert": convert.run,
    "knn": knn.run,
    "linear": linear.run,
    "finetune": finetune.run,
    "export": export.run,
    "report": report.run,
    "doctor": doctor.run,
}
"""Mode to function of the resolved Config; each returns the process's exit code."""

__all__ = ["MODES"]

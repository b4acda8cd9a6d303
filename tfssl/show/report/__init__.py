"""The report of a run: one self-contained HTML page, made without TensorFlow."""

from tfssl.show.report.data import ReportData, read_log
from tfssl.show.report.page import build_page

__all__ = ["ReportData", "build_page", "read_log"]

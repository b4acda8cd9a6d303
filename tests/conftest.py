"""Quiet TensorFlow, and `slow` tests only with `--runslow`."""

from __future__ import annotations

import os
import tempfile

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As `tfssl.config.startup` does it: the tests run the kernels that users run.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
# Indexes of data sets go nowhere near the developer's own.
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="tfssl-test-cache-")


def pytest_addoption(parser):
    parser.addoption(
        "--runslow", action="store_true", help="also run the tests marked slow"
    )


def pytest_collection_modifyitems(config, items):
    if config.getoption("--runslow"):
        return
    skip = pytest.mark.skip(reason="slow: needs --runslow")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def files():
    """Writes small image files; imported late, since it imports TensorFlow."""
    from tests import pictures

    return pictures


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Makes what a test printed or logged text that xdist can send.

    Names of files that are not UTF-8 hold lone surrogates; a worker ends with them.
    """
    del item, call
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode())
        for name, text in report.sections
    ]
    return report

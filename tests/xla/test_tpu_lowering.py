"""Every step lowers for TPU, in an environment with TensorFlow for TPU.

`make tpu-lowering` makes that environment and runs this; nothing here needs a TPU. It
checks neither memory, nor collectives, nor TPUStrategy itself.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.xla.step_program import DENSE, LOOK
from tfssl.config.methods import METHODS

ROOT = Path(__file__).parents[2]
PYTHON = os.environ.get("TFSSL_TPU_PYTHON", "")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not PYTHON, reason="TFSSL_TPU_PYTHON is not set; make tpu-lowering sets it"
    ),
]
CASES = [*sorted(METHODS), "simclr@mixed_bfloat16", *DENSE, f"segment{LOOK}"]
"""Not what a detector's evaluation runs: suppression has no kernel for TPU."""


@pytest.fixture(scope="module")
def lowered(tmp_path_factory):
    out = tmp_path_factory.mktemp("tpu") / "lowered.json"
    environment = {
        **os.environ,
        # Without it, libtpu asks Google's metadata server who we are, for minutes.
        "TPU_SKIP_MDS_QUERY": "1",
        "KERAS_BACKEND": "tensorflow",
    }
    command = [PYTHON, "-m", "tests.xla.step_program", "lower", str(out), *CASES]
    subprocess.run(command, check=True, cwd=ROOT, env=environment, timeout=1800)
    return json.loads(out.read_text())


@pytest.mark.parametrize("case", CASES)
def test_the_step_lowers_for_tpu(lowered, case):
    found = lowered["cases"][case]
    # Forward and backward of 20 convolutions, more where there are two networks; the
    # last stage of `rcnn_c4` sees regions in one product with each.
    forward = 20 if case.endswith(LOOK) else 40 if case in DENSE else 60
    assert found["convolutions"] >= forward
    assert found["host_transfers"] == 0 and found["dynamic"] == 0
    narrow = found["bf16_convolutions"]
    assert narrow >= 60 if "bfloat16" in case else narrow == 0

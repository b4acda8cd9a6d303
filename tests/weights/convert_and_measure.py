"""Converts one file in a process of its own and prints time and peak memory as JSON.

    python tests/weights/convert_and_measure.py KIND:PATH RUN_DIR [--flag=value ...]

`baseline_mb`: resident after TensorFlow (and PyTorch where needed) was imported;
`peak_mb`: the highest resident size while converting; both in 1e6 bytes.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path


def status(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(field)


def main() -> None:
    source, run_dir, *more = sys.argv[1:]
    import tfssl.tasks.convert
    from tfssl.main import main as tfssl_main

    del tfssl.tasks.convert
    if source.startswith(("moco:", "torchvision:")):
        import torch

        del torch
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again
    baseline = status("VmRSS")
    start = time.monotonic()
    argv = ["tfssl", "--mode=convert", f"--source={source}", f"--run_dir={run_dir}"]
    code = tfssl_main([*argv, *more])
    seconds = time.monotonic() - start
    size = sum(f["bytes"] for f in files(run_dir)) / 1e6
    peak = status("VmHWM")
    print(
        json.dumps(
            {
                "code": code,
                "file_mb": round(size, 1),
                "baseline_mb": round(baseline, 1),
                "peak_mb": round(peak, 1),
                "growth_over_file": round((peak - baseline) / size, 2),
                "peak_over_file": round(peak / size, 2),
                "seconds": round(seconds, 1),
            }
        )
    )


def files(run_dir: str) -> list[dict]:
    record = json.loads((Path(run_dir) / "provenance.json").read_text())
    return record["source"]["files"]


if __name__ == "__main__":
    main()

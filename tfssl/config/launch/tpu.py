"""The environment and the packages that TensorFlow needs to see a TPU.

Everything here was learned from packages and reports; none of it ran on a TPU.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, MutableMapping
from importlib import metadata
from pathlib import Path

from tfssl.errors import message

INSTALL = "pip install -r requirements-tpu.txt in a fresh environment"

# tensorflow-tpu 2.20 asks for libtpu ~=0.0.14, so pip takes the newest, and with
# 0.0.40 and later `import tensorflow` aborts the process ("ConfigureDistributedTpuOp_
# DoWork not available in this library"). These were imported without that.
FIRST_LIBTPU, LAST_LIBTPU = (0, 0, 14), (0, 0, 30)

_XLA_FLAGS = (
    "--tf_mlir_enable_mlir_bridge=true",
    "--tf_mlir_enable_convert_control_to_data_outputs_pass=true",
    "--tf_mlir_enable_merge_control_flow_pass=true",
)


def installed() -> dict[str, str]:
    """Version of each of the packages that matter, where it is installed."""
    found = {}
    for name in ("tensorflow", "tensorflow-tpu", "tensorflow-cpu", "libtpu"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def problems(versions: Mapping[str, str]) -> list[str]:
    """Returns what is wrong with the installed packages, one sentence each.

    Args:
      versions: See `installed`.
    """
    found = []
    tpu, libtpu = versions.get("tensorflow-tpu"), versions.get("libtpu")
    stock = [name for name in ("tensorflow", "tensorflow-cpu") if name in versions]
    if tpu is None:
        have = ", ".join(f"{name} {versions[name]}" for name in stock) or "none"
        found.append(
            message(
                f"--strategy=tpu with TensorFlow for CPU and GPU ({have})",
                "the package tensorflow-tpu, which can drive a TPU",
                INSTALL,
            )
        )
    elif stock:
        found.append(
            message(
                f"{stock[0]} {versions[stock[0]]} installed over tensorflow-tpu {tpu}: "
                "they are the same files, and the one without TPU support may have won",
                "tensorflow-tpu alone",
                f"pip uninstall -y {' '.join(stock)} tensorflow-tpu, then pip install "
                f"--no-deps --force-reinstall tensorflow-tpu=={tpu}; what depends on "
                "tensorflow (keras-hub, tf-keras) is installed with --no-deps",
            )
        )
    if libtpu is None:
        found.append(
            message(
                "--strategy=tpu without the package libtpu",
                "libtpu==0.0.19.1, the TPU's driver",
                INSTALL,
            )
        )
    elif tpu and not FIRST_LIBTPU <= _numbers(libtpu) <= LAST_LIBTPU:
        low, high = (".".join(map(str, v)) for v in (FIRST_LIBTPU, LAST_LIBTPU))
        found.append(
            message(
                f"libtpu {libtpu} with tensorflow-tpu {tpu}, which aborts with it",
                f"libtpu from {low} to {high}",
                "pip install --no-deps libtpu==0.0.19.1",
            )
        )
    return found


def _numbers(version: str) -> tuple[int, ...]:
    parts = [part for part in version.split("+")[0].split(".") if part.isdigit()]
    return tuple(int(part) for part in parts)[:3]


def prepare(environ: MutableMapping[str, str], library: str | None = None) -> None:
    """Sets what TensorFlow reads when it loads, where the user has not.

    PJRT (the runtime of TPU v5 and later, and of Colab) and the three passes without
    which its compiler refuses control flow: as KerasRS' published example sets them.

    Args:
      environ: `os.environ`.
      library: Path of libtpu.so; None: that of the installed package.
    """
    environ.setdefault("PJRT_DEVICE", "TPU")
    environ.setdefault("NEXT_PLUGGABLE_DEVICE_USE_C_API", "true")
    library = library or _library()
    if library:
        environ.setdefault("TF_PLUGGABLE_DEVICE_LIBRARY_PATH", library)
    flags = environ.get("TF_XLA_FLAGS", "").split()
    given = {flag.partition("=")[0] for flag in flags}
    flags += [flag for flag in _XLA_FLAGS if flag.partition("=")[0] not in given]
    environ["TF_XLA_FLAGS"] = " ".join(flags)


def _library() -> str | None:
    spec = importlib.util.find_spec("libtpu")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "libtpu.so"
    return str(path) if path.exists() else None

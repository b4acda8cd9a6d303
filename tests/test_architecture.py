"""The rules of the architecture, read from the source with `ast`.

`violations` is a pure function of the sources, so that the tests below can also hand
it sources that break each rule, and see it fail.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tfssl

PACKAGE = Path(tfssl.__file__).parent

LAYERS = (
    ("config", "errors", "addons"),
    ("core", "augment"),
    ("data", "models", "losses", "optim"),
    ("methods", "runs", "embeddings"),
    ("train", "evaluate", "weights", "exporters"),
    ("show",),
    ("build",),
    ("tasks",),
    ("main", "api"),
)
LAYER = {name: layer for layer, names in enumerate(LAYERS) for name in names}

TENSORFLOW = {"tensorflow", "keras", "tensorflow_datasets", "keras_cv"}
TABLES = ("recipes", "recipe_types", "figure5", "description")
DOORS = LAYERS[-1]
TENSORFLOW_FREE = ("", *LAYERS[0], *DOORS, "show.report", "show.scores",
                   "show.transfer", "runs.scores", "embeddings")  # fmt: skip
TENSORFLOW_FREE += tuple(f"augment.{name}" for name in TABLES)
READS_CONFIG = ("tasks", "build", *LAYERS[0], *DOORS)
NAMES = ("augment_name", "dataset_name", "encoder_name", "inherit", "launch", "remote")
NAMES += ("tables",)
TOUCHES_ABSL_FLAGS = ("config.command_line", *DOORS)
NAMES_A_DEVICE = ("core.runtime", "config.launch.tpu")
DEVICE = re.compile(r"(/.*)?((physical|logical)_)?(device:)?(CPU|GPU|TPU)(:.*)?", re.I)
JUNK_DRAWERS = {"utils", "util", "common", "helpers", "misc"}
DEPENDENCIES = {"absl", "flags", "jinja2", "matplotlib", "numpy", "optax", "sklearn"}
DEPENDENCIES |= TENSORFLOW | {"tqdm", "PIL", "orbit", "numba", "llvmlite"}
MAX_LINES = 500
EXPORTED = ("api", "build", "errors")


def sources() -> dict[str, str]:
    """Module name inside the package ("core.seeds"; "" is its __init__) to text."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        found[".".join(parts)] = path.read_text()
    return found


def imports(module: str, tree: ast.AST, packages: set[str]) -> list[tuple[str, int]]:
    """(full name, line) of everything imported, also inside functions."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                here = ["tfssl", *module.split(".")] if module else ["tfssl"]
                up = node.level - (module in packages)
                here = here[: len(here) - up] if up else here
                base = ".".join([*here, *([node.module] if node.module else [])])
            found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return found


def within(module: str, areas: tuple[str, ...]) -> bool:
    return any(module == a or (a and module.startswith(f"{a}.")) for a in areas)


def violations(files: dict[str, str]) -> list[str]:
    """Everything in the sources that breaks a rule, one line each."""
    packages = {name.rpartition(".")[0] for name in files} | {""}
    found = []
    for module, text in files.items():
        tree = ast.parse(text)
        area = module.partition(".")[0]
        found += _names(module, text)
        if area and area not in LAYER:
            found.append(f"{module}: {area} has no layer")
            continue
        for name, line in imports(module, tree, packages):
            found += [f"{module}:{line}: {why}" for why in _import(module, area, name)]
        found += [f"{module}:{line}: {why}" for line, why in _code(module, tree)]
    return found


def _names(module: str, text: str) -> list[str]:
    found = []
    for part in module.split("."):
        if part in JUNK_DRAWERS:
            found.append(f"{module}: {part} says nothing")
        if part in sys.stdlib_module_names or part in DEPENDENCIES:
            found.append(f"{module}: {part} is the name of another module")
    lines = len(text.splitlines())
    if lines > MAX_LINES:
        found.append(f"{module}: {lines} lines, more than {MAX_LINES}")
    return found


def _import(module: str, area: str, name: str) -> list[str]:
    found = []
    top, _, rest = name.partition(".")
    if top in TENSORFLOW and within(module, TENSORFLOW_FREE):
        found.append(f"imports {top}, but is free of TensorFlow")
    if name.startswith("absl.flags") and not within(module, TOUCHES_ABSL_FLAGS):
        found.append("touches absl.flags")
    other = rest.partition(".")[0]
    if top != "tfssl" or other not in LAYER or other == area:
        return found
    if not area:
        # Names for type checkers: nothing is loaded before its use, see the test below.
        return [] if other in EXPORTED else [f"the package's __init__ imports {name}"]
    if LAYER[other] > LAYER[area]:
        found.append(f"upward import of {name}")
    elif LAYER[other] == LAYER[area] and area not in LAYERS[0]:
        found.append(f"import of its sibling {name}")
    what = rest.removeprefix("config").removeprefix(".")
    named = what.partition(".")[0] in NAMES
    if other == "config" and not named and not within(module, READS_CONFIG):
        found.append("reads Config")
    free = within(module, TENSORFLOW_FREE) and not within(module, DOORS)
    if free and not within(rest, TENSORFLOW_FREE) and other not in LAYERS[0]:
        found.append(f"imports {name}, which imports TensorFlow")
    return found


def _code(module: str, tree: ast.AST) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append((node.lineno, "assert: raise an error that says what to try"))
        text = getattr(node, "value", None)
        if isinstance(node, ast.Constant) and isinstance(text, str):
            named = text.startswith("/") or text.upper() == text or ":" in text
            if named and DEVICE.fullmatch(text) and not within(module, NAMES_A_DEVICE):
                found.append((node.lineno, f"names the device {text!r}"))
    return found


# --- the package ------------------------------------------------------------------


def test_the_package_obeys():
    assert violations(sources()) == []


@pytest.mark.parametrize(
    "module",
    [
        "tfssl",
        "tfssl.main",
        "tfssl.api",
        pytest.param("tfssl.show.report", marks=pytest.mark.slow),  # scikit-learn
    ],
)
def test_import_leaves_tensorflow_out(module):
    if (
        module == "tfssl.show.report"
        and not (PACKAGE / "show" / "report" / "__init__.py").exists()
    ):
        pytest.skip("no report yet")
    code = f"import sys, {module}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_folder_is_a_package_with_a_layer():
    for folder in PACKAGE.iterdir():
        if folder.is_dir() and any(folder.glob("*.py")):
            assert folder.name in LAYER
            assert (folder / "__init__.py").exists(), folder


# --- the rules themselves: each must fail on a source that breaks it --------------


@pytest.mark.parametrize(
    ("module", "text", "words"),
    [
        ("core.seeds", "from tfssl.methods import BYOL", "upward import"),
        ("core.seeds", "from tfssl import methods", "upward import"),
        ("core.seeds", "import tfssl.train.loop", "upward import"),
        ("core.seeds", "from ..methods.byol import BYOL", "upward import"),
        ("core.seeds", "def f():\n    from tfssl.data import x", "upward import"),
        ("train.loop", "from tfssl.tasks import run", "upward import"),
        ("losses.byol", "from tfssl.optim import LARS", "sibling"),
        ("core.seeds", "from tfssl.augment.recipes import RECIPES", "sibling"),
        ("config", "import tensorflow as tf", "free of TensorFlow"),
        ("config.command_line", "def f():\n    import keras", "free of TensorFlow"),
        ("show.report.page", "from tensorflow import io", "free of TensorFlow"),
        ("augment.recipes", "import tensorflow", "free of TensorFlow"),
        (
            "show.report.page",
            "from tfssl.train import loop",
            "which imports TensorFlow",
        ),
        ("", "from tfssl.losses import nt_xent", "__init__ imports"),
        ("optim.lars", "from absl import flags", "absl.flags"),
        ("tasks.pretrain", "import absl.flags", "absl.flags"),
        ("methods.byol", "from tfssl.config import Config", "reads Config"),
        ("data.folder", "import tfssl.config", "reads Config"),
        ("train.loop", "x = tf.device('/GPU:0')", "names the device"),
        ("train.loop", "x = list_devices('CPU')", "names the device"),
        ("train.loop", "x = 'gpu:1'", "names the device"),
        ("train.loop", "x = f'/device:TPU:{i}'", "names the device"),
        ("train.loop", "assert x", "assert"),
        ("train.loop", "x = 1\n" * 501, "501 lines"),
        ("train.utils", "", "says nothing"),
        ("methods.queue", "", "name of another module"),
        ("models.flags", "", "name of another module"),
        ("models.keras", "", "name of another module"),
        ("helpers", "", "no layer"),
    ],
)
def test_a_violation_is_found(module, text, words):
    found = violations({module: text})
    assert any(words in line and line.startswith(module) for line in found), found


def test_a_violation_injected_into_a_real_file_is_found():
    text = sources()["core.seeds"]
    assert violations({"core.seeds": text}) == []
    (new,) = violations({"core.seeds": text + "\nfrom tfssl.methods import BYOL\n"})
    assert new.startswith("core.seeds:") and "upward import of tfssl.methods" in new


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("core.runtime", "x = tf.device('/GPU:0')"),
        ("tasks.pretrain", "from tfssl.config import Config"),
        ("methods.byol", "from tfssl.core import seeds\nfrom .base import Method"),
        ("main", "def f():\n    from tfssl.tasks import run"),
        ("show.report.page", "from tfssl.errors import TfsslError"),
        ("train.loop", "'''On a GPU, on the CPU.'''\nx = 'cpu seconds'"),
    ],
)
def test_what_is_allowed_passes(module, text):
    assert violations({module: text}) == []

"""mypy reads all that has no TensorFlow; elsewhere, public signatures are whole."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Without usable stubs, or, as numba, with functions that no type fits.
UNTYPED = {"tensorflow", "keras", "keras_cv", "keras_hub", "tensorflow_datasets"}
UNTYPED |= {"torch", "numba"}
SOURCES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
        ".__init__"
    ): path
    for path in sorted((ROOT / "tfssl").rglob("*.py"))
}


def at_import(nodes):
    """Every node but those inside functions."""
    for node in nodes:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_import(ast.iter_child_nodes(node))


def imported(path: Path) -> set[str]:
    """What a module imports while it is imported itself, with all packages above."""
    names = set()
    for node in at_import(ast.parse(path.read_text()).body):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {
        ".".join(n.split(".")[:i]) for n in names for i in range(1, n.count(".") + 2)
    }


def without_tensorflow() -> set[str]:
    """Modules that import no TensorFlow, neither themselves nor by another of ours."""
    needs = {name: imported(path) for name, path in SOURCES.items()}
    heavy = {name for name in needs if needs[name] & UNTYPED}
    while more := {n for n in set(needs) - heavy if needs[n] & heavy}:
        heavy |= more
    return set(SOURCES) - heavy


def checked_by_mypy() -> set[str]:
    text = (ROOT / "pyproject.toml").read_text()
    listed = re.search(r"^files = \[(.*?)^\]", text, re.M | re.S)[1]
    paths = [ROOT / entry for entry in re.findall(r'"(.+?)"', listed)]
    assert all(path.exists() for path in paths)
    return {
        name
        for name, source in SOURCES.items()
        if any(source == path or path in source.parents for path in paths)
    }


def test_mypy_reads_every_module_without_tensorflow():
    assert without_tensorflow() - checked_by_mypy() == set()


def functions(body, owner=""):
    """Public functions, and methods of public classes, with their names."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, f"{node.name}.")
        elif isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield f"{owner}{node.name}", node


@pytest.mark.parametrize("name", sorted(set(SOURCES) - checked_by_mypy()))
def test_public_signatures_are_whole(name):
    lacking = []
    for function, node in functions(ast.parse(SOURCES[name].read_text()).body):
        a = node.args
        rest = [arg for arg in (a.vararg, a.kwarg) if arg]
        arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *rest]
        lacking += [
            f"{function}({arg.arg})"
            for arg in arguments
            if arg.annotation is None and arg.arg not in ("self", "cls")
        ]
        lacking += [f"{function} ->"] if node.returns is None else []
    assert lacking == []

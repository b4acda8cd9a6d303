"""Every tool finds the package of its own clone, from wherever it is started."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
SCRIPTS = sorted(path.stem for path in TOOLS.glob("*.py"))


def imported(name: str) -> set[str]:
    """First part of every module that a tool, or a tool that it imports, imports."""
    found = set()
    for node in ast.walk(ast.parse((TOOLS / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(str(node.module).partition(".")[0])
    return found.union(*(imported(other) for other in found & set(SCRIPTS)))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_tool_finds_the_package_in_one_way(name):
    if "tfssl" in imported(name):
        assert "find_tfssl" in imported(name)
    assert name == "find_tfssl" or "sys.path" not in (TOOLS / f"{name}.py").read_text()


def test_a_tool_and_its_processes_import_the_clone_from_any_folder(tmp_path):
    program = (
        "import subprocess, sys, find_tfssl, tfssl; print(tfssl.__file__, flush=True);"
        "subprocess.run([sys.executable, '-c', 'import tfssl; print(tfssl.__file__)'])"
    )
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[0] = {str(TOOLS)!r}; {program}"],
        capture_output=True, text=True, cwd=tmp_path, env=environment, check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(TOOLS.parent / "tfssl" / "__init__.py")] * 2


def test_every_extra_is_checked_when_it_is_installed_alone():
    """By `make extras`; `all` is the others."""
    import check_dist

    text = (TOOLS.parent / "pyproject.toml").read_text()
    table = text.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    extras = dict(re.findall(r"^(\w+) = \[(.*)\]", table, re.MULTILINE))
    assert set(extras) == {*check_dist.USES, "all"}
    assert extras["all"] == f'"tfssl[{",".join(check_dist.USES)}]"'

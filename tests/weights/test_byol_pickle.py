"""Malicious pickles: refused by name, and nothing in them ran."""

from __future__ import annotations

import copyreg
import os
import pickle
import struct

import pytest

from tfssl.errors import CheckpointError
from tfssl.weights import byol_pickle


class Shell:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


class WithState:
    def __reduce__(self):
        return dict, (), {"__setattr__": 1}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def program(*parts: bytes) -> bytes:
    return b"\x80\x02" + b"".join(parts) + b"."


CREATE = b"cdill._dill\n_create_namedtuple\n"
GET, IMPORT = b"cdill._dill\n_get_attr\n", b"cdill._dill\n_import_module\n"


def hostile(marker: str) -> dict[str, bytes]:
    """Name to a pickle that makes the file `marker` if anything in it is called."""
    command = f"touch {marker}"
    system = b"cos\nsystem\n"
    run = text(command) + b"\x85R"
    imported = IMPORT + text("os") + b"\x85R"
    return {
        "reduce_2": pickle.dumps(Shell(command), protocol=2),
        "reduce_4": pickle.dumps(Shell(command), protocol=4),
        "inside": pickle.dumps({"experiment_state": [Shell(command)], "step": 1}, 2),
        "global_only": program(system),
        "nested_global": program(b"cos\npath.os.system\n", run),
        "stack_global": program(text("os"), text("system"), b"\x93", run),
        "builtins_eval": program(b"c__builtin__\neval\n", run),
        "builtins_getattr": program(b"cbuiltins\ngetattr\n", run),
        # dill's helper returns whatever attribute of whatever module it is asked for.
        "namedtuple": program(
            CREATE, text("system"), b")", text("os"), b"\x87R", run
        ),
        "namedtuple_fields": program(
            CREATE,
            text("_ByolExperimentState"),
            text(f"a=__import__('os').system({command!r})") + b"\x85",
            text("byol.byol_experiment"),
            b"\x87R",
        ),
        "import_module": program(imported),
        "get_attr": program(GET, imported, text("system"), b"\x86R", run),
        "get_attr_of_known": program(
            GET, IMPORT, text("_codecs"), b"\x85R", text("register"), b"\x86R", run
        ),
        "attribute_chain": program(
            GET,
            GET,
            IMPORT,
            text("_codecs"),
            b"\x85R",
            text("encode"),
            b"\x86R",
            text("__globals__"),
            b"\x86R",
        ),
        "dill_create_code": program(b"cdill._dill\n_create_code\n"),
        "dill_create_function": program(b"cdill._dill\n_create_function\n"),
        "instance": b"(" + text(command) + b"ios\nsystem\n.",
        "object": program(b"(", system, text(command), b"o"),
        "extension": program(b"\x82\x01"),
        "persistent": program(text("x"), b"Q"),
        "numpy_load": program(b"cnumpy\nload\n"),
        "runstring": program(b"cnumpy.testing._private.utils\nrunstring\n"),
        "state_of_a_function": program(
            b"c_codecs\nencode\n", b"}", text("__code__"), text("x"), b"s", b"b"
        ),
        "call_of_text": program(text("os.system"), run),
        "defaults_of_a_function": program(
            b"c_codecs\nencode\n", b"N}", text("__defaults__"), text("x"), b"s\x86b"
        ),
        "state_of_a_class": program(
            b"coptax\nEmptyState\n", b"}", text("__new__"), text("x"), b"sb"
        ),
        "array_by_system": program(
            b"cdill._dill\n_create_array\n", b"(", system, text(command), b"\x85NNtR"
        ),
        "known_extension": program(b"\x82\xf0", run),
        "object_array": program(
            b"cnumpy.core.multiarray\n_reconstruct\n",
            b"cnumpy\nndarray\n",
            b"K\x00\x85",
            text("b"),
            b"\x87R",
            b"(K\x01K\x01\x85",
            b"cnumpy\ndtype\n" + text("O8") + b"\x85R",
            b"\x89",
            b"]" + text(command) + b"at",
            b"b",
        ),
    }  # fmt: skip


NAMES = sorted(hostile("x"))
NAMED = {
    "reduce_2": "posix.system",
    "reduce_4": "posix.system",
    "inside": "posix.system",
    "global_only": "os.system",
    "nested_global": "os.path.os.system",
    "stack_global": "os.system",
    "builtins_eval": "builtins.eval",
    "builtins_getattr": "builtins.getattr",
    "namedtuple": "os.system",
    "namedtuple_fields": "__import__",
    "import_module": "'os'",
    "get_attr": "'os'",
    "get_attr_of_known": "_codecs.register",
    "attribute_chain": "__globals__",
    "dill_create_code": "_create_code",
    "dill_create_function": "_create_function",
    "instance": "os.system",
    "object": "os.system",
    "array_by_system": "os.system",
    "persistent": "outside the file",
    "numpy_load": "numpy.load",
    "runstring": "runstring",
    "state_of_a_function": "a state for Function",
    "defaults_of_a_function": "a state for Function",
    "known_extension": "os.system",
}
"""Words of the message: what was asked for."""
LATER = {"object_array": "a numeric type"}
"""Known functions only, so what is wrong shows when the array is understood."""


@pytest.fixture
def known_extension():
    """A number for `os.system` that this process has unpickled before."""
    copyreg.add_extension("os", "system", 0xF0)
    pickle.loads(program(b"\x82\xf0"))
    yield
    copyreg.remove_extension("os", "system", 0xF0)
    copyreg.clear_extension_cache()


@pytest.mark.parametrize("name", NAMES)
def test_refused_and_not_executed(tmp_path, name, known_extension):
    marker = tmp_path / "ran"
    path = tmp_path / "evil.pkl"
    path.write_bytes(hostile(str(marker))[name])
    with pytest.raises(CheckpointError) as caught:
        value = byol_pickle.load_tree(path)
        byol_pickle.array(value, "x")
    assert not marker.exists()
    want = LATER.get(name, "nothing in it was executed")
    assert want in str(caught.value)
    assert NAMED.get(name, "") in str(caught.value)


def test_the_markers_are_real(tmp_path):
    """The same file does run where Python's own unpickler opens it."""
    marker = tmp_path / "ran"
    pickle.loads(hostile(str(marker))["reduce_2"])
    assert marker.exists()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"\x80\x02",
        program(b"h\x05"),
        program(b"R"),
        program(b"\x87"),
        program(b"}]K\x01s"),  # an unhashable key
        program(b"t"),
        b"\x80\x04\x8d" + b"\xff" * 8 + b".",  # a text of 2**64 bytes
        b"PK\x03\x04zip",
        bytes(range(256)) * 4,
    ],
)
def test_damaged_ones_are_refused(tmp_path, data):
    path = tmp_path / "bad.pkl"
    path.write_bytes(data)
    with pytest.raises(CheckpointError):
        byol_pickle.load_tree(path)


def test_a_memo_that_contains_itself_ends(tmp_path):
    path = tmp_path / "loop.pkl"
    loop: dict = {}
    loop["loop"] = loop
    path.write_bytes(pickle.dumps(loop, 2))
    tree = byol_pickle.load_tree(path)
    assert tree["loop"] is tree
    with pytest.raises(CheckpointError):
        byol_pickle.array(tree, "x")


def test_a_high_number_in_the_memo_takes_no_memory(tmp_path):
    """The unpickler in C reserves 16 bytes for every number below."""
    path = tmp_path / "memo.pkl"
    path.write_bytes(program(b"}r" + struct.pack("<I", 2**31 - 1)))
    assert byol_pickle.load_tree(path) == {}

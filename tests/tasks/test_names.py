"""Whole commands where the terminal is ASCII and the names are not even UTF-8."""

import json
import os
import subprocess
import sys

import pytest

from tests.pictures import encoded, picture
from tests.tasks.test_end_to_end import argv
from tests.worker_processes import ROOT
from tfssl.data import audit, open_source

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
CLASSES = (b"caf\xe9", "na\u00efve \u732b\u2028\n\u202e".encode(), b"dog, \"one\"\t'1'")
MODES = "pretrain,finetune,export,report"


def tree(root):
    for split, count in ((b"train", 8), (b"val", 4)):
        for number, name in enumerate(CLASSES):
            folder = os.path.join(os.fsencode(root), split, name)
            os.makedirs(folder)
            for i in range(count):
                data = encoded(picture(100 * number + i + count), "PNG")
                with open(
                    os.path.join(folder, b"\xff %d \xc3\xa9.png" % i), "wb"
                ) as out:
                    out.write(data)
            with open(os.path.join(folder, b"broken \xe9.jpg"), "wb") as out:
                out.write(b"no picture")


def test_what_the_doctor_says_of_them_is_text(tmp_path):
    tree(tmp_path)
    train, held_out = (
        open_source(f"folder:{tmp_path}", split, image_size=8, memory=0)
        for split in ("train", "test")
    )
    seen = [audit.look(source, 0) for source in (train, held_out)]
    found = [audit.summary(part, 8) for part in seen] + [audit.leakage(*seen)]
    found += [audit.balance(train), train.summary().as_dict(), train.summary().text]
    text = json.dumps(found, ensure_ascii=False, default=str)
    assert "caf" in text
    text.encode("utf-8")  # no lone surrogate is left


@pytest.mark.slow
def test_every_mode_takes_names_that_no_terminal_can_show(tmp_path):
    tree(tmp_path / "r\u00e9el")
    flags = {
        "dataset": f"folder:{tmp_path}/r\u00e9el", "batch_size": 8, "train_steps": 2,
        "finetune_batch_size": 8, "finetune_epochs": 1, "checkpoint_every": 2,
    }  # fmt: skip
    run = tmp_path / "\u0434\u043e\u043c"
    done = subprocess.run(
        [sys.executable, "-m", "tfssl.main", *argv("simclr", run, MODES, **flags)[1:]],
        env=os.environ | ASCII, cwd=ROOT, capture_output=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = (done.stdout + done.stderr).decode("ascii")
    assert "Traceback" not in said and "caf\\xe9" in said
    pages = [
        p for p in run.rglob("*") if p.suffix in (".json", ".jsonl", ".cfg", ".html")
    ]
    assert len(pages) > 5
    for page in pages:
        text = page.read_bytes().decode("utf-8")
        assert "\\udc" not in text or page.name == "classes.json", page
        assert "{{function_node" not in text, page
    results = json.loads((run / "results.json").read_text("utf-8"))
    assert [
        row["path"].endswith("broken \\xe9.jpg") for row in results["skipped_files"]
    ]
    exported = run / "finetune" / "saved_model" / "assets.extra" / "metadata.json"
    classes = json.loads(exported.read_text("utf-8"))["classes"]
    assert classes[0] == "caf\\xe9" and len(classes) == 3


@pytest.mark.slow
def test_a_stop_is_said_where_the_run_has_a_name_that_no_terminal_shows(tmp_path):
    """Exit code 42 and the command that continues, not a traceback of the last line."""
    text = (
        "import sys\nfrom tfssl import main\nfrom tfssl.errors import Stopped\n"
        "def stop(*_):\n    raise Stopped('SIGTERM', 3)\n"
        "main.tasks.run = stop\nsys.exit(main.main(sys.argv))"
    )
    done = subprocess.run(
        [sys.executable, "-c", text, f"--run_dir={tmp_path}/\u0434\u043e\u043c"],
        env=os.environ | ASCII, cwd=ROOT, capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 42, done.stderr

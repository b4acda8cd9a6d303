"""`--mode=export` of a run: its own images, metadata, card and versions."""

import importlib.util
import json
import shutil

import pytest

import tfssl
from tests.pictures import tree
from tests.tiny import pretrained
from tfssl.errors import DataError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("export")
    tree(root / "photos", ["cat", "dog"], 12, size=(20, 18))
    pretrained(root / "run", f"folder:{root}/photos", batch_size=8)
    tfssl.knn(run_dir=root / "run", progress=False)
    return root


def test_versions_metadata_and_card(run):
    for number in (1, 2):
        path = tfssl.export(
            run_dir=run / "run", export_versions=True, export_verify=False
        )
        assert path == str(run / "run/serving" / str(number))
    folder = run / "run/serving/2"
    assert (folder / "assets.extra/tf_serving_warmup_requests").stat().st_size
    facts = json.loads((folder / "assets.extra/metadata.json").read_text())
    assert facts["tfssl"] == tfssl.__version__ and facts["image_size"] == 16
    assert facts["orient"] == "none" and "verified" not in facts
    embedded = tfssl.embed(run_dir=run / "run", progress=False)
    with open(f"{embedded}/manifest.json") as file:
        assert facts["weights_sha256"] == json.load(file)["weights_sha256"]
    card = (folder / "MODEL_CARD.md").read_text()
    assert "folder: images of one's own | 21 | 2 | 0" in card
    assert "kNN" in card and "--train_steps=2" in card and "not compared" in card
    assert "photos" not in card and "cat" not in card.split("# ")[1]


@pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("tf2onnx", "ai_edge_litert"))),
    reason="needs tfssl[onnx,litert]",
)
def test_int8_sees_the_runs_own_images_and_wants_them(run, capsys):
    flags = {"run_dir": run / "run", "format": "litert", "export_dtype": "int8"}
    path = tfssl.export(**flags)
    assert path.endswith("/litert_int8")
    facts = json.loads((run / "run/litert_int8/metadata.json").read_text())
    assert facts["verified"]["images_of"].startswith("16 images of folder:")
    assert facts["dtype"] == "int8"
    before = (run / "run/litert_int8/encoder.tflite").read_bytes()
    shutil.move(run / "photos", run / "away")
    try:
        with pytest.raises(DataError, match="photos"):
            tfssl.export(**flags)
        assert (run / "run/litert_int8/encoder.tflite").read_bytes() == before
        capsys.readouterr()
        tfssl.export(run_dir=run / "run", format="onnx")
    finally:
        shutil.move(run / "away", run / "photos")
    assert "compared on noise: got" in capsys.readouterr().out
    facts = json.loads((run / "run/onnx/metadata.json").read_text())["verified"]
    assert facts["images_of"] == "16 images of noise"
    assert facts["largest_deviation"] < 1e-4 * facts["largest_feature"]

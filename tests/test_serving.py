"""An export behind a real server: bytes in over HTTP and gRPC, features out."""

import importlib.util
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

import tfssl
from tests.tiny import pretrained

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mlserver") is None,
    reason="MLServer holds other packages back, so requirements-dev.txt leaves it out: "
    "pip install -r examples/serving/mlserver/requirements.txt",
)
def test_a_server_gives_the_encoders_features(tmp_path):
    """Good and hostile requests by several clients; see tools/bench_serving.py."""
    import bench_serving

    run = pretrained(tmp_path / "run")
    model = tfssl.export(
        run_dir=tmp_path / "run", export_on_error="zeros", export_versions=True
    )
    assert model.endswith("/serving/1")
    # Not only equal to the SavedModel, but to the encoder that it was made of.
    import tensorflow as tf

    pixels = np.random.default_rng(0).integers(0, 256, (2, 16, 16, 3), np.uint8)
    asked = bench_serving.Request(
        "two", tuple(tf.io.encode_png(p).numpy() for p in pixels), (True, True)
    )
    from tfssl.augment.geometry import eval_image

    seen = np.stack([eval_image(p, run.transform, 16) for p in pixels])
    with bench_serving.serving(model) as server:
        found = bench_serving.campaign(server, model, 84, 4)
        assert found["lost"] == found["wrong"] == 0, found["first_problems"]
        assert found["server_alive"] and found["hostile"] == 28
        for client in (bench_serving.HttpClient, bench_serving.GrpcClient):
            got = client(server)(asked).outputs["features"]
            np.testing.assert_allclose(got, run.features(seen), rtol=1e-4, atol=1e-5)


def test_examples_of_tensorflow_serving_name_what_an_export_writes():
    from tfssl.exporters.serving_files import BATCHING

    script = ROOT / "launch" / "serving_docker.sh"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    pods = (ROOT / "launch" / "serving_kubernetes.yaml").read_text()
    for text in (script.read_text(), pods):
        # The server looks for a file of this name with this flag.
        assert "--enable_per_model_batching_parameters" in text
        assert BATCHING == "batching_params.pbtxt"
        assert "/models/encoder" in text and "MODEL_NAME" in text
    images = re.findall(r"tensorflow/serving:[\d.]+", script.read_text() + pods)
    assert len(set(images)) == 1
    yaml = pytest.importorskip("yaml")
    deployment, service = yaml.safe_load_all(pods)
    ports = deployment["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert {p["name"]: p["containerPort"] for p in ports} == {
        p["name"]: p["port"] for p in service["spec"]["ports"]
    }

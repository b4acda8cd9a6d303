"""Starts a server for an exported SavedModel and asks it from many clients at once.

    python tools/bench_serving.py --model=runs/a/saved_model --requests=1000 --clients=8

Runs where `examples/serving/mlserver/requirements.txt` is installed. Half of the
clients speak HTTP, half gRPC. A third of the requests are hostile: broken images, none
at all, declared sizes of gigabytes, other inputs than the model has, no base64, no
JSON. Every answer is compared with what the model gives in this process. Prints one
JSON line: what was lost or wrong, milliseconds (median, 99th percentile) of the good
requests, and the server's memory. The exit code is 0 if nothing was.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import dataclasses
import http.client
import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

RUNTIME = Path(__file__).parents[1] / "examples" / "serving" / "mlserver"
NAME = "encoder"
GOOD = ("one", "four")
MALFORMED = ("other_input", "wrong_shape", "no_base64", "no_json")
HOSTILE = ("broken", "mixed", "empty", "huge", *MALFORMED)
PATIENCE, START = 120.0, 600.0  # seconds for an answer, and for a server to come up


@dataclasses.dataclass(frozen=True)
class Request:
    """What one client asks.

    Attributes:
      kind: Of `GOOD` or `HOSTILE`.
      images: Contents of files.
      valid: Which of them are images.
    """

    kind: str
    images: tuple[bytes, ...]
    valid: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back.

    Attributes:
      outputs: By name; empty where the server refused.
      refused: Its words, of a request that it called wrong.
    """

    outputs: dict[str, np.ndarray]
    refused: str = ""


def requests(count: int, seed: int = 0) -> list[Request]:
    """Draws requests, a third of them hostile."""
    rng = np.random.default_rng(seed)
    return [_request(rng, number) for number in range(count)]


def _request(rng: np.random.Generator, number: int) -> Request:
    if number % 3:
        kind = GOOD[int(rng.integers(len(GOOD)))]
        count = 1 if kind == "one" else 4
        return Request(kind, tuple(picture(rng) for _ in range(count)), (True,) * count)
    kind = HOSTILE[number // 3 % len(HOSTILE)]
    good = picture(rng)
    broken = (good[: len(good) // 3], b"no picture", b"")[int(rng.integers(3))]
    images = {
        "broken": ((broken,), (False,)),
        "mixed": ((good, broken, good), (True, False, True)),
        "empty": ((), ()),
        "huge": ((_huge(),), (False,)),
    }
    return Request(kind, *images.get(kind, ((good,), (True,))))


def picture(rng: np.random.Generator) -> bytes:
    """A PNG of slow waves, of any size up to 200 pixels."""
    import tensorflow as tf

    height, width = rng.integers(20, 200, 2)
    y, x = np.mgrid[0:height, 0:width] / 20.0
    waves = [np.sin(a * y + b * x + c) for a, b, c in rng.uniform(0.3, 3, (3, 3))]
    image = (127 + 120 * np.stack(waves, -1)).astype(np.uint8)
    return tf.io.encode_png(image).numpy()


def _huge() -> bytes:
    """A PNG of a few bytes that declares 60,000 x 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        whole = kind + body
        return (
            struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))
        )

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data)


# --- the server ---------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Server:
    """A server that runs: its process and ports of this machine."""

    process: subprocess.Popen
    http: int
    grpc: int

    def peak_megabytes(self) -> float:
        """The most memory that it had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (s for s in status.splitlines() if s.startswith("VmHWM"))
        return int(line.split()[1]) / 1024


@contextlib.contextmanager
def serving(model: str) -> Iterator[Server]:
    """Starts `mlserver` as docs/serving.md does, and ends it.

    Raises:
      RuntimeError: It did not come up.
    """
    ports = _free_ports(3)
    with (
        tempfile.TemporaryDirectory() as folder,
        open(Path(folder) / "log", "w+") as log,
    ):
        environment = {
            **os.environ,
            "MLSERVER_MODEL_URI": str(Path(model).resolve()),
            "MLSERVER_HOST": "127.0.0.1",
            "MLSERVER_HTTP_PORT": str(ports[0]),
            "MLSERVER_GRPC_PORT": str(ports[1]),
            "MLSERVER_METRICS_PORT": str(ports[2]),
            "MLSERVER_METRICS_DIR": folder,
        }
        process = subprocess.Popen(
            [Path(sys.executable).with_name("mlserver"), "start", RUNTIME],
            env=environment, stdout=log, stderr=subprocess.STDOUT, cwd=folder,
        )  # fmt: skip
        try:
            _wait(process, ports[0], log)
            yield Server(process, ports[0], ports[1])
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _wait(process: subprocess.Popen, port: int, log: io.TextIOBase) -> None:
    end = time.monotonic() + START
    while time.monotonic() < end and process.poll() is None:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", f"/v2/models/{NAME}/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.2)
    log.seek(0)
    raise RuntimeError(f"the server did not come up:\n{log.read()[-3000:]}")


# --- the clients --------------------------------------------------------------------


class HttpClient:
    """Asks by HTTP, images as base64 in JSON."""

    def __init__(self, server: Server):
        self._connection = http.client.HTTPConnection(
            "127.0.0.1", server.http, timeout=PATIENCE
        )

    def __call__(self, asked: Request) -> Answer:
        """Asks and reads the answer."""
        data = [base64.b64encode(image).decode() for image in asked.images]
        if asked.kind == "no_base64":
            data = ["this is no base64!"]
        tensor = {
            "name": "pictures" if asked.kind == "other_input" else "image_bytes",
            "datatype": "BYTES",
            "shape": [len(data) + (asked.kind == "wrong_shape")],
            "data": data,
        }
        body = json.dumps({"inputs": [tensor]})
        if asked.kind == "no_json":
            body = body[: len(body) // 2]
        head = {"Content-Type": "application/json"}
        self._connection.request("POST", f"/v2/models/{NAME}/infer", body, head)
        response = self._connection.getresponse()
        text = response.read().decode()
        if response.status in (400, 422):
            return Answer({}, text)
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {text[:300]}")
        return Answer(
            {
                out["name"]: np.array(out["data"]).reshape(out["shape"])
                for out in json.loads(text)["outputs"]
            }
        )


class GrpcClient:
    """Asks by gRPC, images as they are."""

    def __init__(self, server: Server):
        import grpc
        from mlserver.grpc import dataplane_pb2, dataplane_pb2_grpc

        self._messages, self._errors = dataplane_pb2, grpc
        channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc}")
        self._stub = dataplane_pb2_grpc.GRPCInferenceServiceStub(channel)

    def __call__(self, asked: Request) -> Answer:
        """Asks and reads the answer."""
        pb = self._messages
        images = list(asked.images)
        tensor = pb.ModelInferRequest.InferInputTensor(
            name="pictures" if asked.kind == "other_input" else "image_bytes",
            datatype="FP32" if asked.kind == "no_base64" else "BYTES",
            shape=[len(images) + (asked.kind == "wrong_shape")],
            contents=pb.InferTensorContents(bytes_contents=images),
        )
        model = "no_such_model" if asked.kind == "no_json" else NAME
        request = pb.ModelInferRequest(model_name=model, inputs=[tensor])
        try:
            found = self._stub.ModelInfer(request, timeout=PATIENCE)
        except self._errors.RpcError as error:
            wrong = ("INVALID_ARGUMENT", "NOT_FOUND")
            if error.code().name in wrong:
                return Answer({}, error.details())
            raise
        return Answer(
            {
                out.name: np.array(
                    out.contents.fp32_contents or out.contents.bool_contents
                ).reshape(list(out.shape))
                for out in found.outputs
            }
        )


def ask_all(
    server: Server, asked: list[Request], clients: int
) -> list[tuple[str, Answer | Exception, float]]:
    """Asks everything from so many threads; protocol, answer and seconds of each."""
    found: list[Any] = [None] * len(asked)

    def client(number: int) -> None:
        protocol, make = (("http", HttpClient), ("grpc", GrpcClient))[number % 2]
        ask = make(server)
        for place in range(number, len(asked), clients):
            start = time.perf_counter()
            try:
                answer: Answer | Exception = ask(asked[place])
            except Exception as error:
                answer, ask = error, make(server)
            found[place] = (protocol, answer, time.perf_counter() - start)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# --- what is right ------------------------------------------------------------------


class Expected:
    """The model itself, in this process."""

    def __init__(self, model: str):
        import tensorflow as tf

        self._tf, self._model = tf, tf.saved_model.load(model)
        facts = Path(model, "assets.extra", "metadata.json").read_text()
        self.zeros = json.loads(facts)["on_error"] == "zeros"

    def wrong(self, asked: Request, answer: Answer) -> str:
        """What is wrong with an answer; empty if nothing."""
        malformed = asked.kind in MALFORMED
        if malformed and answer.refused and not _says_what(asked, answer):
            return f"{asked.kind} was refused without a word: {answer.refused[:200]}"
        if malformed or not (self.zeros or all(asked.valid)):
            return "" if answer.refused else f"{asked.kind} was answered"
        if answer.refused:
            return f"{asked.kind} was refused: {answer.refused[:200]}"
        images = self._tf.constant(list(asked.images), self._tf.string)
        want = self._model.signatures["serving_default"](image_bytes=images)
        for name, value in want.items():
            value, got = value.numpy(), answer.outputs[name]
            if got.shape != value.shape or not np.allclose(got, value, 1e-4, 1e-5):
                return f"{asked.kind}: {name} differs"
        if self.zeros and answer.outputs["valid"].tolist() != list(asked.valid):
            return f"{asked.kind}: valid is {answer.outputs['valid'].tolist()}"
        return ""


def _says_what(asked: Request, answer: Answer) -> bool:
    """Whether a client can tell from a refusal what to send instead."""
    if asked.kind == "no_json":  # the server's own words, before any of ours
        return True
    return "expected" in answer.refused and "try" in answer.refused


def campaign(
    server: Server, model: str, count: int, clients: int, seed: int = 0
) -> dict[str, Any]:
    """Asks the server of a model, and compares; what `main` prints."""
    expected, asked = Expected(model), requests(count, seed)
    start = time.perf_counter()
    found = ask_all(server, asked, clients)
    seconds = time.perf_counter() - start
    alive = server.process.poll() is None
    memory = server.peak_megabytes() if alive else 0.0
    lost = [str(a) for _, a, _ in found if isinstance(a, Exception)]
    wrong = [
        text
        for request, (_, answer, _) in zip(asked, found, strict=True)
        if isinstance(answer, Answer) and (text := expected.wrong(request, answer))
    ]
    out = {
        "requests": count,
        "clients": clients,
        "hostile": sum(request.kind in HOSTILE for request in asked),
        "refused": sum(isinstance(a, Answer) and bool(a.refused) for _, a, _ in found),
        "lost": len(lost),
        "wrong": len(wrong),
        "first_problems": [*lost[:3], *wrong[:3]],
        "server_alive": alive,
        "requests_per_second": round(count / seconds, 1),
        "server_peak_mb": round(memory),
    }
    for protocol in ("http", "grpc"):
        times = [
            1000 * took
            for request, (spoken, _, took) in zip(asked, found, strict=True)
            if spoken == protocol and request.kind in GOOD
        ]
        p50, p99 = np.percentile(times, [50, 99])
        out[protocol] = {"p50_ms": round(p50, 1), "p99_ms": round(p99, 1)}
    return out


def main() -> int:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="folder of the SavedModel")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    model, count = options.model, options.requests
    with serving(model) as server:
        found = campaign(server, model, count, options.clients, options.seed)
    print(json.dumps(found))
    return int(bool(found["lost"] or found["wrong"] or not found["server_alive"]))


if __name__ == "__main__":
    sys.exit(main())

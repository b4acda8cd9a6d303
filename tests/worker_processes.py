"""Starts the worker processes of a multi-worker program on this machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("localhost", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(argv_of_rank: list[list[str]], **popen) -> list[subprocess.Popen]:
    """One `python -m ...` per rank, each told of all by TF_CONFIG."""
    workers = [f"localhost:{port}" for port in free_ports(len(argv_of_rank))]
    processes = []
    for rank, argv in enumerate(argv_of_rank):
        task = {"type": "worker", "index": rank}
        cluster = json.dumps({"cluster": {"worker": workers}, "task": task})
        environment = {**os.environ, "TF_CONFIG": cluster}
        command = [sys.executable, "-m", *argv]
        processes.append(subprocess.Popen(command, cwd=ROOT, env=environment, **popen))
    return processes


def wait(processes: list[subprocess.Popen], timeout: float = 600) -> list[int]:
    """Exit codes; nobody is left behind when one hangs."""
    try:
        return [process.wait(timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()

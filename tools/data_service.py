r"""Starts a tf.data service: hosts that decode and crop for hosts that train.

On one machine, a dispatcher:       python tools/data_service.py dispatcher --port=5050
On every machine that helps:        python tools/data_service.py worker --port=5051 \\
                                        --dispatcher=HOST:5050 --address=MY_HOST:5051
For the run:                        --data_service=grpc://HOST:5050

All of them need the images under the same paths as the run, the same versions of
TensorFlow, and no tfssl. Ctrl-C stops one; workers may come and go while a run reads.
"""

from __future__ import annotations

import argparse

import find_tfssl  # noqa: F401


def main() -> None:
    """Runs one server until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=["dispatcher", "worker"])
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--dispatcher", help="HOST:PORT of the dispatcher")
    parser.add_argument("--address", help="HOST:PORT at which others reach this worker")
    arguments = parser.parse_args()
    if arguments.kind == "worker" and not arguments.dispatcher:
        parser.error("got a worker without --dispatcher; expected HOST:PORT")

    import tensorflow as tf

    # Many images at once, each on one thread: as the host of an accelerator does.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    service = tf.data.experimental.service
    if arguments.kind == "dispatcher":
        server = service.DispatchServer(service.DispatcherConfig(port=arguments.port))
        print(f"dispatcher at {server.target}", flush=True)
    else:
        server = service.WorkerServer(
            service.WorkerConfig(
                dispatcher_address=arguments.dispatcher,
                worker_address=arguments.address,
                port=arguments.port,
            )
        )
        print(f"worker of {arguments.dispatcher}", flush=True)
    server.join()


if __name__ == "__main__":
    main()

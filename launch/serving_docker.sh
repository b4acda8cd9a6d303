#!/usr/bin/env bash
# Command:  launch/serving_docker.sh runs/a/serving
# Hardware: any machine with Docker; with GPUs: IMAGE=tensorflow/serving:2.20.0-gpu, and
#           --gpus all after "docker run". Never run by us, who have no registry here.
# The folder is what `--mode=export --export_versions` fills; the server takes the highest
# number in it, and a new one while it runs. REST on 8501, gRPC on 8500.
set -euo pipefail
models=$(realpath "${1:?the folder serving/ of a run}")
exec docker run --rm -p 8500:8500 -p 8501:8501 \
  --mount "type=bind,source=$models,target=/models/encoder,readonly" \
  -e MODEL_NAME=encoder "${IMAGE:-tensorflow/serving:2.20.0}" \
  --enable_batching --enable_per_model_batching_parameters

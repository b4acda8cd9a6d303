#!/usr/bin/env bash
# Command:  launch/multiworker_tf_config.sh RANK HOST0:PORT HOST1:PORT ... -- FLAGS
#           on every host, with its own RANK, for example on the first of two:
#           launch/multiworker_tf_config.sh 0 a:12345 b:12345 -- --flagfile=flags/byol_cifar_cpu.cfg
# Hardware: any; all GPUs of every host, or one CPU replica each.
#           Tested with two processes on one CPU; never run on several hosts by us.
# The run directory must be one that the first host can write. The same command on all
# hosts continues a run.
set -euo pipefail
rank=$1
shift
workers=()
while [[ $# -gt 0 && $1 != -- ]]; do
  workers+=("\"$1\"")
  shift
done
shift
list=$(IFS=,; echo "${workers[*]}")
export TF_CONFIG="{\"cluster\": {\"worker\": [$list]}, \"task\": {\"type\": \"worker\", \"index\": $rank}}"
exec python -m tfssl.main "$@" --strategy=multiworker

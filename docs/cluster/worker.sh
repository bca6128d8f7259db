#!/usr/bin/env bash
# One worker of a cluster without a scheduler TensorFlow knows (Kubernetes, plain ssh).
#
#   WORKERS=4 WORKER_INDEX=0 WORKER_ADDRESS="aaa-%d.aaa:2222" docs/cluster/worker.sh COMMAND...
#
# Writes TF_CONFIG from the three variables (%d stands for a worker's index) and runs the command.
set -euo pipefail
: "${WORKERS:?expected the number of workers}"
: "${WORKER_INDEX:?expected the index of this worker, from 0}"
: "${WORKER_ADDRESS:?expected a pattern such as aaa-%d.aaa:2222}"
addresses=""
for ((i = 0; i < WORKERS; i++)); do
  # shellcheck disable=SC2059
  addresses+="${addresses:+, }\"$(printf "$WORKER_ADDRESS" "$i")\""
done
export TF_CONFIG="{\"cluster\": {\"worker\": [$addresses]}, \
\"task\": {\"type\": \"worker\", \"index\": $WORKER_INDEX}}"
exec "$@"

#!/usr/bin/env bash
# sbatch docs/cluster/slurm.sh    one task a node; adapt the first lines, partition and folders
#SBATCH --job-name=aaa
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

# --kill-on-bad-exit ends all tasks when one is lost; the job is queued again and goes on from the
# last checkpoint. The workdir must be one that all nodes see.
srun --kill-on-bad-exit=1 python -m experiments.aaa --strategy=multiworker \
  --dataset="${DATASET:-cifar10}" --recipe="${RECIPE:-fast}" --batch_size="${BATCH:-1024}" \
  --workdir="${WORKDIR:-$PWD/runs/cluster}" --eval_examples="${EVAL_EXAMPLES:-0}" \
  || { [[ $? == 75 ]] && scontrol requeue "$SLURM_JOB_ID"; }

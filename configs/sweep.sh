#!/bin/sh
# Heads by seeds, one `vae train` each, with nothing but a shell. Flags are passed to each of them; heads and seeds come
# from the environment:
#   HEADS="logvar logstd" SEEDS="0 1 2" configs/sweep.sh --epochs 3
# Run it again after any stop: `vae train` skips what is done and continues what is not.
# Exit codes: 0 every run has its outcome, diverged ones too; 1 some have none; 130 or 143 stopped by a signal.
set -uf
HEADS=${HEADS:-logvar logstd softplus_std}
SEEDS=${SEEDS:-0 1 2 3 4}
child=''
stopped=0
failed=0

# A shell that waits handles a signal at once; the run that it waits for then ends after its epoch, with a checkpoint.
# shellcheck disable=SC2317  # The traps call it.
stop() {
  stopped=$1
  [ -z "$child" ] || kill -TERM "$child" 2>/dev/null
}
trap 'stop 130' INT
trap 'stop 143' TERM

# Seeds are the outer loop, so that a sweep that is cut short has pairs of heads to compare.
for seed in $SEEDS; do
  for head in $HEADS; do
    if [ "$stopped" -ne 0 ]; then exit "$stopped"; fi
    vae train --param "$head" --seed "$seed" "$@" &
    child=$!
    wait "$child"
    code=$?
    while kill -0 "$child" 2>/dev/null; do wait "$child"; code=$?; done
    child=''
    case $code in
      0 | 3) ;;
      130 | 143) exit "$((stopped ? stopped : code))" ;;
      *) failed=$((failed + 1)) && echo "sweep.sh: $head, seed $seed: exit code $code" >&2 ;;
    esac
  done
done
if [ "$failed" -gt 0 ]; then echo "sweep.sh: $failed of the runs failed" >&2; fi
exit "$((failed > 0))"

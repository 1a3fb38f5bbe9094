#!/usr/bin/env bash
# Checks on a GPU that this program computes there what it computes on a CPU, and measures how fast; nine minutes at most.
#
#   bash bench/gpu.sh FOLDER [small]
#
# FOLDER, which must be new, receives the runs, the log of each command and, in report.txt, what is printed. With `small`
# every size is small, which tests this script on any device. PYTHON names the interpreter that has vaecli.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:?usage: bash bench/gpu.sh FOLDER [small]}
python=${PYTHON:-python}
mkdir -p "$(dirname "$folder")" && mkdir "$folder" && cd "$folder"
# Memory as it is needed, so that the checks share the GPU and what is measured is what a run takes.
export XLA_PYTHON_CLIENT_PREALLOCATE=false XDG_CACHE_HOME=$PWD/cache
seeds=10 epochs=10 counts="1 8 64 256 512" runs=64 samples=5000 images=60000 study=(--config headline)
tiny=()
if [ "${2:-}" = small ]; then
    tiny=(--hidden 8 --latent 2 --batch-size 2000)
    seeds=2 epochs=2 counts="1 2" runs=2 samples=20 images=2000
    study=(--param logvar logstd softplus_std --seeds 2 --epochs 1 "${tiny[@]}")
fi

# Besides the logs of the commands.
exec 3>&1
say() { printf '%-44s %s\n' "$1" "$2" | tee -a report.txt >&3; }
vae() { "$python" -m vaecli "$@"; }
clock() { date +%s.%N; }
since() { "$python" -c 'import sys; print(f"{float(sys.argv[2]) - float(sys.argv[1]):.1f} s")' "$1" "$(clock)"; }

# What a function below says of itself, or that it failed, and in which log the reason is. In the background a command
# that fails ends the function; as a condition it would not.
attempt() { # name, function
    "$2" >"$1.log" 2>&1 &
    if ! wait $!; then say "$1" "FAILED: $PWD/$1.log: $(tail -n 1 "$1.log" | cut -c 1-200)"; fi
}

check_verify() {
    vae verify --json >verify.json || true
    say verify "$("$python" - <<'P'
import json

checks = json.load(open("verify.json"))["checks"]
failed = [check["name"] for check in checks if not check["ok"]]
print(f"{len(checks) - len(failed)} of {len(checks)} checks pass", *failed, sep="\n    fails: ")
P
)"
}

check_null_control() {
    local head same=yes
    for head in logvar logstd logprec; do
        local match=(--init matched --head-lr matched)
        [ "$head" = logvar ] && match=()
        vae train --param "$head" "${match[@]}" --epochs 2 "${tiny[@]}" --name null --runs null
    done
    local logs=(null/null/*/seed0/metrics.jsonl)
    for log in "${logs[@]:1}"; do
        "$python" - "${logs[0]}" "$log" <<'P' || same=no
import json
import sys

one, other = ([json.loads(line)["test/elbo"] for line in open(path)] for path in sys.argv[1:])
sys.exit(one != other or len(one) < 3)
P
    done
    say "null control" "${#logs[@]} runs, the same ELBO in every digit: $same"
}

newest() { find "$1" -path '*/checkpoint/step*' -name '*.sha256' 2>/dev/null | sort | tail -n 1 || true; }

check_resume() {
    local command=(train --epochs "$((3 * epochs))" "${tiny[@]}" --name resumed) kills=0
    vae "${command[@]}" --runs undisturbed
    local run=killed/resumed/logvar/seed0
    while [ ! -e "$run/summary.json" ]; do
        local before
        before=$(newest "$run")
        vae "${command[@]}" --runs killed &
        local process=$!
        while kill -0 "$process" 2>/dev/null && [ "$(newest "$run")" = "$before" ]; do
            sleep 0.05
        done
        # Three times; then it runs to its end.
        if [ "$kills" -lt 3 ] && kill -9 "$process" 2>/dev/null; then kills=$((kills + 1)); fi
        wait "$process" || true
    done
    local same=yes
    cmp "$run/metrics.jsonl" "undisturbed/${run#*/}/metrics.jsonl" || same=no
    say "killed with -9 and resumed" "$kills kills, metrics.jsonl the same in every byte: $same"
}

check_elbo() {
    vae train --config pytorch_example --seeds "$seeds" --epochs "$epochs" "${tiny[@]}" --runs elbo
    say "pytorch_example" "$("$python" - elbo/*/*/seed*/summary.json <<'P'
import json
import statistics
import sys

values = [-json.load(open(path))["metrics"]["test/elbo"] for path in sys.argv[1:]]
print(f"-ELBO {statistics.mean(values):.2f} ± {statistics.stdev(values):.2f} nats (CPU: 105.58 ± 0.32), {len(values)} seeds")
P
)"
}

measure_packing() {
    "$python" "$here/packing.py" --counts $counts --rounds 2 --images "$images" --precision "$1" | tee -a report.txt >&3
}
measure_float32() { measure_packing float32; }
measure_bfloat16() { measure_packing bfloat16; }

measure_runs() {
    local count cache begun
    for count in 1 "$runs"; do
        for cache in empty warm; do
            begun=$(clock)
            XDG_CACHE_HOME=$PWD/cache_$count vae train --seeds "$count" --epochs "$epochs" "${tiny[@]}" \
                --name "$cache" --runs "together_$count"
            say "vae train, $count runs, cache $cache" "$(since "$begun")"
        done
    done
}

measure_study() {
    local begun
    begun=$(clock)
    XDG_CACHE_HOME=$PWD/cache_study vae sweep "${study[@]}" --name study --runs study
    say "the headline study, cache empty" "$(since "$begun")"
    begun=$(clock)
    vae compare study --json >study.json
    say "vae compare on it" "$(since "$begun")"
    "$python" -c 'import json; print("   ", json.load(open("study.json"))["answer"])' | tee -a report.txt >&3
}

measure_nll() {
    local run begun
    run=$(ls -d elbo/*/*/seed0)
    begun=$(clock)
    vae evaluate "$run" --samples "$samples" --json >nll.json
    say "NLL, $samples samples" "$(since "$begun"), $("$python" -c 'import json; print(round(json.load(open("nll.json"))["nll"], 3), "nats")')"
}

say device "$("$python" -c 'import jax; print(jax.devices()[0].device_kind, "with jax", jax.__version__)')"
begun=$(clock)
# The checks use little of a GPU, and run beside each other; what is measured has it to itself.
attempt verify check_verify &
attempt null_control check_null_control &
attempt resume check_resume &
attempt elbo check_elbo &
wait
say "the checks" "$(since "$begun")"
for what in runs study nll float32 bfloat16; do attempt "$what" "measure_$what"; done
say "in all" "$(since "$begun")"

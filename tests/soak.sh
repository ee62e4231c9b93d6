#!/bin/bash
# tests/soak.sh WORLD LETHE: kill storms. Scores the made-up world once undisturbed, then again and again with kill -9 (and now and then SIGINT) after a
# random while until it gets through; the results must be the undisturbed ones to the byte. LETHE_SOAK_ROUNDS: how many storms (default 30). Then spectra: three
# processes share the work, one of them is killed -9 and not started again; 20 times.
set -u
cd "$(dirname "$0")/.." || exit 1
make_world=$1 lethe=$2 rounds=${LETHE_SOAK_ROUNDS:-30}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export LETHE_CACHE=$folder/cache

score() { # OUT
    exec "$lethe" score "$folder/world/model" --tasks hellaswag,arc_challenge,winogrande --data "$folder/world/data" --out "$1" --quiet >"$folder/table" 2>"$folder/errors"
}

# What must not depend on the interruptions: every file's name and content, apart from times and from the pieces that the log came in.
gather() {
    (
        cd "$1" || exit 1
        find . -type f ! -name '*.log' | sed 's/[0-9-]*T[0-9-]*\.[0-9]*/TIME/' | sort
        cat results.tsv ./*/samples_*.jsonl
        grep -hvE '"(date|total_evaluation_time_seconds)"' ./*/results_*.json
        grep '"status"' run.json
    ) 2>&1
}

"$make_world" "$folder/world" || exit 1
(score "$folder/calm") || { cat "$folder/errors"; exit 1; }
gather "$folder/calm" >"$folder/want"
kills=0 failed=0
for ((round = 1; round <= rounds; round++)); do
    out=$folder/storm$round
    while :; do
        (score "$out") &
        child=$!
        sleep "0.$(printf '%03d' $((RANDOM % 160)))"
        if [ $((RANDOM % 4)) -eq 0 ]; then kill -INT $child 2>/dev/null; else kill -KILL $child 2>/dev/null; fi
        wait $child 2>/dev/null
        code=$?
        [ $code -eq 0 ] && break
        kills=$((kills + 1))
        case $code in 130 | 137) ;; *)
            echo "round $round: code $code: $(cat "$folder/errors")"
            failed=$((failed + 1))
            break ;;
        esac
        # A storm that never lets it through says nothing: after enough kills it may finish.
        if [ $((kills % 30)) -eq 0 ]; then (score "$out"); fi
    done
    if ! gather "$out" | cmp -s - "$folder/want"; then
        echo "round $round: the results differ from the undisturbed ones:"
        gather "$out" | diff "$folder/want" - | cut -c 1-200 | head -n 5
        (cd "$out" && find . -type f | sort)
        failed=$((failed + 1))
    fi
    rm -rf "$out"
done
echo "soak: $rounds storms, $kills interruptions, $failed failed"

spectrum() { # OUT
    exec "$lethe" spectrum "$folder/world/model" "$folder/first" "$folder/second" --out "$1" --threads 1 --quiet >/dev/null 2>>"$folder/errors"
}

# Copies of the model with a stretch of weights set to zero.
for tuned in first:100 second:300; do
    cp -r "$folder/world/model" "$folder/${tuned%:*}"
    dd if=/dev/zero of="$folder/${tuned%:*}/model.safetensors" bs=1024 count=400 seek="${tuned#*:}" conv=notrunc status=none
done
(spectrum "$folder/calm_spectra") || { cat "$folder/errors"; exit 1; }
killed=0
for ((round = 1; round <= 20; round++)); do
    out=$folder/spectra$round
    : >"$folder/errors"
    children=()
    for _ in 1 2 3; do
        (spectrum "$out") &
        children+=($!)
    done
    sleep "0.$(printf '%03d' $((RANDOM % 250)))"
    kill -KILL "${children[$((RANDOM % 3))]}" 2>/dev/null
    for child in "${children[@]}"; do
        wait "$child" 2>/dev/null
        code=$?
        [ $code -eq 137 ] && killed=$((killed + 1)) && continue
        [ $code -eq 0 ] || { echo "spectra $round: code $code: $(cat "$folder/errors")"; failed=$((failed + 1)); }
    done
    for file in ranks.tsv spectra.tsv spectra/first.safetensors spectra/second.safetensors; do
        cmp -s "$out/$file" "$folder/calm_spectra/$file" || { echo "spectra $round: $file differs from the undisturbed one"; failed=$((failed + 1)); }
    done
    rm -rf "$out"
done
echo "soak: spectra shared 20 times by three, $killed processes killed in time, $failed failed"
[ "$failed" -eq 0 ]

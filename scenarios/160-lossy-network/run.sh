#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# How long; new calls a second; loss, duplication (per cent), delay, jitter (ms) of each wire; the edge's part of one core (per cent).
seconds=${LOSSY_SECONDS:-20} rate=${LOSSY_RATE:-10} wire=${LOSSY_WIRE:-1 1 10 5} cpu=${LOSSY_CPU:-100}

# calls NAME HOST ADDRESS NUMBER SCENARIO RATE: for that long; all of them must end as the scenario says.
calls() {
    (cd "$work" && start "$1" "$2" timeout -s KILL $((seconds + 120)) sipp -sf "$here/$5.xml" -i "$3" -p 5060 -s "$4" -r "$6" -m $(($6 * seconds)) -l 15000 \
        -trace_err -error_file "$work/$1-errors.log" -trace_stat -stf "$work/$1.csv" -fd 10 -nostdin 198.51.100.10:5060)
}

network acme abandons
# shellcheck disable=SC2086
bad_wire edge out $wire
# shellcheck disable=SC2086
bad_wire pbx in $wire
start called pbx "$lib/called.py" 10.20.0.20 5060 "$work/called.json"
wait_for 15 "the PBX listens" listens pbx 10.20.0.20:5060
edge
[ "$cpu" = 100 ] || throttle edge "$cpu"
calls acme acme 198.51.100.20 +49700 caller "$rate"
calls abandons abandons 198.51.100.21 +49800 abandons $((rate / 5))
"$here/watch.py" "$(cat "$work/edge.pid")" "$work/memory" "$(cat "$work/acme.pid")" "$(cat "$work/abandons.pid")"
nothing_left
for wire in wire-edge-out wire-pbx-in; do
    kill -TERM "$(cat "$work/$wire.pid")"
    wait_for 15 "$wire tells what it did" log_has $wire carried
    cat "$work/$wire.log"
    [ -n "${LOSSY_WIRE:-}" ] || log_has "$wire" " [1-9][0-9]* lost, [1-9][0-9]* duplicated, [1-9][0-9]* overtaken" || fail "$wire was a good one"
done
kill -TERM "$(cat "$work/called.pid")"
wait_for 15 "the PBX tells what it did" test -s "$work/called.json"
"$here/verdict.py" "$work"

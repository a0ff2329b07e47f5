#!/bin/bash
# run.sh RATE…: offers so many new calls a second, one rate after the other, to an edge that has a part of one core; see README.md.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../../scenarios/lib/lib.sh"
here=$(cd "$(dirname "$0")" && pwd)
seconds=${OVERLOAD_SECONDS:-10} cpu=${OVERLOAD_CPU:-10} carrier=${OVERLOAD_CARRIER:-20}

# calls NAME HOST ADDRESS PORT RATE
calls() {
    (cd "$work" && start "$1" "$2" sipp -sf "$here/caller.xml" -i "$3" -p 5060 -r "$5" -m $(($5 * seconds)) -l 15000 -rtt_freq 1 \
        -trace_err -error_file "$work/$1-errors.log" -trace_stat -stf "$work/$1.csv" -fd 1 -nostdin 198.51.100.10:"$4")
}

network carrier phones
start called pbx "$here/../../scenarios/lib/called.py" 10.20.0.20 5060 "$work/called.json"
wait_for 5 "the PBX listens" listens pbx 10.20.0.20:5060
edge
throttle edge "$cpu"
for rate in "$@"; do
    calls "carrier-$rate" carrier 198.51.100.20 5070 "$carrier"
    calls "phones-$rate" phones 198.51.100.21 5060 $((rate - carrier))
    "$here/../../scenarios/160-lossy-network/watch.py" "$(cat "$work/edge.pid")" "$work/memory-$rate" \
        "$(cat "$work/carrier-$rate.pid")" "$(cat "$work/phones-$rate.pid")"
    wait_for 60 "the calls of $rate/s are over" field_is_zero calls
    "$here/verdict.py" "$work" "$rate" "$seconds"
done
nothing_left

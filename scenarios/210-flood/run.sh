#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

sources=${FLOOD_SOURCES:-50000} rate=${FLOOD_RATE:-5000}
rss() { awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$(pgrep -P "$(cat "$work/edge.pid")" turnpike || cat "$work/edge.pid")/status"; }

network carrier crowd
# The crowd's host is 131,000 addresses, and the edge knows the way to them.
on crowd ip route add local 198.18.0.0/15 dev lo
on edge ip route add 198.18.0.0/15 via 198.51.100.21
mkdir "$work/policies" && cp "$here"/../../policies/{floods,scanners}.yaml "$work/policies/"
edge
voice
before=$(rss)

start called pbx "$lib/called.py" 10.20.0.20 5060 "$work/called.json"
wait_for 15 "the PBX listens" listens pbx 10.20.0.20:5060

start flood crowd python3 "$here/flood.py" $edge_outside "$sources" "$rate"
# All the while the carrier calls, and each of its calls must pass.
sipp_call carrier 198.51.100.20 $edge_outside:5070 -s +4930123456 -m 100 -r 10 -d 2000 -timeout 90s || fail "the carrier's calls failed in the flood"
kill -0 "$(cat "$work/flood.pid")" || fail "the flood was over before the carrier's calls"
wait_for 120 "the flood is over" gone flood
cat "$work/flood.log"
wait "$(cat "$work/flood.pid")" || fail "what the crowd got"
after=$(rss)
# What tables remember of so many sources is some MiB; a transaction for each of them would be far more.
[ "$after" -le $((before + 24)) ] || fail "resident memory was $before MiB before the flood, and is $after after it"
echo "ok: resident memory was $before MiB before the flood and $after after it"

kill -TERM "$(cat "$work/called.pid")"
wait_for 15 "the PBX tells whom it saw" test -s "$work/called.json"
cat "$work/called.json" && echo
grep -q '"calls": 100, "hung_up": 100,.*"strange": 0' "$work/called.json" || fail "the PBX saw something else than the carrier's hundred calls"
nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# carrier NAME ADDRESS
carrier() {
    start "$1" "$1" sipp -sf "$here/carrier.xml" -i "$2" -p 5060 -mi "$2" -mp 30000 -nostdin
    wait_for 15 "$1 listens" listens "$1" "$2:5060"
}
# taken_by TRUNK N: it has had so many calls since the traffic began.
taken_by() { [ "$(tail -n "+$((cdrs + 1))" "$work/data/cdr.jsonl" | grep -c "\"to_party\":\"$1\"")" -ge "$2" ]; }

# traffic N: the PBX makes ten calls a second, so many.
traffic() {
    cdrs=$(cat "$work/data/cdr.jsonl" 2>/dev/null | wc -l)
    rm -f "$work/errors"
    (cd "$work" && exec ip netns exec "$net-pbx" sipp -sf "$lib/uac_call.xml" -i 10.20.0.20 -p 5060 -mi 10.20.0.20 -mp 20000 -key from pbx \
        -s +4940765432 -r 10 -m "$1" -d 300 -timeout 120s -timeout_error -trace_err -error_file errors \
        -trace_stat -stf stats -nostdin 10.20.0.5:5060) >"$work/traffic.log" 2>&1 </dev/null &
    echo $! >"$work/traffic.pid"
    wait_for 15 "the first carrier takes calls" taken_by acme 30
}

# judge N GOING GONE: the traffic is over; what became of its calls, around the times at which the first carrier was taken away (which takes a
# moment).
judge() {
    local status=0
    wait_for 90 "the traffic is over" gone traffic
    wait "$(cat "$work/traffic.pid")" || status=$?
    # 1: calls failed. Which, the verdict asks; anything else is sipp's own trouble.
    [ $status -le 1 ] || fail "sipp ended with $status"
    wait_for 40 "each call has its CDR" taken_by '[ab][a-z]*' "$1"
    tail -n "+$((cdrs + 1))" "$work/data/cdr.jsonl" >"$work/cdrs"
    "$here/verdict.py" "$work/cdrs" "$work/edge.log" "$work/stats" "$work/errors" "${@:2}" || fail "see above"
}

is_up() { sed "1,$1d" "$work/edge.log" | grep -q "target is up target=sip:198.51.100.20"; }
is_down() { sed "1,$1d" "$work/edge.log" | grep -q "target is down target=sip:198.51.100.20"; }
so_far() { wc -l <"$work/edge.log"; }

network acme bell
carrier acme 198.51.100.20
carrier bell 198.51.100.21
edge
voice

# 1. In the midst of the traffic the first carrier is killed: its host answers with ICMP. It comes back, answers OPTIONS, and has calls again.
traffic 200
told=$(so_far)
going=$(date +%s.%N)
ip netns pids "$net-acme" | xargs kill -9
gone=$(date +%s.%N)
wait_for 15 "the log says that it is down" is_down "$told"
wait_for 15 "the second carrier takes calls" taken_by bell 30
carrier acme 198.51.100.20
wait_for 15 "the log says that it is up" is_up "$told"
judge 200 "$going" "$gone"

# 2. The same with a carrier that falls silent: a firewall drops what comes to it, and what it sends; nobody tells us.
traffic 250
told=$(so_far)
going=$(date +%s.%N)
# What it sends is dropped at the edge: dropped at its own end sipp would be told (EPERM), and stop.
silence() { on "$1" nft "add table ip silence; add chain ip silence in { type filter hook input priority 0; }; add rule ip silence in $2 drop"; }
silence acme "iifname out"
silence edge "ip saddr 198.51.100.20"
gone=$(date +%s.%N)
wait_for 15 "the log says that it is down" is_down "$told"
wait_for 15 "the second carrier takes calls" taken_by bell 30
on acme nft delete table ip silence
on edge nft delete table ip silence
wait_for 15 "the log says that it is up" is_up "$told"
judge 250 "$going" "$gone"

# Probes are further apart (7 s) than their transactions live (5 s), so there are moments without any.
nothing_left

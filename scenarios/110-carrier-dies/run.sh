#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# carrier NAME ADDRESS
carrier() {
    start "$1" "$1" sipp -sf "$here/carrier.xml" -i "$2" -p 5060 -mi "$2" -mp 30000 -nostdin
    wait_for 5 "$1 listens" listens "$1" "$2:5060"
}
# taken_by TRUNK N: it has had so many calls.
taken_by() { [ "$(grep -c "\"to_party\":\"$1\"" "$work/data/cdr.jsonl")" -ge "$2" ]; }

network acme bell
carrier acme 198.51.100.20
carrier bell 198.51.100.21
edge
voice

# 1. Ten calls a second; in their midst the first carrier is killed.
(cd "$work" && start traffic pbx sipp -sf "$lib/uac_call.xml" -i 10.20.0.20 -p 5060 -mi 10.20.0.20 -mp 20000 -key from pbx \
    -s +4940765432 -r 10 -m 200 -d 300 -timeout 60s -nostdin 10.20.0.5:5060)
wait_for 10 "the first carrier takes calls" taken_by acme 30
killed=$(date +%s.%N)
ip netns pids "$net-acme" | xargs kill -9
wait_for 10 "the log says that it is down" log_has edge "target is down target=sip:198.51.100.20"
wait_for 10 "the second carrier takes calls" taken_by bell 40

# 2. It comes back, answers OPTIONS, and has calls again while the traffic goes on.
carrier acme 198.51.100.20
wait_for 15 "the log says that it is up" log_has edge "target is up target=sip:198.51.100.20"
back=$(date +%s.%N)
wait_for 40 "the traffic is over" gone traffic
wait_for 10 "each call has its CDR" taken_by '[ab][a-z]*' 200
"$here/verdict.py" "$work/data/cdr.jsonl" "$work/edge.log" "$killed" "$back"

nothing_left

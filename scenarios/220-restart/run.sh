#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# traffic: ten calls from the carrier, who hangs up after ten seconds; five from the PBX, which the carrier offers anew and hangs up.
traffic() {
    rm -f "$work/data/cdr.jsonl"
    start pbx pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.20 -p 5060 -mp 30000 -rtp_echo -m 10 -nostdin
    start carrier carrier sipp -sf "$here/called.xml" -i 198.51.100.20 -p 5060 -mp 30000 -rtp_echo -m 5 -d 10000 -timeout 60s -timeout_error -nostdin
    wait_for 15 "the PBX listens" listens pbx 10.20.0.20:5060
    wait_for 15 "the carrier listens" listens carrier 198.51.100.20:5060
    calls in carrier "$lib/uac_call.xml" 198.51.100.20 $edge_outside:5060 -s +4930123456 -m 10 -r 10 -d 10000 -key from carrier
    calls out pbx "$here/caller.xml" 10.20.0.20 10.20.0.5:5060 -s +4940765432 -m 5 -r 10
    wait_for 15 "fifteen calls talk" status_has '"answered_calls":15[,}]'
}

# calls NAME HOST SCENARIO IP TARGET SIPP-OPTIONS…
calls() {
    (cd "$work" && exec ip netns exec "$net-$2" sipp -sf "$3" -i "$4" -p 5070 -mi "$4" -mp 20000 -timeout 60s -timeout_error -nostdin \
        "${@:6}" "$5") >"$work/$1.log" 2>&1 </dev/null &
    echo $! >"$work/$1.pid"
}

# started: the edge is there again, and so are the calls.
started() {
    start "$1" edge "$turnpike" run --config "$work/edge.yaml"
    cp "$work/$1.pid" "$work/edge.pid"
    wait_for 15 "the calls are there again" status_has '"answered_calls":15[,}]'
    wait_for 15 "so are their ports" status_has '"relay_pairs":15[,}]'
    # There is no sixteenth: they count.
    sipp_call carrier 198.51.100.20 $edge_outside:5060 -p 5080 -mp 24000 -s +4930123456 -m 1 -d 100 >/dev/null 2>&1 && fail "the trunk's limit forgot its calls"
    grep -q "^SIP/2.0 503" "$work/sipp-carrier-messages.log" || fail "a sixteenth call was not told 503"
    echo "ok: the trunk is full"
}

# ended: both directions of BYE and the re-INVITE worked, and every call is recorded once, whole.
ended() {
    for name in in out pbx carrier; do
        wait_for 40 "sipp ($name) is through" gone $name
        wait "$(cat "$work/$name.pid")" || fail "sipp ($name) counts failed calls"
    done
    wait_for 15 "fifteen CDRs" recorded 15
    "$here/verdict.py" "$work/data/cdr.jsonl" "$gone_at" || fail "see above"
}
recorded() { [ "$(grep -c '"status":200' "$work/data/cdr.jsonl")" -eq "$1" ]; }
# in_journal N: so many calls are. A record is its length, the call's key, and what nobody can read.
in_journal() {
    python3 - "$work/data/calls.journal" "$1" <<'P'
import struct, sys
file, live = open(sys.argv[1], "rb").read(), set()
while len(file) >= 12:
    length, key = struct.unpack(">IQ", file[:12])
    live.add(key) if length else live.discard(key)
    file = file[12 + length:]
sys.exit(len(live) != int(sys.argv[2]))
P
}

network carrier
edge
voice

# 1. The edge is killed in the midst of fifteen calls.
traffic
wait_for 15 "they are in the journal" in_journal 15
kill -9 "$(cat "$work/edge.pid")"
gone_at=$(date +%s.%N)
wait_for 15 "the edge is gone" gone edge
started edge-after-kill
ended

# 2. It is restarted on purpose, as `systemctl restart` does with RestartKillSignal=SIGUSR2.
traffic
kill -USR2 "$(cat "$work/edge.pid")"
wait_for 15 "the edge is gone" gone edge
gone_at=$(date +%s.%N)
started edge-after-restart
ended

wait_for 15 "the journal is empty" in_journal 0
nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/natlab.sh"

# phone HOST USER TONE-HZ: registers from there; does ICE with the edge's STUN, and DTLS-SRTP.
phone() {
    local host=$1 user=$2 account
    account="<sip:$user@$edge_outside:5061;transport=tls>;auth_user=$user;auth_pass=pw$user;regint=60;answermode=auto"
    account+=";medianat=ice;stunserver=stun:$edge_outside:5060;mediaenc=dtls_srtp"
    baresip_config "$host" "$account" "$3" "module ice.so" "module dtls_srtp.so" "rtcp_mux yes"
    start "$host" "$host" baresip -f "$work/$host" -t 300
    wait_for 15 "$user is registered from the $host" log_has "$host" "1 binding"
}

# talked SECONDS HOST…: so much audio has been recorded at each (16 kB a second).
talked() {
    local host
    for host in "${@:2}"; do
        [ "$(stat -c %s "$work/$host"/dump-*-dec.wav)" -ge $(($1 * 16000)) ] || return
    done
}

cdrs() { [ "$(wc -l <"$work/data/cdr.jsonl")" = "$1" ]; }

# relayed USER: packets that the relay carried in this caller's calls, both ways.
relayed() {
    python3 - "$work/data/cdr.jsonl" "$1" <<'P'
import json, sys
calls = [json.loads(line) for line in open(sys.argv[1])]
print(sum(m[side]["packets"] for call in calls if call["from"] == sys.argv[2]
          for m in call["media"] for side in ("from_caller", "from_callee")))
P
}

network
site clinic symmetric
site hotel symmetric
site home cone
site cottage cone
certificate $edge_outside
edge
asterisk

# 1. Four phones register, and call one another: 201 in the clinic 202 in the hotel, 203 at home 204 in the cottage.
phone clinic 201 440
phone hotel 202 880
phone home 203 440
phone cottage 204 880
phone_do clinic dial "sip:202@$edge_outside"
phone_do home dial "sip:204@$edge_outside"

# 2. All hear each other, for three seconds: 300 packets, both ways together.
wait_for 20 "home and cottage hear each other" talked 3 home cottage
wait_for 20 "clinic and hotel hear each other" talked 3 clinic hotel
phone_do clinic hangup
phone_do home hangup
for host in clinic home; do "$lib/tone.py" expect "$work/$host"/dump-*-dec.wav 880; done
for host in hotel cottage; do "$lib/tone.py" expect "$work/$host"/dump-*-dec.wav 440; done

# 3. Which way it went.
wait_for 15 "both calls have a CDR" cdrs 2
[ "$(relayed 201)" -ge 250 ] || fail "the relay carried only $(relayed 201) packets between two symmetric NATs"
echo "ok: between two symmetric NATs the relay carried $(relayed 201) packets"
[ "$(relayed 203)" -le 50 ] || fail "the relay carried $(relayed 203) packets where there is a direct path"
echo "ok: where there is a direct path the relay carried $(relayed 203) packets, all of them ICE's own"

for host in clinic hotel home cottage; do phone_do $host quit; done
nothing_left

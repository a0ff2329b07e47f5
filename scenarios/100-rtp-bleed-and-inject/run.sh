#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/natlab.sh"
mkdir "$work/seen"
export PYTHONDONTWRITEBYTECODE=1
ports=40000-40015

# phone KIND PORT: registers and calls. The call is answered; for a second the phone says nothing.
phone() {
    start "$1" phone "$here/endpoint.py" phone "$work/seen" 192.168.1.10 "$2" $edge_outside "$1"
    wait_for 5 "the $1 call is answered" log_has "$1" "^answered"
}

# talking KIND: both sides have sent what an attacker can copy.
talking() { [ -s "$work/seen/$1-phone.shown" ] && [ -s "$work/seen/$1-pbx.shown" ]; }

# attack NAME HOST TARGET [AS]: on all relay ports, until `verdict`.
attackers=""
attack() {
    start "$1" "$2" "$here/attacker.py" "$work/seen" "$1" "$3" $ports "${@:4}"
    attackers+=" $1"
}

# verdict KIND…: these calls hang up, the attackers give up, and what each of them heard is counted.
verdict() {
    local name
    for name in "$@" $attackers; do kill -TERM "$(cat "$work/$name.pid")"; done
    for name in "$@" $attackers; do wait_for 8 "$name is done" gone "$name"; done
    for name in "$@"; do wait_for 5 "the PBX's tally of the $name call" test -s "$work/seen/$name-pbx.json"; done
    "$here/verdict.py" "$work/seen" "$@" -- $attackers || fail "see above"
    attackers=""
}

# refused REASON AT-LEAST: so many packets, as /metrics has it.
refused() {
    local line='^turnpike_media_dropped_packets_total.*reason="'$1'"' count
    count=$(on edge curl -sf http://127.0.0.1:8080/metrics | grep "$line" | grep -o '[0-9]*$')
    [ "$count" -ge "$2" ] || fail "only $count packets were refused for their $1"
    echo "ok: $count packets were refused for their $1"
}

network stranger
site phone cone
namespace colleague
plug colleague in office 10.20.0.66/24
edge
start pbx pbx "$here/endpoint.py" pbx "$work/seen" 10.20.0.20
wait_for 5 "the PBX is up" log_has pbx ready

# 1. Plain RTP, no ICE. The stranger is there before the call. When it is under way, so are somebody behind the phone's own NAT and
# somebody in the office.
attack stranger stranger $edge_outside
phone plain 5060
wait_for 5 "the plain call is under way" status_has '"media_packets":[1-9]'
attack neighbour phone $edge_outside
attack colleague colleague $edge_inside
wait_for 5 "they copy what is sent" talking plain
sleep 2
verdict plain
refused source 500

# 2. ICE, and SRTP. Stranger and neighbour are there before the calls; somebody on the phone's way forges its very address and port.
attack stranger stranger $edge_outside
attack neighbour phone $edge_outside
phone ice 5062
phone srtp 5064
attack forger stranger $edge_outside "198.51.100.101:$(sed -n 's/^answered //p' "$work/srtp.log")"
wait_for 5 "the calls are under way" talking srtp
sleep 2
verdict ice srtp
refused source 1500
refused authentication 100
refused replay 3

nothing_left

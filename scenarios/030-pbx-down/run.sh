#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

network carrier
edge
voice
second_pbx() {
    start second pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.21 -p 5060 -mp 31000 -rtp_echo -m 1
    wait_for 15 "the second host listens" listens pbx 10.20.0.21:5060
}
call() { sipp_call carrier 198.51.100.20 $edge_outside:5060 -s 600 -m 1 -d 1000; }

# 1. The first host answers 503.
start first pbx sipp -sf "$lib/uas_503.xml" -i 10.20.0.20 -p 5060 -m 1
wait_for 15 "the first host listens" listens pbx 10.20.0.20:5060
second_pbx
call
wait_for 15 "the first host said 503, the second took the call" gone second

# 2. The first host takes its time to say that it is busy, while somebody forges word that its port is closed.
start busy pbx "$here/busy.py" 10.20.0.20
wait_for 15 "the first host is back" listens pbx 10.20.0.20:5060
second_pbx
if call >/dev/null 2>&1; then fail "forged word made the second host take the call"; fi
grep -q "SIP/2.0 486" "$work"/sipp-carrier-messages.log || fail "the caller was not told 486"
echo "ok: nobody believed it, and the caller was told that the first host is busy"
kill "$(cat "$work/busy.pid")"
wait_for 15 "the first host is gone" gone busy

# 3. Nobody listens on the first host's port: the kernel says so at once.
call
wait_for 15 "the first host's port is closed, the second took the call" gone second
log_has edge "target is down target=sip:10.20.0.20:5060" || fail "the first host was not tried"

# 4. The first host is silent: a socket that reads and never answers. An edge that has just started knows nothing against it.
kill "$(cat "$work/edge.pid")"
wait_for 15 "the edge has stopped" gone edge
edge
start silent pbx python3 -c 'import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.20.0.20", 5060))
while True: s.recv(65535)'
wait_for 15 "the first host is there and says nothing" listens pbx 10.20.0.20:5060
second_pbx
call
wait_for 15 "the first host was silent for 2 s, the second took the call" gone second
log_has edge "call answered .*setup_ms=[2-9][0-9]{3}" || fail "the first host was not waited for"
kill "$(cat "$work/silent.pid")"
wait_for 15 "three CDRs name the second host" cdrs_with_audio 3 acme pbx

# 5. Both are gone: the caller is told, promptly.
began=$SECONDS
if call >/dev/null 2>&1; then fail "a call without a PBX went through"; fi
[ $((SECONDS - began)) -le 8 ] || fail "the caller waited $((SECONDS - began)) s for the bad news"
grep -q "SIP/2.0 503" "$work"/sipp-carrier-messages.log || fail "the caller was not told 503"
echo "ok: both hosts are gone, and the caller was told"

nothing_left

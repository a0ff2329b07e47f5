#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

network carrier stranger
edge
voice

# 1. The carrier calls in: ten calls, the PBX sends back the audio it gets.
start pbx pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.20 -p 5060 -mp 30000 -rtp_echo -m 10
sipp_call carrier 198.51.100.20 $edge_outside:5060 -s +4930123456 -m 10 -r 5 -d 2000
wait_for 10 "the PBX saw ten whole calls" gone pbx
wait_for 5 "ten CDRs with audio both ways" cdrs_with_audio 10 acme pbx

# 2. The PBX calls out through the trunk; the carrier echoes.
start carrier carrier sipp -sf "$lib/uas_call.xml" -i 198.51.100.20 -p 5060 -mp 30000 -rtp_echo -m 10
sipp_call pbx 10.20.0.20 10.20.0.5:5060 -s +4940765432 -m 10 -r 5 -d 2000
wait_for 10 "the carrier saw ten whole calls" gone carrier
wait_for 5 "ten more with audio both ways" cdrs_with_audio 10 pbx acme

# 3. A stranger who sends what the carrier sends gets 403, and the PBX sees nothing.
start pbx pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.20 -p 5060 -m 1
if sipp_call stranger 198.51.100.21 $edge_outside:5060 -s +4930123456 -m 1 -d 100 >/dev/null 2>&1; then
    fail "a stranger's call went through"
fi
grep -q "403" "$work"/sipp-stranger-messages.log || fail "the stranger was not told 403"
kill -0 "$(cat "$work/pbx.pid")" || fail "the PBX saw the stranger's call"
echo "ok: a stranger is refused with 403 and the PBX sees nothing"

nothing_left

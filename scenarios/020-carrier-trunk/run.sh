#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

network carrier stranger
edge
voice

# 1. The carrier calls in: ten calls, the PBX sends back the audio it gets.
start pbx pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.20 -p 5060 -mp 30000 -rtp_echo -m 10
wait_for 15 "the PBX listens" listens pbx 10.20.0.20:5060
sipp_call carrier 198.51.100.20 $edge_outside:5060 -s +4930123456 -m 10 -r 5 -d 2000
wait_for 15 "the PBX saw ten whole calls" gone pbx
wait_for 15 "ten CDRs with audio both ways" cdrs_with_audio 10 acme pbx

# 2. The PBX calls out through the trunk; the carrier echoes.
start carrier carrier sipp -sf "$lib/uas_call.xml" -i 198.51.100.20 -p 5060 -mp 30000 -rtp_echo -m 10
wait_for 15 "the carrier listens" listens carrier 198.51.100.20:5060
sipp_call pbx 10.20.0.20 10.20.0.5:5060 -s +4940765432 -m 10 -r 5 -d 2000
wait_for 15 "the carrier saw ten whole calls" gone carrier
wait_for 15 "ten more with audio both ways" cdrs_with_audio 10 pbx acme

# 3. Where no route leads there is no call.
if sipp_call pbx 10.20.0.20 10.20.0.5:5060 -s 004940765432 -m 1 -d 100 >/dev/null 2>&1; then fail "a call without a route went through"; fi
grep -q "^SIP/2.0 404" "$work"/sipp-pbx-messages.log || fail "the PBX was not told 404"
echo "ok: the PBX is told 404 where no route leads"

# 4. A stranger who sends what the carrier sends gets 403, and the PBX sees nothing.
trap_on pbx 5060
if sipp_call stranger 198.51.100.21 $edge_outside:5060 -s +4930123456 -m 1 -d 100 >/dev/null 2>&1; then
    fail "a stranger's call went through"
fi
grep -q "^SIP/2.0 403" "$work"/sipp-stranger-messages.log || fail "the stranger was not told 403"
nothing_trapped
echo "ok: a stranger is refused with 403 and the PBX sees nothing"

nothing_left

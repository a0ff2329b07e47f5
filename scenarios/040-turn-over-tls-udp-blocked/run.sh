#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/natlab.sh"
. "$lib/coturn.sh"
. "$lib/linphone.sh"
heard_by_phone=$work/phone/heard.wav

# talked SECONDS: so much audio has been recorded on both sides (16 kB a second).
talked() {
    local file
    for file in "$heard_by_phone" "$heard_by_pbx"; do
        [ "$(stat -c %s "$file")" -ge $(($1 * 16000)) ] || return
    done
}

# heard_both_ways: each side heard the other's tone, and forgets it.
heard_both_ways() {
    "$lib/tone.py" expect "$heard_by_phone" 1000
    "$lib/tone.py" expect "$heard_by_pbx" 440
    rm -f "$heard_by_phone" "$heard_by_pbx"
}

network victim
site phone blocked
on edge ip addr add $edge_turn/24 dev out
named phone $edge_outside=edge.test $edge_turn=turn.test
certificate edge.test turn.test
secret softphone.secret softphone-secret
edge

# 1. Nothing but TCP to 443 gets out of this site.
is_blocked phone victim

# 2. Between two allocations over TLS nothing is lost.
lossless uclient phone -t -S -p 443 -y -c -n 200 -u softphone -w softphone-secret $edge_turn

# 3. The phone registers over TLS on 443 and calls the PBX's tone.
asterisk media_encryption=sdes ice_support=yes
linphone phone phone 201@edge.test:pw201 softphone:softphone-secret 440
linphone_do phone "record $heard_by_phone"
linphone_do phone "call sip:601@edge.test"
wait_for 20 "four seconds of audio" talked 4
linphone_do phone "terminate"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 internet pbx
heard_both_ways

# 4. The PBX calls the phone: down the connection that it registered over.
linphone_do phone "record $heard_by_phone"
asterisk_cli "channel originate PJSIP/201 extension 601@default" >/dev/null
wait_for 20 "the phone answered, four seconds of audio" talked 4
linphone_do phone "terminate"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 pbx internet
heard_both_ways

linphone_do phone "quit"

# 5. With the same credentials nobody else is reached: not the internet, not the office, not the edge's own SIP.
trap_on victim 3490
for peer in "198.51.100.20 -r 3490" "10.20.0.20 -r 5060" "$edge_outside -r 443" "$edge_inside -r 5060"; do
    # shellcheck disable=SC2086
    at_once refused "stolen-${peer%% *}" phone "403 \\(Forbidden" -t -S -c -p 443 -u softphone -w softphone-secret -n 1 -e $peer $edge_turn
done
all_well
nothing_trapped

nothing_left

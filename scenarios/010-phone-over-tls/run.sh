#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# talked SECONDS: so much audio has been recorded on both sides (16 kB a second).
talked() {
    local file
    for file in "$work"/phone/dump-*-dec.wav "$heard_by_pbx"; do
        [ "$(stat -c %s "$file")" -ge $(($1 * 16000)) ]  || return
    done
}

network phone
certificate $edge_outside
edge
asterisk

# 1. The phone registers with digest through Turnpike, and calls the PBX's tone.
account="<sip:201@$edge_outside:5061;transport=tls>;auth_user=201;auth_pass=pw201;regint=60;answermode=auto"
baresip_config phone "$account" 440
start phone phone baresip -f "$work/phone" -t 300
wait_for 15 "the phone is registered" log_has phone "1 binding"
phone_do phone dial "sip:601@$edge_outside"
wait_for 15 "the phone's call was answered" log_has phone "Call established"
wait_for 15 "three seconds of audio" talked 3
phone_do phone hangup
wait_for 15 "the call has a CDR" cdrs_with_audio 1 internet pbx
"$lib/tone.py" expect "$work"/phone/dump-*-dec.wav 1000
"$lib/tone.py" expect "$heard_by_pbx" 440

# 2. The PBX calls the phone: down the connection that it registered over.
rm -f "$work"/phone/dump-* "$heard_by_pbx"
asterisk_cli "channel originate PJSIP/201 extension 601@default" >/dev/null
wait_for 15 "the phone answered, three seconds of audio" talked 3
phone_do phone hangup
wait_for 15 "the call has a CDR" cdrs_with_audio 1 pbx internet
"$lib/tone.py" expect "$work"/phone/dump-*-dec.wav 1000
"$lib/tone.py" expect "$heard_by_pbx" 440

phone_do phone quit
nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
number=+4930123456

# phone HOST USER TONE-HZ [PARAMETER]: registers over TLS from there.
phone() {
    baresip_config "$1" "<sip:$2@$edge_outside:5061;transport=tls>;auth_user=$2;auth_pass=pw$2;regint=60;answermode=auto${4:-}" "$3"
    start "$1" "$1" baresip -f "$work/$1" -t 300
    wait_for 15 "$2 is registered" log_has "$1" "1 binding"
}

# listen_in: from now on somebody listens on the phone's network and on the carrier's, for three seconds.
listen_in() {
    local host
    for host in phone carrier; do
        start "wire-$host" $host "$lib/eavesdrop.py" out "$work/wire-$host" 3
        wait_for 15 "somebody listens where the $host is" log_has "wire-$host" "listening"
    done
}

# talked: phone and carrier have recorded three seconds (16 kB a second), and so has who listened in.
talked() {
    local file
    for file in "$work"/{phone,carrier}/dump-*-dec.wav; do [ "$(stat -c %s "$file")" -ge 48000 ] || return; done
    gone wire-phone && gone wire-carrier
}

# heard: phone and carrier heard each other's tones; who listened in heard both at the carrier's end, and neither at the phone's.
heard() {
    local file
    "$lib/tone.py" expect "$work"/phone/dump-*-dec.wav 880
    "$lib/tone.py" expect "$work"/carrier/dump-*-dec.wav 440
    "$lib/tone.py" expect "$work/wire-carrier-sent.wav" 880
    "$lib/tone.py" expect "$work/wire-carrier-received.wav" 440
    for file in "$work"/wire-phone-{sent,received}.wav; do [ "$(stat -c %s "$file")" -ge 48000 ] || fail "nobody listened where the phone is"; done
    if "$lib/tone.py" expect "$work/wire-phone-sent.wav" 440; then fail "what the phone says can be listened to"; fi
    if "$lib/tone.py" expect "$work/wire-phone-received.wav" 880; then fail "what the phone hears can be listened to"; fi
    rm -f "$work"/{phone,carrier}/dump-* "$work"/wire-*.wav
}

network phone plain carrier
certificate $edge_outside
edge
asterisk
phone phone 201 440 ";mediaenc=srtp-mand"
baresip_config carrier "<sip:$number@198.51.100.22>;regint=0;answermode=auto" 880
start carrier carrier baresip -f "$work/carrier" -t 300
wait_for 15 "the carrier is up" log_has carrier "baresip is ready"

# 1. The phone calls out through the trunk.
listen_in
phone_do phone dial "sip:$number@$edge_outside"
wait_for 15 "the carrier answered, three seconds of audio" talked
phone_do phone hangup
wait_for 15 "the call has a CDR" cdrs_with_audio 1 internet acme
heard

# 2. The carrier calls the phone.
listen_in
phone_do carrier dial "sip:201@$edge_outside"
wait_for 15 "the phone answered, three seconds of audio" talked
phone_do carrier hangup
wait_for 15 "the call has a CDR" cdrs_with_audio 1 acme internet
heard

# 3. A phone that would speak in the clear is told 488.
phone plain 202 440
phone_do plain dial "sip:$number@$edge_outside"
wait_for 15 "a phone without SRTP is refused" log_has plain "488 Not Acceptable Here"

for host in phone plain carrier; do phone_do $host quit; done
nothing_left

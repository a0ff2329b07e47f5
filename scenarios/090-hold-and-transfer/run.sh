#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/natlab.sh"
. "$lib/linphone.sh"

# hears PHONE HZ-OR-NOTHING…: now, all of them at the same time.
hears() {
    local job jobs=""
    while [ $# -gt 0 ]; do
        "$lib/tone.py" listen "$(recording "$1")" "$2" &
        jobs+=" $!"
        shift 2
    done
    for job in $jobs; do wait "$job" || return; done
}
recording() { if [ "$1" = carol ]; then echo "$work"/carol/dump-*-dec.wav; else echo "$work/$1/heard.wav"; fi; }
cdrs() { [ "$(wc -l <"$work/data/cdr.jsonl")" = "$1" ]; }

# Alice and Bob are at home, behind NATs of two kinds; Carol has a public address.
network carol
site alice symmetric
site bob cone
for phone in alice bob; do named $phone $edge_outside=edge.test; done
certificate edge.test
edge
# The PBX plays its own music to whom a phone puts on hold; to Alice it passes the hold on instead.
asterisk 201:moh_passthrough=yes
asterisk_cli "pjsip set logger on" >/dev/null
plain_linphone alice 201 "5061;transport=tls" 440
plain_linphone bob 202 "5060;transport=tcp" 520
baresip_config carol "<sip:203@$edge_outside>;auth_user=203;auth_pass=pw203;regint=60;answermode=auto" 610
start carol carol baresip -s -f "$work/carol" -t 300
wait_for 15 "carol is registered" log_has carol "1 binding"

# 1. Alice calls Bob through the PBX.
plain_linphone_do alice "call sip:202@edge.test"
wait_for 30 "Alice and Bob hear each other" hears alice 520 bob 440
grep -aq "^Record-Route: <sip:[^>]*@edge.test:5061;" "$work/alice/debug.log" || fail "Alice's phone was not told the name in the certificate"

# 2. Alice puts Bob on hold, and takes him back.
plain_linphone_do alice "pause 1"
wait_for 30 "on hold Bob hears the PBX's music, and Alice nothing" hears bob 700 alice nothing
plain_linphone_do alice "resume 1"
wait_for 30 "they hear each other again" hears alice 520 bob 440

# 3. Bob puts Alice on hold: the PBX re-INVITEs her. Bob's phone plays its own music meanwhile.
"$lib/tone.py" make "$work/music.wav" 480 60
plain_linphone_do bob "play $work/music.wav"
plain_linphone_do bob "pause 1"
wait_for 15 "Alice's phone is told that she is on hold" log_has alice "has been paused by"
wait_for 30 "Alice hears the music of Bob's phone, and Bob nothing" hears alice 480 bob nothing
plain_linphone_do bob "play $work/bob/voice.wav"
plain_linphone_do bob "resume 1"
wait_for 30 "they hear each other again" hears alice 520 bob 440

# 4. Alice transfers Bob to Carol, unasked (REFER): the PBX calls Carol and tells Alice how it went (NOTIFY).
plain_linphone_do alice "transfer 1 sip:203@edge.test"
wait_for 30 "Bob and Carol hear each other" hears bob 610 carol 520
wait_for 15 "Alice's phone is told that it worked" log_has alice "has been transfered"
log_has asterisk "^Refer-To: sip:203@edge.test" || fail "the PBX does not see where to"
log_has carol "^Referred-By: <sip:201@edge.test>" || fail "Carol does not see who sent Bob"
wait_for 15 "Alice's call is over and its ports are free" status_has '"calls":2,.*"relay_pairs":2,'

# 5. Alice is free: she calls the PBX's tone while they talk.
plain_linphone_do alice "call sip:601@edge.test"
wait_for 30 "all three hear what they should" hears alice 1000 bob 610 carol 520
plain_linphone_do alice "terminate"

# 6. Bob hangs up; Carol's call ends with his.
plain_linphone_do bob "terminate"
wait_for 15 "four CDRs" cdrs 4
for log in "$work"/{alice,bob}/debug.log "$work/carol.log"; do
    grep -aq "c=IN IP4 $edge_outside" "$log" || fail "$log does not show what the phone was told"
done
if grep -aq "c=IN IP4 10\." "$work"/*/debug.log "$work/carol.log"; then fail "a phone was told a media address of the inside"; fi

for phone in alice bob; do plain_linphone_do $phone quit; done
phone_do carol quit
nothing_left

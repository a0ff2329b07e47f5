#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
phones=$(seq 1001 1200)
called="1001 1017 1050 1099 1100 1111 1150 1177 1199 1200"

# contacts N: the PBX has so many.
contacts() { [ "$(asterisk_cli "pjsip show contacts" | grep -c "Contact:  1[0-9]*/")" = "$1" ]; }
all_talk() { for phone in $called; do grep -q "^INVITE sip:$phone@198.51.100.20:5060" "$work/called.log" || return; done; }
# heard N: so many packets were relayed.
heard() { [ "$(status | tr -d ' ' | sed -n 's/.*"media_packets":\([0-9]*\).*/\1/p')" -ge "$1" ]; }

network home
mkdir "$work/policies" && cp "$here"/../../policies/floods.yaml "$work/policies/"
edge
"$lib/asterisk.sh" config "/etc/$net" 10.20.0.20
for phone in $phones; do
    printf '[%s]\ntype=endpoint\ncontext=default\ndisallow=all\nallow=alaw\ndirect_media=no\nauth=%s\naors=%s\n' $phone $phone $phone
    printf '[%s]\ntype=auth\nauth_type=userpass\nusername=%s\npassword=pw%s\n' $phone $phone $phone
    printf '[%s]\ntype=aor\nmax_contacts=1\n' $phone
done >>"$asterisk_root/etc/$net/pjsip.conf"
start asterisk pbx "$lib/asterisk.sh" run "/etc/$net"
wait_for 30 "Asterisk is ready" log_has asterisk "Asterisk Ready"

# 1. All register, 50 a second, as after a power cut; the PBX challenges each of them.
{ echo SEQUENTIAL; for phone in $phones; do echo "$phone;[authentication username=$phone password=pw$phone]"; done; } >"$work/phones.csv"
(cd "$work" && on home timeout 40 sipp -sf "$here/phone.xml" -inf phones.csv -i 198.51.100.20 -p 5060 -r 50 -m 200 -nostdin \
    -timeout 30s -timeout_error $edge_outside:5060 >sipp-phones.log 2>&1) || fail "not all phones registered"
wait_for 15 "200 phones are registered at the PBX" contacts 200
status_has '"registrations":200,' || fail "the edge has another number of registrations"
if asterisk_cli "pjsip show contacts" | grep "Contact:  1" | grep -v "@10.20.0.5"; then fail "the PBX was shown an address of the outside"; fi

# 2. The PBX calls ten of them at once: each call goes down the flow of its phone, to the Contact that the phone gave.
start called home sipp -sf "$lib/uas_call.xml" -i 198.51.100.20 -p 5060 -mi 198.51.100.20 -mp 30000 -rtp_echo -m 10 -nostdin \
    -trace_msg -message_file "$work/called.log"
wait_for 15 "the phones listen" listens home 198.51.100.20:5060
for phone in $called; do asterisk_cli "channel originate PJSIP/$phone extension 601@default" >/dev/null; done
wait_for 15 "ten phones were called by their own Contacts" all_talk
wait_for 20 "all ten talk" status_has '"calls":10,"answered_calls":10,'
wait_for 20 "and are heard, for a second or so" heard 1000
asterisk_cli "channel request hangup all" >/dev/null
wait_for 15 "the phones saw ten whole calls" gone called
wait_for 15 "ten CDRs with audio both ways" cdrs_with_audio 10 pbx internet

nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# The carrier is an Asterisk with accounts of its own; its console shows every message.
carrier() {
    "$lib/asterisk.sh" config "/etc/$net" 198.51.100.20
    cp "$here/pjsip.conf" "$here/extensions.conf" "$asterisk_root/etc/$net/"
    start carrier carrier "$lib/asterisk.sh" run "/etc/$net"
    wait_for 30 "the carrier is ready" log_has carrier "Asterisk Ready"
    carrier_do "pjsip set logger on"
}
carrier_do() { on carrier chroot "$asterisk_root" /usr/sbin/asterisk -C "/etc/$net/asterisk.conf" -rx "$1" >/dev/null; }

# sent METHOD AUTHORIZATION: how many such requests the carrier got with credentials (1) or without (0).
sent() {
    tr -d '\r' <"$work/carrier.log" | awk -v method="$1" -v with="$2" '
        /^<--- / { if (mine) n += (has == with); mine = 0; has = 0 }
        /^<--- Received/ { received = 1; next }
        received { mine = ($1 == method); received = 0 }
        /^Authorization: Digest/ { has = 1 }
        END { print n + (mine && has == with) }'
}

network carrier
secret acme.password "a good one"
secret typo.password "a bad one"
carrier
edge
voice

# 1. Turnpike registers: asked for its password (401), it answers, and is registered.
wait_for 15 "the trunk is registered" metric_is trunk_registered 'trunk="acme"' 1
wait_for 15 "the log says so" log_has edge 'registered with the carrier.*acme'
log_has carrier "Added contact 'sip:acct4711@198.51.100.10:5060" || fail "the carrier has another contact"

# 2. The PBX calls out. It knows of no password and sees no challenge: Turnpike answers the carrier's.
sipp_call pbx 10.20.0.20 10.20.0.5:5060 -s +4940765432 -m 5 -r 5 -d 1000
wait_for 15 "five CDRs with audio both ways" cdrs_with_audio 5 pbx acme
if grep -qE "^SIP/2.0 40[17]|Authenticate|Authorization" "$work/sipp-pbx-messages.log"; then fail "the PBX was asked for a password"; fi
[ "$(sent INVITE 1)" -ge 5 ] || fail "INVITEs with credentials: $(sent INVITE 1)"
[ "$(sent INVITE 0)" -lt "$(sent INVITE 1)" ] || fail "the carrier had to ask each time"
[ "$(sent BYE 1)" -ge 5 ] || fail "BYEs with credentials: $(sent BYE 1)"
echo "ok: the carrier asked, and Turnpike answered: INVITE and BYE"

# 3. The carrier calls whoever registered; the PBX gets the number that stands for the account.
start pbx pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.20 -p 5060 -mp 30000 -rtp_echo -m 1 -trace_msg -message_file "$work/called.log"
wait_for 15 "the PBX listens" listens pbx 10.20.0.20:5060
carrier_do "channel originate PJSIP/acct4711 extension talk@default"
wait_for 15 "the PBX saw a whole call" gone pbx
grep -q "^INVITE sip:+4930555@" "$work/called.log" || fail "the PBX was called by another number"
wait_for 15 "a CDR with audio both ways" cdrs_with_audio 1 acme pbx

# 4. A wrong password: the log says what to look at, the metric wakes someone, a call is refused and its caller hears of no password.
wait_for 15 "the trunk with the wrong password counts as not registered" metric_is trunk_registered 'trunk="typo"' 0
wait_for 15 "the log says what to look at" log_has edge 'WARN.*refuses our name and password: check `auth`.*typo'
if grep -q "a bad one\|a good one" "$work/edge.log"; then fail "a password is in the log"; fi
if sipp_call pbx 10.20.0.20 10.20.0.5:5060 -s +9912345 -m 1 -d 100 >/dev/null 2>&1; then fail "a call with a wrong password went through"; fi
if grep -qE "^SIP/2.0 40[17]" "$work/sipp-pbx-messages.log"; then fail "the PBX was asked for a password"; fi
grep -q "^SIP/2.0 503" "$work/sipp-pbx-messages.log" || fail "the PBX was not told 503"
echo "ok: the call by the trunk with the wrong password was refused with 503, and nobody was asked for one"
metric_is trunk_registered 'trunk="acme"' 1 || fail "the good trunk suffered"
sipp_call pbx 10.20.0.20 10.20.0.5:5060 -s +4940765432 -m 1 -d 100 || fail "the good trunk takes no calls any more"

nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# scan NAME COMMAND…: sipvicious from the scanner's address, as it comes; what it sends is refused.
scan() {
    local name=$1 before
    before=$(refused "$scanners")
    shift
    (export HOME=$work; on scanner timeout 20 "$@" >"$work/$name.log" 2>&1) || true
    wait_for 15 "$name was refused by $scanners" has_refused "$scanners" $((before + 1))
}
# refused RULE: how many requests that rule has refused.
refused() {
    on edge curl -sf http://127.0.0.1:8080/metrics | awk -v rule="rule=\"$1\"" '/^turnpike_requests_refused/ && index($0, rule) { n = $NF } END { print n + 0 }'
}
has_refused() { [ "$(refused "$1")" -ge "$2" ]; }
# logins: how many requests of the phone with credentials the PBX has seen.
logins() { grep -ac '^Authorization: Digest username="201"' "$work/asterisk.log" || true; }
has_logins() { [ "$(logins)" -ge "$1" ]; }

network phone scanner
mkdir "$work/policies" && cp "$here"/../../policies/{scanners,floods}.yaml "$work/policies/"
certificate $edge_outside
edge
asterisk
# The phone is to register often.
sed -i 's/^max_contacts=1/&\nminimum_expiration=10/' "$asterisk_root/etc/$net/pjsip.conf"
asterisk_cli "module reload res_pjsip.so" >/dev/null
asterisk_cli "pjsip set logger on" >/dev/null
baresip_config phone "<sip:201@$edge_outside>;auth_user=201;auth_pass=pw201;regint=10;answermode=auto" 440
start phone phone baresip -f "$work/phone" -t 300
wait_for 15 "the phone is registered" log_has phone "1 binding"

# 1. Over UDP, where a source can be forged, each request of the scanner is dropped without a word.
scanners="scanners / scanner by its own name"
scan svmap svmap -b 198.51.100.21 $edge_outside
scan svwar svwar -b 198.51.100.21 -e 200-203 --force --maximumtime=3 $edge_outside
printf 'pw200\npw201\npw202\n' >"$work/words"
scan svcrack svcrack -b 198.51.100.21 -u 201 -d "$work/words" --maximumtime=3 $edge_outside
for tool in svmap svwar svcrack; do
    if grep -qE "^\| *($edge_outside|20[0-9])" "$work/$tool.log"; then fail "$tool found something"; fi
done
echo "ok: svmap finds no server, svwar no extension, svcrack no password"

# 2. Over TCP its source is its own: after one request it is banned, and then nothing of it is read, whatever name it gives itself.
ask() { on scanner "$here/ask.py" "$@" $edge_outside; }
[ "$(ask udp linphone)" = 403 ] || fail "before the ban another name was not told 403"
so_far=$(refused "$scanners")
[ "$(ask tcp friendly-scanner)" = nothing ] || fail "the scanner had an answer"
wait_for 15 "its request was refused, as metrics say" has_refused "$scanners" $((so_far + 1))
for transport in udp tcp; do
    [ "$(ask $transport linphone)" = nothing ] || fail "the banned scanner had an answer over $transport"
done
wait_for 15 "its connection was closed at once, as metrics say" metric_is connections_refused_total 'reason="policy"' 1
echo "ok: it is banned, over UDP and TCP and under other names"

# 3. All the while the phone registers; the PBX has seen nobody else.
wait_for 20 "the phone registers on" has_logins $(($(logins) + 1))
status_has '"registrations":1,' || fail "the phone has lost its registration"
if grep -aE "^(From|To):" "$work/asterisk.log" | grep -v "sip:201@$edge_outside"; then fail "the PBX saw somebody else"; fi
if grep -aE "^User-Agent:" "$work/asterisk.log" | grep -v "baresip"; then fail "the PBX saw somebody else's request"; fi

phone_do phone quit
nothing_left

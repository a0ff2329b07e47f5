#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# The edge believes that it is 3 in the morning in Berlin, and that time passes sixty times as fast: two hours in two minutes. A timer
# that is ten milliseconds late is late by more than half a second then, so the edge goes before everything else on this machine.
speed=60
fake=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1)
[ -e "$fake" ] || fail "this scenario needs the Debian package faketime"
real=$turnpike turnpike=$work/turnpike
cat >"$turnpike" <<X
#!/bin/sh
[ "\$1" = run ] || exec "$real" "\$@"
exec chrt --rr 10 env LD_PRELOAD="$fake" FAKETIME="@2026-03-03 02:00:00 x$speed" TZ=UTC "$real" "\$@"
X
chmod +x "$turnpike"

network phones
on phones ip addr add 198.51.100.21/24 dev out
cp "$here/rates.csv" "$work/"
secret pw201 pw201
secret pw202 pw202
edge
start pbx pbx sipp -sf "$lib/uas_call.xml" -i 10.20.0.20 -p 5060 -nostdin -timeout 300s
wait_for 15 "the PBX listens" listens pbx 10.20.0.20:5060

on phones python3 "$here/callers.py" $edge_outside 122 $speed >"$work/callers.log" 2>&1 || fail "the callers"
"$here/verdict.py" "$work/data/cdr.jsonl" "$work/callers.log"
metric_is calls_hung_up_total 'a day' '[1-9][0-9]*' || fail "no metric tells of it"
nothing_left

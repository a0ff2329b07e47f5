#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"

# proxy HOST ADDRESS: the carrier's Kamailio, and behind it its gateways: 5070 answers at once, 5071 rings reliably.
proxy() {
    sed "s/ADDRESS/$2/" "$here/kamailio.cfg" >"$work/$1.cfg"
    mkdir "$work/$1"
    start "$1" "$1" kamailio -f "$work/$1.cfg" -DD -E -m 32 -M 4 -Y "$work/$1" -w "$work/$1"
    gateway "$1" "$2" 5070 "$lib/uas_call.xml"
    gateway "$1" "$2" 5071 "$here/prack_called.xml"
    wait_for 15 "Kamailio listens on $1" listens "$1" "$2:5060"
}

# gateway HOST ADDRESS PORT SIPP-SCENARIO
gateway() {
    start "$1-$3" "$1" sipp -sf "$4" -i "$2" -p "$3" -mi "$2" -mp $((30000 + 100 * ($3 - 5060))) -rtp_echo -nostdin \
        -trace_msg -message_file "$work/$1-$3-messages.log"
    wait_for 15 "the gateway $2:$3 listens" listens "$1" "$2:$3"
}

# content HOST-PORT: the gateway stops, and says that none of its calls failed.
content() {
    local pid
    pid=$(cat "$work/$1.pid")
    kill -USR1 "$pid"
    wait "$pid" || fail "calls failed at the gateway $1 (sipp says $?)"
    echo "ok: no call failed at the gateway $1"
}

# calls WHAT N PER-SECOND SIPP-SCENARIO NUMBER: the PBX calls; each call must succeed.
calls() {
    (cd "$work" && on pbx sipp -sf "$4" -s "$5" -m "$2" -r "$3" -d 600 -i 10.20.0.20 -p 5060 -mi 10.20.0.20 -mp 20000 -key from pbx \
        -timeout 60s -timeout_error -trace_err -error_file "$work/sipp-errors.log" -nostdin 10.20.0.5:5060 >"$work/sipp-pbx.log" 2>&1) ||
        fail "$1: not all of $2 calls succeeded (sipp says $?)"
    echo "ok: $1: all $2 calls succeeded"
}

# took HOST TRANSPORT: INVITEs that it has had over this transport so far.
took() {
    case $1 in
    spare) grep -c "^INVITE " "$work/spare-5060-messages.log" || true ;;
    *) grep -c "got INVITE over $2," "$work/$1.log" || true ;;
    esac
}

# from_here: counts begin anew; since HOST TRANSPORT: what came after that.
declare -A before
from_here() { for server in "east udp" "east tcp" "west udp" "west tcp" "spare udp"; do before[$server]=$(took $server); done; }
since() { echo $(($(took "$1" "$2") - ${before["$1 $2"]})); }

# is HOST TRANSPORT LEAST MOST: so many INVITEs came there since.
is() {
    local n
    n=$(since "$1" "$2")
    [ "$n" -ge "$3" ] && [ "$n" -le "$4" ] || fail "$1 had $n INVITEs over $2, not $3 to $4"
    echo "ok: $1 had $n over $2"
}

# refused_by ADDRESS: it was tried over TCP.
refused_by() { log_has edge "connection to a target failed remote=$1:5060 transport=\"tcp\"" || fail "$1 was not tried over TCP"; }
cdrs_are() { [ "$(wc -l <"$work/data/cdr.jsonl")" -ge "$1" ]; }

network east west spare dns
proxy east 198.51.100.20
proxy west 198.51.100.21
gateway spare 198.51.100.22 5060 "$lib/uas_call.xml"
start dns dns python3 "$here/nameserver.py" 198.51.100.23 "$here/zone"
wait_for 15 "the name server listens" listens dns 198.51.100.23:53
edge
voice
wait_for 15 "the DNS was asked for the last address" log_has dns "^spare.carrier.test 1 1"

# 1. Three to one, as the SRV records say (120 calls: 90 and 30, and five standard deviations of 4.7), over UDP, none to the spare server.
from_here
calls "by SRV weight" 120 20 "$lib/uac_call.xml" +4940765432
is east udp 66 114
is west udp $((120 - $(since east udp))) $((120 - $(since east udp)))
is spare udp 0 0

# 2. What has outgrown a datagram goes to the same servers over TCP.
from_here
sed "s/^a=ptime:20$/$(printf 'a=x-note:an offer of a phone that can do a lot is large\\n%.0s' {1..24})&/" "$lib/uac_call.xml" >"$work/large.xml"
calls "of more than 1300 bytes" 60 20 "$work/large.xml" +4940765432
is east udp 0 0
is west udp 0 0
is east tcp 1 59
is west tcp $((60 - $(since east tcp))) $((60 - $(since east tcp)))

# 3. NAPTR that knows TCP alone; at the first server of two the connection is refused.
from_here
calls "by NAPTR over TCP, past a server that refuses" 20 10 "$lib/uac_call.xml" +9940765432
is west tcp 20 20
refused_by 198.51.100.23

# 4. Reliable provisional responses, while 183 and PRACK get lost.
calls "with 183 and PRACK" 40 10 "$here/prack_caller.xml" +8001
# Of 120, 60 and 40 calls; that of one or the other less was heard is the busy machine's.
wait_for 15 "CDRs with audio both ways" cdrs_with_audio 200 pbx carrier
content east-5070
content east-5071

# 5. The first server dies: its host answers with ICMP.
ip netns pids "$net-east" | xargs kill -9
from_here
calls "past a server that is dead" 40 10 "$lib/uac_call.xml" +4940765432
is west udp 40 40
is spare udp 0 0

# 6. The second one falls silent: nothing gets in any more, nothing comes back. Only calls that began before this was
# noticed (failover.after, 2 s) wait.
from_here
cdrs=$(wc -l <"$work/data/cdr.jsonl")
on west nft add table ip dead
on west nft 'add chain ip dead in { type filter hook input priority 0; iifname out drop; }'
calls "past a server that is silent" 40 5 "$lib/uac_call.xml" +4940765432
is spare udp 40 40
wait_for 15 "each of them has its CDR" cdrs_are $((cdrs + 40))
tail -n "+$((cdrs + 1))" "$work/data/cdr.jsonl" | "$here/verdict.py" 2 || fail "calls waited for a server that was known to be silent"

# 7. The third one knows no TCP: what is large comes as a datagram after all. (From here on the name server says nothing.)
kill -STOP "$(cat "$work/dns.pid")"
from_here
calls "of more than 1300 bytes, without TCP" 20 10 "$work/large.xml" +4940765432
is spare udp 20 20
refused_by 198.51.100.22

# 8. The edge has asked the name server in vain; what was known goes on to hold.
wait_for 60 "the name server was asked in vain" log_has edge "this host cannot be found in the DNS.* name=carrier.test"
from_here
calls "without a name server" 40 10 "$lib/uac_call.xml" +4940765432
is spare udp 40 40

content west-5070
content west-5071
content spare-5060
nothing_left

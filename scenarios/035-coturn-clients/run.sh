#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/coturn.sh"
lab="-u lab -w lab-secret -n 50"
first_secret=the-first-shared-secret
second_secret=the-second-shared-secret

# uclient NAME ARGUMENT…: as user lab, beside others.
uclient() { at_once lossless "$1" edge $lab "${@:2}"; }

# sees NAME TEXT COMMAND…: the command ends well and says this.
sees() {
    local name=$1 text=$2
    shift 2
    on edge timeout 10 "$@" >"$work/$name.log" 2>&1 || fail "exit status $? of $*: $(tail -n 1 "$work/$name.log")"
    grep -qE "$text" "$work/$name.log" || fail "$*: no $text in: $(cat "$work/$name.log")"
    echo "ok: $* says $text"
}

namespace edge
certificate localhost 127.0.0.1 ::1
secret lab.secret lab-secret
secret world.secret world-secret
secret first.secret "$first_secret"
secret second.secret "$second_secret"
cp "$here/../../policies/scanners.yaml" "$work/"
edge
start peer edge turnutils_peer -L 127.0.0.1 -L ::1 -p 3480

# Three with wrong credentials, each from a source of its own, for later: uclient tries again and again, and whoever guesses gets no
# answer after a while.
start wrong edge turnutils_uclient -L 127.0.0.2 -u lab -w wrong -y 127.0.0.1
start unknown edge turnutils_uclient -L 127.0.0.3 -u nobody -w wrong -y 127.0.0.1
start wrong-short edge turnutils_uclient -L 127.0.0.4 -u alice -W another-shared-secret -y 127.0.0.1

# 1. STUN: the address that we are seen from.
sees stun "IPv4. UDP reflexive addr: 127.0.0.1:[0-9]+" turnutils_stunclient 127.0.0.1
sees stun6 "IPv6. UDP reflexive addr: ::1:[0-9]+" turnutils_stunclient ::1
sees mapping "UDP reflexive addr: 127.0.0.1:[0-9]+" turnutils_natdiscovery -m 127.0.0.1
sees filtering "UDP reflexive addr: 127.0.0.1:[0-9]+" turnutils_natdiscovery -f 127.0.0.1
sees hairpinning "successful hairpinning" turnutils_natdiscovery -H 127.0.0.1
sees collision "UDP reflexive addr: 127.0.0.2:[0-9]+" turnutils_natdiscovery -c -A 127.0.0.2 127.0.0.1

# 2. Channels to a peer, indications to a peer, and between allocations, over each transport.
uclient udp -e 127.0.0.1 127.0.0.1
uclient udp-send -s -e 127.0.0.1 127.0.0.1
uclient udp-y -y 127.0.0.1
uclient udp-y-send -y -s 127.0.0.1
uclient tcp -t -e 127.0.0.1 127.0.0.1
uclient tcp-send -t -s -e 127.0.0.1 127.0.0.1
uclient tcp-y -t -y 127.0.0.1
all_well
uclient tls -t -S -e 127.0.0.1 127.0.0.1
uclient tls-send -t -S -s -e 127.0.0.1 127.0.0.1
uclient tls-y -t -S -y 127.0.0.1
uclient dtls -S -e 127.0.0.1 127.0.0.1
uclient dtls-send -S -s -e 127.0.0.1 127.0.0.1
uclient dtls-y -S -y 127.0.0.1
all_well

# 3. IPv6: relayed addresses, peers, the way to the server.
uclient v6-relay -x -e ::1 127.0.0.1
uclient v6-all -x -e ::1 ::1
uclient v6-y -x -y ::1
uclient v6-tls -t -S -x -y ::1
uclient v6-client -X -e 127.0.0.1 ::1
all_well

# 4. TCP all the way (RFC 6062): connections to peers, and to this user's other allocation.
uclient tcp-relay -T 127.0.0.1
uclient tcp-relay-tls -T -S 127.0.0.1
uclient tcp-relay-many -T -m 4 127.0.0.1
all_well

# 5. What clients may also do: many at once, DONT-FRAGMENT, padded channels, needless requests; and beside them some that break
#    every tenth message of theirs (-R), which is their own trouble.
for n in 1 2 3 4 5; do start broken-$n edge timeout 10 turnutils_uclient -t -R $lab -y 127.0.0.1; done
uclient many -m 20 -y -c 127.0.0.1
uclient dont-fragment -g -e 127.0.0.1 127.0.0.1
uclient padded -D -e 127.0.0.1 127.0.0.1
uclient more-requests -G -e 127.0.0.1 127.0.0.1
uclient large -l 1300 -t -S -e 127.0.0.1 127.0.0.1
all_well

# 6. Short-lived credentials made from either secret, and those that Turnpike issues. Those who had a wrong one are refused.
"$turnpike" credentials turn --config "$work/edge.yaml" --user alice --lifetime 1h >"$work/issued"
issued() { awk -v key="$1" '$1 == key { print $2 }' "$work/issued"; }
at_once lossless short edge -n 50 -y -u alice -W $first_secret 127.0.0.1
at_once lossless short-2 edge -n 50 -y -u alice -W $second_secret 127.0.0.1
at_once lossless issued edge -n 50 -y -u "$(issued username)" -w "$(issued password)" 127.0.0.1
all_well
for name in wrong unknown wrong-short; do
    wait_for 60 "uclient, $name, has given up" log_has $name "Cannot complete Allocation"
done

# 7. Good credentials do not lead inside, and a trap on these addresses hears nothing. (Over TCP: who is refused goes without a
#    word, and its allocation with the connection.)
inside="10.0.0.1 100.64.0.1 169.254.169.254 172.16.0.1 192.168.0.1 127.0.0.1"
for ip in $inside; do on edge ip addr add "$ip/32" dev lo 2>/dev/null || true; done
on edge ip addr add fd00:ec2::254/128 dev lo
trap_on edge 3490
for ip in $inside 0.0.0.0; do
    at_once refused "thief-$ip" edge "403 \(Forbidden" -t -c -u world -w world-secret -e "$ip" -r 3490 -n 1 127.0.0.1
done
for ip in fd00:ec2::254 ::1 ::ffff:127.0.0.1 ::ffff:169.254.169.254 64:ff9b::10.0.0.1 2002:7f00:1::1; do
    at_once refused "thief-$ip" edge "403 \(Forbidden" -t -c -u world -w world-secret -x -e "$ip" -r 3490 -n 1 127.0.0.1
done
# The role `phones` (peers: calls) does not even reach the internet.
at_once refused stolen edge "403 \(Forbidden" -t -c -u alice -W $first_secret -e 192.0.2.1 -n 1 127.0.0.1
all_well
nothing_trapped

# 8. What policies say besides (turn-rules.yaml): who is refused, whom nobody reaches, who comes from a bad address, and whose ration is
#    used up: that one's allocation is ended, and no other begins.
at_once refused gone edge "403 \(Forbidden" -t -c -u gone -w lab-secret -y -n 1 127.0.0.1
at_once refused kept-away edge "403 \(Forbidden" -t -c $lab -e 127.0.0.99 -r 3480 127.0.0.1
all_well
if on edge timeout 2 turnutils_stunclient -L 127.0.0.66 127.0.0.1 >/dev/null 2>&1; then fail "a bad address is answered"; fi
rationed="-c -u rationed -w lab-secret -e 127.0.0.1"
on edge timeout 60 turnutils_uclient $rationed -n 20000 -l 1000 -z 1 127.0.0.1 >"$work/rationed.log" 2>&1 &
wait_for 30 "the ration is used up" log_has edge "a policy ends the TURN allocation.*turn rules / ration"
kill $! 2>/dev/null || true
at_once refused no-more edge "486 \(Allocation Quota" -t $rationed -n 1 127.0.0.1
uclient others-go-on -e 127.0.0.1 127.0.0.1
all_well
for rule in left "kept away" "a bad address" ration; do
    on edge curl -sf http://127.0.0.1:8080/metrics | grep -qE "turnpike_policy_hits_total.*turn rules / $rule.* [1-9]" || fail "no hit of $rule"
done

# 9. Whoever policy bans has nothing left: a scanner that gives its name (policies/scanners.yaml) from the address of our clients.
#    uclient has left an allocation behind each time, the one that it tries first.
status_has '"allocations":[1-9]' || fail "uclient has left nothing behind"
for ip in 127.0.0.1 ::1; do
    on edge bash -c 'exec >/dev/tcp/$0/5060; printf "%s\r\n" "$@"' $ip "REGISTER sip:localhost SIP/2.0" "Max-Forwards: 70" \
        "Via: SIP/2.0/TCP scanner.invalid;branch=z9hG4bK1" "From: <sip:1@localhost>;tag=1" "To: <sip:1@localhost>" "Call-ID: 1" \
        "CSeq: 1 REGISTER" "User-Agent: friendly-scanner" "Content-Length: 0" ""
done
wait_for 15 "nothing of a banned source is left" field_is_zero allocations
if on edge timeout 2 turnutils_stunclient 127.0.0.1 >/dev/null 2>&1; then fail "a banned source is answered"; fi
echo "ok: a banned source is not answered"

nothing_left

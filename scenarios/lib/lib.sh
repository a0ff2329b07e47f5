# Shared by every scenario's run.sh: hosts as network namespaces, peers, and what must be true at the end.
# A run.sh sources this, calls `network`, starts peers with `start`, waits with `wait_for`, and ends with `nothing_left`.
# Needs root. TURNPIKE names the binary.
set -eEuo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[1]}")" && pwd)
lib=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
turnpike=${TURNPIKE:-$here/../../target/debug/turnpike}
work=$(mktemp -d /tmp/turnpike-scenario.XXXXXX)
net=tp$$
hosts=""
asterisk_root=${ASTERISK_ROOT:-/var/cache/turnpike/asterisk}
heard_by_pbx=$asterisk_root/etc/$net/heard.wav

# The internet side is 198.51.100.0/24, the office 10.20.0.0/24; only the edge is in both, and it does not route.
edge_outside=198.51.100.10
edge_inside=10.20.0.5

fail() { echo "FAILED: $*" >&2; exit 1; }

finish() {
    local status=$?
    trap - EXIT
    for name in $hosts; do
        ip netns pids "$net-$name" 2>/dev/null | xargs -r kill -9 2>/dev/null || true
        ip netns del "$net-$name" 2>/dev/null || true
        rm -rf "/etc/netns/$net-$name"
    done
    rm -rf "${asterisk_root:?}/etc/$net"
    rmdir "/sys/fs/cgroup/cpu/$net" "/sys/fs/cgroup/$net" 2>/dev/null || true
    if [ $status -ne 0 ]; then
        for log in "$work"/*.log; do [ -s "$log" ] && { echo "--- $log"; grep -v loader.c "$log" | tr '\r' '\n' | grep -v 'bit/s' | tail -n 40; }; done
        echo "everything is kept in $work"
    else
        rm -rf "$work"
    fi
    exit $status
}
trap finish EXIT

namespace() { ip netns add "$net-$1"; hosts="$hosts $1"; on "$1" ip link set lo up; }

# on HOST COMMAND…: runs it there.
on() { ip netns exec "$net-$1" "${@:2}"; }

# plug HOST INTERFACE SWITCH ADDRESS/LEN
plug() {
    local port="p$1$2"
    ip -n "$net-$1" link add "$2" type veth peer name "$port" netns "$net-$3"
    ip -n "$net-$3" link set "$port" master br0 up
    ip -n "$net-$1" addr add "$4" dev "$2"
    ip -n "$net-$1" link set "$2" up
}

# network OUTSIDE-HOST… : the edge, a PBX at 10.20.0.20 (and .21), and each named host outside from 198.51.100.20 on.
network() {
    [ "$(id -u)" = 0 ] || fail "scenarios make network namespaces: run them as root (or with sudo -E)"
    local name address=20
    for name in world office; do
        namespace $name
        on $name ip link add br0 type bridge stp_state 0 forward_delay 0
        on $name ip link set br0 up
    done
    namespace edge
    plug edge out world $edge_outside/24
    plug edge in office $edge_inside/24
    namespace pbx
    plug pbx in office 10.20.0.20/24
    on pbx ip addr add 10.20.0.21/24 dev in
    for name in "$@"; do
        namespace "$name"
        plug "$name" out world 198.51.100.$address/24
        address=$((address + 1))
    done
}

# bad_wire HOST INTERFACE LOSS DUPLICATION DELAY JITTER: what HOST sends and hears there passes through a cable that loses, duplicates
# (per cent) and reorders (ms). What it has done is in $work/wire-HOST-INTERFACE.log when its process has got SIGTERM.
bad_wire() {
    local wire=wire-$1-$2 port="p$1$2" switch
    for switch in world office; do on $switch ip link show "$port" >/dev/null 2>&1 && break; done
    namespace "$wire"
    ip -n "$net-$switch" link set "$port" netns "$net-$wire"
    ip -n "$net-$wire" link set "$port" name near up
    ip -n "$net-$wire" link add far type veth peer name "$port" netns "$net-$switch"
    ip -n "$net-$wire" link set far up
    ip -n "$net-$switch" link set "$port" master br0 up
    start "$wire" "$wire" "$lib/bad_wire.py" near far "${@:3}"
}

# start NAME HOST COMMAND…: in the background, output in $work/NAME.log, pid in $work/NAME.pid.
start() {
    local name=$1 host=$2
    shift 2
    ip netns exec "$net-$host" "$@" >"$work/$name.log" 2>&1 </dev/null &
    echo $! >"$work/$name.pid"
}

# throttle NAME PERCENT: what was started under this name has no more than so much of one core from now on.
throttle() {
    local group=/sys/fs/cgroup/cpu/$net
    [ -d /sys/fs/cgroup/cpu ] || group=/sys/fs/cgroup/$net
    mkdir -p "$group"
    # In slices of 10 ms, so that it is slow rather than stopped and started.
    if [ -e "$group/cpu.max" ]; then
        echo "$(($2 * 100)) 10000" >"$group/cpu.max"
    else
        echo 10000 >"$group/cpu.cfs_period_us"
        echo $(($2 * 100)) >"$group/cpu.cfs_quota_us"
        echo 262144 >"$group/cpu.shares"
    fi
    cat "$work/$1.pid" >"$group/cgroup.procs"
}

# wait_for SECONDS WHAT COMMAND…: polls until the command succeeds.
wait_for() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $deadline ] || fail "waited in vain for: $what"
        sleep 0.1
    done
    echo "ok: $what"
}

# certificate NAME-OR-IP…: a self-signed one for the edge in $work/tls, as an operator's own CA would make.
certificate() {
    local names=""
    for name in "$@"; do case $name in *[a-z]*) names+="DNS:$name," ;; *) names+="IP:$name," ;; esac; done
    mkdir -p "$work/tls"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj "/CN=turnpike" \
        -addext "subjectAltName=${names%,}" -keyout "$work/tls/key.pem" -out "$work/tls/chain.pem" 2>/dev/null
}

# secret NAME TEXT: what edge.yaml means by file:NAME.
secret() { printf '%s\n' "$2" >"$work/$1"; }

# listens HOST ADDRESS:PORT: somebody does there, over UDP.
listens() { [ -n "$(on "$1" ss -Hlun src "$2")" ]; }

# metric_is NAME LABEL VALUE: /metrics says so, for example `metric_is trunk_registered 'trunk="acme"' 1`.
metric_is() { on edge curl -sf http://127.0.0.1:8080/metrics | grep -E "^turnpike_$1\{.*$2.*\} $3\$" >/dev/null; }

log_has() { grep -qE "$2" "$work/$1.log"; }

# edge: starts Turnpike with this scenario's edge.yaml.
edge() {
    cp "$here"/*.yaml "$work/"
    on edge "$turnpike" check --config "$work/edge.yaml" >"$work/check.log" 2>&1 || fail "turnpike check refuses edge.yaml"
    start edge edge "$turnpike" run --config "$work/edge.yaml"
    wait_for 15 "the edge is up" status_has '"calls"'
}

status() { on edge curl -sf http://127.0.0.1:8080/status; }
status_has() { status | tr -d ' \n' | grep -qE "$1"; }
field_is_zero() { status | tr -d ' \n' | grep -qE "\"$1\":0[,}]"; }

# nothing_left: no port, transaction, call or allocation is left behind (transactions live up to 32 s after their last message).
nothing_left() {
    for what in relay_ports_taken relay_pairs calls server_transactions client_transactions; do
        wait_for 45 "$what is back at 0" field_is_zero $what
    done
    status_has '"turn":' || return 0
    for what in allocations permissions channels; do
        wait_for 15 "$what of TURN are back at 0" field_is_zero $what
    done
}

# baresip_config HOST ACCOUNT TONE-HZ [LINE…]: a phone's configuration in $work/HOST, with these lines besides the usual ones. It sends
# a tone and records what it hears in $work/HOST/dump-…-dec.wav.
baresip_config() {
    local dir=$work/$1 address
    address=$(on "$1" ip -4 -o addr show dev out | awk '{sub("/.*","",$4); print $4}')
    mkdir -p "$dir"
    "$lib/tone.py" make "$dir/voice.wav" "$3" 60
    cat >"$dir/config" <<X
poll_method epoll
sip_listen $address:5060
sip_cafile $work/tls/chain.pem
audio_source aufile,$dir/voice.wav
audio_player aubridge,nobody
snd_path $dir
audio_alert aufile,/dev/null
rtp_timeout 0
module_path /usr/lib/baresip/modules
module g711.so
module aufile.so
module aubridge.so
module_app ctrl_tcp.so
ctrl_tcp_listen 127.0.0.1:4444
module sndfile.so
module srtp.so
module_tmp account.so
module_app menu.so
X
    printf '%s\n' "${@:4}" >>"$dir/config"
    echo "$2" >"$dir/accounts"
    : >"$dir/contacts"
}

# phone_do HOST COMMAND [PARAMETER]: types a command into the baresip on that host (its ctrl_tcp module).
phone_do() {
    local json="{\"command\":\"$2\",\"params\":\"${3:-}\"}"
    on "$1" bash -c 'exec 3<>/dev/tcp/127.0.0.1/4444; printf "%d:%s," ${#1} "$1" >&3; timeout 0.5 cat <&3 >/dev/null || true' - "$json"
}

# trap_on HOST PORT: whatever arrives there over UDP is written down; nothing_trapped fails if something was.
trap_on() { start trap "$1" python3 "$lib/trap.py" "$work/trapped" "$2"; wait_for 15 "a trap waits on $1" test -e "$work/trapped"; }
nothing_trapped() { [ ! -s "$work/trapped" ] || fail "something arrived: $(cat "$work/trapped")"; echo "ok: nothing is in the trap"; }

gone() { ! kill -0 "$(cat "$work/$1.pid")" 2>/dev/null; }

# asterisk [SETTING…]: the PBX, with these settings for its phones. What extension 601 hears is recorded in $heard_by_pbx.
asterisk() {
    "$lib/asterisk.sh" config "/etc/$net" 10.20.0.20 "$@"
    start asterisk pbx "$lib/asterisk.sh" run "/etc/$net"
    wait_for 30 "Asterisk is ready" log_has asterisk "Asterisk Ready"
}

# asterisk_cli COMMAND: on the running PBX's console.
asterisk_cli() { on pbx chroot "$asterisk_root" /usr/sbin/asterisk -C "/etc/$net/asterisk.conf" -rx "$1"; }

# voice: something to say, as raw A-law, in $work/voice.
voice() { head -c 16000 /dev/zero | tr '\0' 'U' >"$work/voice"; }

# sipp_call HOST IP TARGET SIPP-OPTIONS…: places calls that talk for -d milliseconds; fails unless all of them succeed.
sipp_call() {
    local host=$1 ip=$2 target=$3
    shift 3
    (cd "$work" && on "$host" sipp -sf "$lib/uac_call.xml" -i "$ip" -p 5060 -mi "$ip" -mp 20000 -key from "$host" \
        -trace_msg -message_file "$work/sipp-$host-messages.log" -message_overwrite true -timeout 30s -timeout_error -nostdin \
        "$@" "$target" >"$work/sipp-$host.log" 2>&1) || return
    echo "ok: sipp on $host: ${*}"
}

# cdrs_with_audio N FROM TO: at least N calls between these two were relayed with packets from both sides.
cdrs_with_audio() {
    python3 - "$work/data/cdr.jsonl" "$@" <<'P'
import json, sys
path, wanted, source, target = sys.argv[1], int(sys.argv[2]), *sys.argv[3:]
calls = [json.loads(line) for line in open(path)]
good = [c for c in calls if (c["from_party"], c["to_party"]) == (source, target)
        and c["media"] and all(m[side]["packets"] > 10 for m in c["media"] for side in ("from_caller", "from_callee"))]
sys.exit(0 if len(good) >= wanted else 1)
P
}

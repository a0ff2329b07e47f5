# Sites behind routers, for scenarios about firewalls and NAT. Sourced after lib.sh; `site` comes after `network`.
# A site is a host with a private address and a router between it and the world, each a network namespace; the router's rules
# are nftables', its state the kernel's own conntrack.

# The edge's second public address: for TURN over TLS on 443 beside SIP over TLS on 443.
edge_turn=198.51.100.11

# site NAME MODE: host 192.168.N.10 behind a router with 198.51.100.(100+N). Modes:
#   cone       port-restricted cone NAT: the port is kept, only who was spoken to may answer
#   symmetric  symmetric NAT: another port for every destination
#   blocked    a hotel, a hospital, a bank: nothing but TCP to port 443 gets out
sites=0
site() {
    local name=$1 mode=$2 router lan
    sites=$((sites + 1))
    router=r$sites lan=192.168.$sites
    namespace "$name"
    namespace $router
    plug $router wan world 198.51.100.$((100 + sites))/24
    ip -n "$net-$router" link add lan type veth peer name out netns "$net-$name"
    ip -n "$net-$router" addr add $lan.1/24 dev lan
    ip -n "$net-$router" link set lan up
    ip -n "$net-$name" addr add $lan.10/24 dev out
    ip -n "$net-$name" link set out up
    ip -n "$net-$name" route add default via $lan.1
    on $router sysctl -qw net.ipv4.ip_forward=1
    nat_rules "$mode" | on $router nft -f - || fail "the router's rules (nftables) for $mode"
}

nat_rules() {
    local source="oifname wan masquerade persistent" out=""
    case $1 in
    cone) ;;
    symmetric) source="oifname wan meta l4proto { tcp, udp } masquerade to :20000-60000 fully-random" ;;
    blocked) out="iifname lan tcp dport != 443 drop; iifname lan meta l4proto != tcp drop;" ;;
    *) fail "site: no mode $1" ;;
    esac
    cat <<R
table ip site {
    chain leaving { type nat hook postrouting priority srcnat; $source; }
    chain through { type filter hook forward priority 0; $out iifname wan ct state established,related accept; iifname wan drop; }
    chain here { type filter hook input priority 0; iifname wan drop; }
}
R
}

# gets_out HOST udp|tcp: to port 5061 of the edge.
gets_out() { on "$1" timeout 2 bash -c "exec 3<>/dev/$2/$edge_outside/5061; [ $2 = tcp ] || { echo >&3; read -ru 3; }" 2>/dev/null; }

# is_blocked HOST STRANGER: another port than 443 is answered to STRANGER, who is behind no firewall, and neither over UDP nor TCP to HOST.
is_blocked() {
    local transport
    start port-5061 edge python3 -c 'import socket, sys
tcp, udp = socket.create_server((sys.argv[1], 5061)), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((sys.argv[1], 5061))
while True: udp.sendto(*udp.recvfrom(100))' $edge_outside
    for transport in udp tcp; do
        wait_for 15 "a stranger reaches port 5061 over $transport" gets_out "$2" $transport
        if gets_out "$1" $transport; then fail "$transport to 5061 gets out of the blocked site"; fi
    done
    kill "$(cat "$work/port-5061.pid")"
    echo "ok: the site is blocked"
}

# named HOST ADDRESS=NAME…: what the host knows instead of DNS. Its resolver refuses at once, so that nobody waits for one.
named() {
    local dir=/etc/netns/$net-$1 pair
    mkdir -p "$dir"
    printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$dir/resolv.conf"
    printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$dir/hosts"
    for pair in "${@:2}"; do printf '%s %s\n' "${pair%=*}" "${pair#*=}" >>"$dir/hosts"; done
}

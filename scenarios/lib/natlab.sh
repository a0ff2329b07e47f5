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

# named HOST ADDRESS=NAME…: what the host knows instead of DNS. Its resolver refuses at once, so that nobody waits for one.
named() {
    local dir=/etc/netns/$net-$1 pair
    mkdir -p "$dir"
    printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"$dir/resolv.conf"
    printf '127.0.0.1 localhost %s\n' "$(hostname)" >"$dir/hosts"
    for pair in "${@:2}"; do printf '%s %s\n' "${pair%=*}" "${pair#*=}" >>"$dir/hosts"; done
}

# Linphone as a phone (package linphone-cli). Sourced after lib.sh.

# linphone NAME HOST ACCOUNT TURN-USER TONE-HZ: registers user@domain:password (ACCOUNT) at edge.test:443 over TLS; media is SRTP
# with SDES keys; ICE, with relay candidates of turn.test:443 over TLS alone (TURN-USER is user:password). It answers calls, sends
# a tone and records what it is told to record.
linphone() {
    local dir=$work/$1 host=$2 account=$3 turn=$4
    # linphonec's control socket has one name for each user of a machine: whoever comes second waits here.
    exec 8>/run/lock/turnpike-linphone
    flock -w 120 8 || fail "another scenario holds linphonec's control socket"
    mkdir -p "$dir/home/.local/share/linphone"
    "$lib/tone.py" make "$dir/voice.wav" "$5" 60
    cat >"$dir/rc" <<X
[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
root_ca=$work/tls/chain.pem
verify_server_certs=1
verify_server_cn=1
media_encryption=srtp
[proxy_0]
reg_proxy=<sip:edge.test:443;transport=tls>
reg_route=<sip:edge.test:443;transport=tls>
reg_identity=sip:${account%:*}
reg_sendregister=1
reg_expires=300
nat_policy_ref=turn
[auth_info_0]
username=${account%%@*}
passwd=${account##*:}
realm=asterisk
[auth_info_1]
username=${turn%:*}
passwd=${turn#*:}
realm=turn
[net]
nat_policy_ref=turn
[nat_policy_0]
ref=turn
protocols=turn,ice
stun_server=turn.test:443
stun_server_username=${turn%:*}
turn_enable_udp=0
turn_enable_tcp=0
turn_enable_tls=1
[video]
enabled=0
X
    HOME=$dir/home start "$1" "$host" linphonec --pipe -a -c "$dir/rc" -d 5 -l "$dir/debug.log"
    wait_for 15 "$1 is registered" grep -aq RegistrationOk "$dir/debug.log"
    linphone_do "$host" "soundcard use files"
    linphone_do "$host" "play $dir/voice.wav"
}

# linphone_do HOST COMMAND: on linphonec's console.
linphone_do() { on "$1" linphonecsh generic "$2"; }

# Linphone as a phone (package linphone-cli). Sourced after natlab.sh. It answers calls, sends a tone, and records what it is told to
# record. As Linphone checks that the certificate has the name, and knows no addresses there, its host must know edge.test (`named`).

# linphone_rc ACCOUNT URI SETTING…: its configuration, registering user@domain:password (ACCOUNT) at URI; settings of [sip].
linphone_rc() {
    local account=$1
    cat <<X
[sip]
sip_port=-1
sip_tcp_port=-1
sip_tls_port=-1
default_proxy=0
root_ca=$work/tls/chain.pem
verify_server_certs=1
verify_server_cn=1
$(printf "%s\n" "${@:3}")
[proxy_0]
reg_proxy=<$2>
reg_route=<$2>
reg_identity=sip:${account%:*}
reg_sendregister=1
reg_expires=300
nat_policy_ref=nat
[auth_info_0]
username=${account%%@*}
passwd=${account##*:}
realm=asterisk
[video]
enabled=0
X
}

# linphone NAME HOST ACCOUNT TURN-USER TONE-HZ: registers over TLS at edge.test:443; media is SRTP with SDES keys; ICE, with relay
# candidates of turn.test:443 over TLS alone (TURN-USER is user:password).
linphone() {
    local dir=$work/$1 host=$2 account=$3 turn=$4
    # linphonec's control socket has one name for each user of a machine: whoever comes second waits here.
    exec 8>/run/lock/turnpike-linphone
    flock -w 120 8 || fail "another scenario holds linphonec's control socket"
    mkdir -p "$dir/home/.local/share/linphone"
    "$lib/tone.py" make "$dir/voice.wav" "$5" 60
    linphone_rc "$account" "sip:edge.test:443;transport=tls" media_encryption=srtp >"$dir/rc"
    cat >>"$dir/rc" <<X
[auth_info_1]
username=${turn%:*}
passwd=${turn#*:}
realm=turn
[net]
nat_policy_ref=nat
[nat_policy_0]
ref=nat
protocols=turn,ice
stun_server=turn.test:443
stun_server_username=${turn%:*}
turn_enable_udp=0
turn_enable_tcp=0
turn_enable_tls=1
X
    HOME=$dir/home start "$1" "$host" linphonec --pipe -a -c "$dir/rc" -d 5 -l "$dir/debug.log"
    wait_for 15 "$1 is registered" grep -aq RegistrationOk "$dir/debug.log"
    linphone_do "$host" "soundcard use files"
    linphone_do "$host" "play $dir/voice.wav"
}

# linphone_do HOST COMMAND: on linphonec's console.
linphone_do() { on "$1" linphonecsh generic "$2"; }

# plain_linphone HOST USER PORT-AND-TRANSPORT TONE-HZ SETTING…: registers so at edge.test; plain RTP, no ICE. What it hears is appended to
# $work/HOST/heard.wav. It reads its console from a FIFO, so there may be several.
plain_linphone() {
    local dir=$work/$1
    mkdir -p "$dir/home/.local/share/linphone"
    "$lib/tone.py" make "$dir/voice.wav" "$4" 60
    linphone_rc "$2@edge.test:pw$2" "sip:edge.test:$3" "${@:5}" >"$dir/rc"
    mkfifo "$dir/do"
    # Both ends of the FIFO are held open, so that it does not end with the first line.
    HOME=$dir/home ip netns exec "$net-$1" linphonec -a -c "$dir/rc" -d 5 -l "$dir/debug.log" <>"$dir/do" >"$work/$1.log" 2>&1 &
    echo $! >"$work/$1.pid"
    wait_for 15 "$1 is registered" grep -aq RegistrationOk "$dir/debug.log"
    plain_linphone_do "$1" "soundcard use files"
    plain_linphone_do "$1" "play $dir/voice.wav"
    plain_linphone_do "$1" "record $dir/heard.wav"
}

# plain_linphone_do HOST COMMAND: on its console.
plain_linphone_do() { echo "$2" >"$work/$1/do"; }

#!/bin/bash
# A real PBX for the scenarios.
#   asterisk.sh install            into a chroot of its own (Debian 12 has no Asterisk, Debian unstable has); once, ~2 min
#   asterisk.sh config DIR IP [SETTING…]   users 201 to 204 (password pw201, …), extensions 600 echo, 601 tone + recording,
#                                  700 Hz for whoever is on hold; a setting (ice_support=yes) is for all users' endpoints,
#                                  or for one's (201:ice_support=yes)
#   asterisk.sh run DIR            in the foreground, with that configuration
# DIR is inside the chroot and holds all that one PBX writes; the recording of what 601 heard is DIR/heard.wav. Needs root
# and mmdebstrap.
set -eu
root=${ASTERISK_ROOT:-/var/cache/turnpike/asterisk}
lib=$(cd "$(dirname "$0")" && pwd)

install() {
    [ -x "$root/usr/sbin/asterisk" ] && return
    # The mirror that this machine's apt already uses.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort -u | head -1)
    rm -rf "$root.new" && mkdir -p "$(dirname "$root")"
    mmdebstrap --quiet --variant=apt --include=asterisk,asterisk-core-sounds-en \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Check-Valid-Until "false"' \
        sid "$root.new" "$mirror"
    mv "$root.new" "$root"
}

config() {
    local dir=$1 ip=$2 user setting module file
    shift 2
    rm -rf "$root$dir" && mkdir -p "$root$dir"
    cd "$root$dir"
    printf '[directories]\nastetcdir => %s\nastrundir => %s\nastdbdir => %s\n' "$dir" "$dir" "$dir" >asterisk.conf
    printf '[options]\nverbose = 3\nnofork = yes\n' >>asterisk.conf
    {
        printf '[modules]\nautoload=yes\n'
        for module in chan_iax2 chan_unistim chan_alsa chan_console chan_mobile chan_dahdi pbx_dundi res_calendar \
            cdr_pgsql cdr_radius cel_radius cdr_tds cel_tds res_phoneprov res_corosync res_snmp res_config_ldap \
            res_config_pgsql app_voicemail app_voicemail_imap app_voicemail_odbc res_ari; do
            echo "noload => $module.so"
        done
    } >modules.conf
    printf '[logfiles]\nconsole => notice,warning,error,verbose\n' >logger.conf
    printf '[general]\nenabled=no\n' >http.conf
    printf '[general]\nrtpstart=30000\nrtpend=30999\n' >rtp.conf
    {
        printf '[udp]\ntype=transport\nprotocol=udp\nbind=%s:5060\n' "$ip"
        for user in 201 202 203 204; do
            printf '[%s]\ntype=endpoint\ncontext=default\ndisallow=all\nallow=ulaw,alaw\ndirect_media=no\n' $user
            for setting in "$@"; do
                case $setting in [0-9]*:*) [ "${setting%%:*}" = $user ] || continue ;; esac
                echo "${setting#[0-9][0-9][0-9]:}"
            done
            printf 'auth=%s\naors=%s\n[%s]\ntype=auth\nauth_type=userpass\nusername=%s\npassword=pw%s\n' \
                $user $user $user $user $user
            printf '[%s]\ntype=aor\nmax_contacts=1\nremove_existing=yes\nqualify_frequency=0\n' $user
        done
    } >pjsip.conf
    cat >extensions.conf <<X
[default]
exten => 600,1,Answer()
 same => n,Echo()
exten => 601,1,Answer()
 same => n,MixMonitor($dir/both.wav,r($dir/heard.wav))
 same => n,Playtones(1000)
 same => n,Wait(30)
exten => _20X,1,Dial(PJSIP/\${EXTEN},30)
X
    for file in stasis cdr cel features indications udptl acl ccss confbridge; do
        if [ -f "$root/etc/asterisk/$file.conf" ]; then cp "$root/etc/asterisk/$file.conf" .; else : >$file.conf; fi
    done
    printf '[default]\nmode=files\ndirectory=%s/music\n' "$dir" >musiconhold.conf
    mkdir music
    "$lib/tone.py" make music/hold.wav 700 10
}

case ${1:-} in
install) install ;;
config) config "${@:2}" ;;
run) exec chroot "$root" /usr/sbin/asterisk -f -n -vvv -C "$2/asterisk.conf" ;;
*) sed -n 2,9p "$0"; exit 2 ;;
esac

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/natlab.sh"
. "$lib/browser.sh"

# ice_servers USER: what the web server of such a page gives to who is logged in.
ice_servers() {
    on edge "$turnpike" credentials turn --config "$work/edge.yaml" --user "$1" --lifetime 1h --json |
        python3 -c 'import json, sys; print(json.dumps({"iceServers": json.load(sys.stdin)["iceServers"]}))'
}

network stranger
site hotel blocked
on edge ip addr add $edge_turn/24 dev out
named hotel $edge_outside=edge.test $edge_turn=turn.test
certificate $edge_outside edge.test turn.test
secret web.secret web-server-and-edge-know-this
edge
asterisk webrtc=yes

# 1. Nothing but TCP to 443 gets out of this site.
is_blocked hotel stranger

# 2. The page registers over WSS, and calls the PBX's tone.
browser page hotel "sip:201@$edge_outside" pw201 440 "$(ice_servers 201)"
wait_for 30 "the page is registered" log_has page "^registered"
browser_do page "dial('sip:601@$edge_outside')"
wait_for 30 "the page's call was answered, three seconds of audio" talked 1 3
heard_both_ways 1 ".* over tls .* to relay $edge_outside"
browser_do page "hangup()"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 internet pbx

# 3. The PBX calls the page.
rm -f "$heard_by_pbx"
asterisk_cli "channel originate PJSIP/201 extension 601@default" >/dev/null
wait_for 30 "the page answered, three seconds of audio" talked 2 3
heard_both_ways 2 ".* over tls .* to relay $edge_outside"
asterisk_cli "channel request hangup all" >/dev/null
wait_for 15 "the call has a CDR" cdrs_with_audio 1 pbx internet

browser_do page quit
wait_for 15 "the browser is closed" gone page
nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/browser.sh"

# upgrade ORIGIN: the status that a page from there gets when it asks for a WebSocket.
upgrade() {
    on browser curl -sk --http1.1 --max-time 10 -o /dev/null -w '%{http_code}' -H "Origin: $1" -H 'Connection: Upgrade' \
        -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' -H 'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==' \
        -H 'Sec-WebSocket-Protocol: sip' "https://$edge_outside/ws"
}

network browser
certificate $edge_outside
edge
asterisk webrtc=yes

# 1. A page from elsewhere gets no WebSocket.
[ "$(upgrade https://elsewhere.example)" = 403 ] || fail "a page from elsewhere was not told 403"
echo "ok: a page from elsewhere is refused"

# 2. The page registers with digest over WSS, and calls the PBX's tone.
browser page browser "sip:201@$edge_outside" pw201 440
wait_for 30 "the page is registered" log_has page "^registered"
browser_do page "dial('sip:601@$edge_outside')"
wait_for 30 "the page's call was answered, three seconds of audio" talked 1 3
heard_both_ways 1 ".* to relay $edge_outside"
browser_do page "hangup()"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 internet pbx

# 3. The PBX calls the page: down its WebSocket.
rm -f "$heard_by_pbx"
asterisk_cli "channel originate PJSIP/201 extension 601@default" >/dev/null
wait_for 30 "the page answered, three seconds of audio" talked 2 3
heard_both_ways 2 ".* to relay $edge_outside"
asterisk_cli "channel request hangup all" >/dev/null
wait_for 15 "the page was hung up" log_has page "^call 2: ended by remote"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 pbx internet

# 4. The browser is closed. The PBX still has its contact; the edge says at once that nobody is there.
browser_do page quit
wait_for 15 "the browser is closed" gone page
wait_for 15 "the edge forgot the page" log_has edge "unregistered user=201"
asterisk_cli "channel originate PJSIP/201 extension 601@default" >/dev/null
wait_for 15 "a call to a closed page is refused at once" log_has edge "refused rule=flow failed status=430"

nothing_left

#!/bin/bash
. "$(dirname "$0")/../lib/lib.sh"
. "$lib/browser.sh"

network browser
certificate $edge_outside
edge
asterisk

# 1. The page registers over WSS, and calls the PBX's tone. As many pages do, it wants everything in one bundle, which such a PBX
# has never heard of.
browser page browser "sip:201@$edge_outside" pw201 440 '{"bundlePolicy": "max-bundle"}'
wait_for 30 "the page is registered" log_has page "^registered"
browser_do page "dial('sip:601@$edge_outside')"
wait_for 30 "the page's call was answered, three seconds of audio" talked 1 3
heard_both_ways 1 ".* to host $edge_outside"
browser_do page "hangup()"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 internet pbx

# 2. The PBX calls the page.
rm -f "$heard_by_pbx"
asterisk_cli "channel originate PJSIP/201 extension 601@default" >/dev/null
wait_for 30 "the page answered, three seconds of audio" talked 2 3
heard_both_ways 2 ".* to host $edge_outside"
asterisk_cli "channel request hangup all" >/dev/null
wait_for 15 "the page was hung up" log_has page "^call 2: ended by remote"
wait_for 15 "the call has a CDR" cdrs_with_audio 1 pbx internet

browser_do page quit
wait_for 15 "the browser is closed" gone page
nothing_left

# A headless Chromium as a phone (package chromium; JsSIP from npm). Sourced after lib.sh.

# browser NAME HOST SIP-URI PASSWORD TONE-HZ [RTCConfiguration]: its page registers at the edge over WSS, answers calls, and sends a
# tone. What it says is in $work/NAME.log.
browser() {
    local dir=$work/$1
    mkdir -p "$dir"
    mkfifo "$dir/do"
    "$lib/tone.py" make "$dir/voice.wav" "$5" 60
    openssl x509 -in "$work/tls/chain.pem" -noout -pubkey | openssl pkey -pubin -outform der |
        openssl dgst -sha256 -binary | base64 >"$dir/spki"
    HOME=$dir start "$1" "$2" "$lib/browser.py" "$dir" "$("$lib/jssip.sh")" "wss://$edge_outside:443/ws" "$3" "$4" "${@:6}"
    wait_for 30 "$1's page is shown" log_has "$1" "browser is up"
}

# browser_do NAME JAVASCRIPT: in its page. `hear FILE`: what it heard in its latest call. `quit`.
browser_do() { echo "$2" >"$work/$1/do"; }

# talked CALL SECONDS: so much audio has arrived at both ends of the page's call (16 kB a second).
talked() { log_has page "^call $1: heard $2 s" && [ "$(stat -c %s "$heard_by_pbx")" -ge $(($2 * 16000)) ]; }

# heard_both_ways CALL PATH: the media went this way (the pair of candidates that the browser chose), with DTLS-SRTP; the page heard
# the PBX's 1000 Hz and the PBX the page's 440 Hz.
heard_both_ways() {
    browser_do page "logPath()"
    wait_for 15 "the path of the media: $2" log_has page "^call $1: path $2:[0-9]+, DTLS connected, SRTP_"
    browser_do page "hear $work/heard-$1.wav"
    wait_for 15 "the page's recording" test -s "$work/heard-$1.wav"
    "$lib/tone.py" expect "$work/heard-$1.wav" 1000
    "$lib/tone.py" expect "$heard_by_pbx" 440
}

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

# coturn's test clients (package coturn). Sourced after lib.sh.

# lossless NAME HOST ARGUMENT…: turnutils_uclient with these arguments gets back every packet that it sent, within a minute.
lossless() {
    local name=$1 host=$2 log=$work/$1.log
    shift 2
    on "$host" timeout 60 turnutils_uclient "$@" >"$log" 2>&1 || fail "exit status $? of turnutils_uclient $*: $(tail -n 1 "$log")"
    grep -qE 'start_mclient: tot_send_msgs=([1-9][0-9]*), tot_recv_msgs=\1$' "$log" &&
        grep -qF 'Total lost packets 0 (0.000000%), total send dropped 0 (0.000000%)' "$log" ||
        fail "turnutils_uclient $*: $(grep -E 'lost packets' "$log" || tail -n 1 "$log")"
    echo "ok: uclient $*"
}

# refused NAME HOST TEXT ARGUMENT…: turnutils_uclient gives up, and says this.
refused() {
    local name=$1 host=$2 text=$3 log=$work/$1.log
    shift 3
    if on "$host" timeout 60 turnutils_uclient "$@" >"$log" 2>&1; then fail "turnutils_uclient $* was served"; fi
    grep -qE "$text" "$log" || fail "turnutils_uclient $*: $(tail -n 1 "$log")"
    echo "ok: uclient $* is told: $text"
}

# at_once COMMAND…: in the background; all_well waits for all of them, and fails if one did.
jobs_at_once=""
at_once() { "$@" & jobs_at_once="$jobs_at_once $!"; }
all_well() {
    local job failed=""
    for job in $jobs_at_once; do wait "$job" || failed=yes; done
    jobs_at_once=""
    [ -z "$failed" ] || fail "see above"
}

#!/usr/bin/env python3
"""verdict.py CDRS LOG STATS ERRORS GOING GONE: what became of the calls around the times (seconds) between which the first carrier was taken
away.
CDRS and LOG are Turnpike's; STATS and ERRORS what sipp, the caller, counted and complained of."""
import csv
import datetime
import json
import re
import sys

cdrs, log, stats, errors = sys.argv[1:5]
going, gone = map(float, sys.argv[5:])


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def told(what, since):
    """When the log said that the carrier is down, or up."""
    for line in open(log):
        if f"target is {what} target=sip:198.51.100.20" in line and seconds(line.split()[0]) >= since:
            return seconds(line.split()[0])


def most(calls, limit):
    """Nine in ten were answered before `limit` seconds: on a machine that does much besides, one or two may wait for a core."""
    return sum(call["waited"] <= limit for call in calls) * 10 >= len(calls) * 9


down = told("down", going)
back = told("up", down)
calls = [json.loads(line) for line in open(cdrs)]
for call in calls:
    call["started"], call["ended"] = seconds(call["started"]), seconds(call["ended"])
    call["waited"] = seconds(call["answered"]) - call["started"] if call["answered"] else None

problems = []


def demand(what, bad):
    print(f"{'not ' if bad else ''}ok: {what}")
    problems.extend(bad)


# A call that was talking over the carrier when it died is lost with it; its caller hears so when it hangs up. No other may fail, for the caller
# either.
on_it = {c["call_id"] for c in calls if c["to_party"] == "acme" and c["started"] <= gone and going <= c["ended"]}
failed = int(list(csv.DictReader(open(stats), delimiter=";"))[-1]["FailedCall(C)"])
try:
    named = set(re.findall(r"\d+-\d+@10\.20\.0\.20", open(errors).read()))
except FileNotFoundError:
    named = set()
demand(f"of {len(calls)} calls the caller saw {failed} fail, all of them among the {len(on_it)} that were on the carrier when it died",
       sorted(named - on_it) + ["sipp does not name each call that failed"] * (failed > len(named)))
demand("all were answered", [c for c in calls if c["waited"] is None])
cut = [c for c in calls if c["end"] != "bye from caller"]
demand(f"{len(cut)} did not end as they should, all of them among those too", [c for c in cut if c["call_id"] not in on_it])
early = [c for c in calls if going <= c["started"] < down and c["waited"] is not None]
demand(f"{len(early)} began between death and health mark; most were answered within 5 s, and none waited for a transaction to time out",
       [c for c in early if c["waited"] > 30 or not most(early, 5)])
# All by the second: an answer to OPTIONS brings the first one back, before its quarantine (15 s) is over and a call tries it.
later = [c for c in calls if down + 0.2 < c["started"] < back and c["waited"] is not None]
demand(f"{len(later)} began after the mark, all by the second carrier",
       [c for c in later if c["to_party"] != "bell"] if later else ["none began"])
# Whoever asks the silent one first waits for 2 s (`failover.after`).
demand("and most were answered before that", [c for c in later if not most(later, 1.9)])
again = [c for c in calls if c["started"] > back and c["to_party"] == "acme"]
demand(f"{len(again)} went by the first carrier when it was back", [] if again else ["none did"])
for problem in problems:
    print(problem, file=sys.stderr)
sys.exit(bool(problems))

#!/usr/bin/env python3
"""verdict.py CDRS LOG KILLED BACK: who took which call, and how soon, around the times (seconds) at which a carrier was killed and back."""
import datetime
import json
import sys

cdrs, log, killed, back = sys.argv[1], sys.argv[2], float(sys.argv[3]), float(sys.argv[4])


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


down = next(seconds(line.split()[0]) for line in open(log) if "target is down target=sip:198.51.100.20" in line)
calls = [json.loads(line) for line in open(cdrs)]
for call in calls:
    call["started"], call["ended"] = seconds(call["started"]), seconds(call["ended"])
    call["waited"] = seconds(call["answered"]) - call["started"] if call["answered"] else None

problems = []


def demand(what, bad):
    print(f"{'not ' if bad else ''}ok: {what}")
    problems.extend(bad)


demand(f"all {len(calls)} calls were answered", [c for c in calls if c["waited"] is None])
cut = [c for c in calls if c["end"] != "bye from caller"]
demand(f"{len(cut)} did not end as they should, all of them on the carrier that died, when it died",
       [c for c in cut if c["to_party"] != "acme" or not c["started"] <= killed <= c["ended"]])
early = [c for c in calls if killed <= c["started"] < down]
demand(f"{len(early)} began between death and health mark, and were answered within 5 s", [c for c in early if c["waited"] > 5])
later = [c for c in calls if down + 0.2 < c["started"] < back - 1]
demand(f"{len(later)} began after the mark, all by the second carrier", 
       [c for c in later if c["to_party"] != "bell"] if later else [None])
demand("and were answered within a second", [c for c in later if c["waited"] > 1])
again = [c for c in calls if c["started"] > back and c["to_party"] == "acme"]
demand(f"{len(again)} went by the first carrier when it was back", [] if again else [None])
for call in problems:
    print(call, file=sys.stderr)
sys.exit(bool(problems))

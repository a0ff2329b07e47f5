#!/usr/bin/env python3
"""verdict.py FOLDER: what sipp, the CDRs and the memory say about a run."""
import collections
import csv
import json
import sys

folder = sys.argv[1]
problems = []


def demand(what, good):
    print(f"{'' if good else 'not '}ok: {what}")
    if not good:
        problems.append(what)


def sipp(name):
    """What it counted in the whole run."""
    with open(f"{folder}/{name}.csv") as lines:
        return list(csv.DictReader(lines, delimiter=";"))[-1]


made = {}
for name in ["acme", "abandons"]:
    counted = sipp(name)
    made[name] = int(counted["TotalCallCreated"])
    repeated, failed = int(counted["Retransmissions(C)"]), int(counted["FailedCall(C)"])
    good, unended = int(counted["SuccessfulCall(C)"]), int(counted["CurrentCall"])
    demand(f"{name}: {made[name]} calls, {good} as they should be, {failed} failed, {unended} of which sipp sees no end (README), "
           f"{repeated} retransmissions", failed == 0 and good > 0 and made[name] == good + unended and unended <= made[name] / 5_000)
with open(f"{folder}/called.json") as told:
    called = json.load(told)
demand(f"the PBX: {called}", (called["calls"], called["hung_up"], called["cancelled"], called["unacknowledged"], called["strange"])
       == (sum(made.values()), made["acme"], made["abandons"], 0, 0))

ends = collections.Counter()
with open(f"{folder}/data/cdr.jsonl") as lines:
    for line in lines:
        call = json.loads(line)
        ends[call["end"], bool(call["answered"])] += 1
print("   CDRs:", dict(ends))
demand("each call has one CDR, which says so", ends == {("bye from caller", True): made["acme"], ("cancelled", False): made["abandons"]})

memory = [tuple(map(int, line.split())) for line in open(f"{folder}/memory")]
for second, kib, files in memory[:: max(1, len(memory) // 12)]:
    print(f"   {second:4} s  {kib / 1024:6.1f} MiB  {files} files")
# The first third fills tables and caches; calls last up to 10 seconds, and transactions 32 more.
if memory[-1][0] >= 120:
    early, late = (max(kib for second, kib, _ in memory if low <= second / memory[-1][0] <= high) for low, high in [(1 / 3, 2 / 3), (2 / 3, 1)])
    demand(f"memory is flat: at most {early / 1024:.1f} MiB in the second third, {late / 1024:.1f} MiB in the last", late <= early * 1.05)
sys.exit(bool(problems))

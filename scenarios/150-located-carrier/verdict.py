#!/usr/bin/env python3
"""verdict.py SECONDS <CDRS: calls to a server that has fallen silent, which is noticed so many seconds after the first: was any of them lost, or
kept waiting when it was known?"""
import datetime
import json
import sys


def seconds(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


noticed_after = float(sys.argv[1])
calls = [json.loads(line) for line in sys.stdin]
first = min(seconds(call["started"]) for call in calls)
lost, early, late = [], [], []
for call in calls:
    if not call["answered"]:
        lost.append(call)
        continue
    known = seconds(call["started"]) > first + noticed_after + 0.2
    (late if known else early).append(seconds(call["answered"]) - seconds(call["started"]))
print(f"{'not ' if lost else ''}ok: each of {len(calls)} calls was answered")


def most(waits, limit):
    """Nine in ten waited for less than `limit` seconds: on a machine that does much besides, one or two may wait for a core."""
    return waits and sum(wait < limit for wait in waits) * 10 >= len(waits) * 9


# Whoever asks the silent one first waits until it is noticed.
in_time = most(early, noticed_after + 1) and most(late, noticed_after - 0.1)
print(f"{'' if in_time else 'not '}ok: {len(early)} that began in the dark waited for {max(early, default=0):.2f} s at most, "
      f"{len(late)} later ones for {max(late, default=0):.2f} s; nine in ten for less than {noticed_after + 1:.0f} s, and {noticed_after:.0f} s")
sys.exit(bool(lost) or not in_time)

#!/usr/bin/env python3
"""verdict.py DIR CALL… -- ATTACKER…: what everybody heard; exits 1 if a call heard a stranger, or not itself, or an attacker anything."""
import json
import sys

folder, *names = sys.argv[1:]
calls, attackers = names[:names.index("--")], names[names.index("--") + 1:]
fine = True
for call in calls:
    for side in "phone", "pbx":
        with open(f"{folder}/{call}-{side}.json") as file:
            tally = json.load(file)
        print(f"{call}: the {side} heard {tally['own']} packets of its call and {tally['foreign']} others", *tally["such as"])
        fine &= tally["own"] >= 50 and tally["foreign"] == 0
for attacker in attackers:
    with open(f"{folder}/{attacker}.attack") as file:
        tally = json.load(file)
    print(f"the {attacker} sent {tally['sent']} packets and was sent {tally['received']}", *tally["such as"])
    fine &= tally["sent"] >= 1000 and tally["received"] == 0
sys.exit(0 if fine else 1)

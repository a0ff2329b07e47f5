#!/usr/bin/env python3
"""verdict.py CDRS GONE: every call is recorded once, as long as it was, with media from after the time (seconds) at which the edge was gone."""
import datetime
import json
import sys

gone = float(sys.argv[2])
calls = [json.loads(line) for line in open(sys.argv[1])]
calls = [call for call in calls if call["status"] == 200]
wrong = []
if len({call["call_id"] for call in calls}) != 15:
    wrong.append("not each call once")
for call in calls:
    comes_in = call["from_party"] == "acme"
    end = "bye from caller" if comes_in else "bye from callee"
    if (call["end"], call["route"]) != (end, "inbound" if comes_in else "outbound"):
        wrong.append(f"{call['call_id']}: {call['end']}, {call['route']}")
    if not 9.5 < call["talked"] < 15:
        wrong.append(f"{call['call_id']}: talked {call['talked']} s")
    began, answered = (datetime.datetime.fromisoformat(call[at].replace("Z", "+00:00")) for at in ("started", "answered"))
    if not 0 <= (answered - began).total_seconds() < 2:
        wrong.append(f"{call['call_id']}: began {began}, answered {answered}")
    # 50 a second and side: more than there can have been before the restart, by a second's.
    before = 50 * (gone - answered.timestamp())
    for side in ("from_caller", "from_callee"):
        packets = call["media"][0][side]["packets"]
        if packets < before + 50:
            wrong.append(f"{call['call_id']}: {packets} packets {side}, {before:.0f} of before the restart")
print("\n".join(wrong) if wrong else "ok: fifteen calls, each recorded once, whole, with sound from after the restart")
sys.exit(bool(wrong))

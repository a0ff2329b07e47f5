#!/usr/bin/env python3
"""verdict.py CDR-FILE CALLERS-LOG: the bill by the edge's CDRs, computed again from the rates, against the budget of 10.00."""
import json
import math
import sys
from datetime import datetime
from decimal import Decimal

RATES = {"1876": ("0.45", "0.05", 60, 1), "372": ("0.80", "0", 60, 60), "4477": ("0.18", "0", 1, 1), "49": ("0.02", "0", 60, 1)}
E164 = [("011", ""), ("00", ""), ("+", ""), ("0", "49")]
cdrs = [json.loads(line) for line in open(sys.argv[1])]
lines = [line.split() for line in open(sys.argv[2]) if line.split()[:1] in (["201"], ["202"])]
moment = lambda text: datetime.fromisoformat(text.replace("Z", "+00:00"))


def price(cdr):
    number = next(new + cdr["to"][len(old):] for old, new in E164 if cdr["to"].startswith(old))
    per_minute, connect, first, following = next(rate for prefix, rate in RATES.items() if number.startswith(prefix))
    talked = math.ceil(Decimal(str(cdr["talked"])))
    billed = first + max(0, math.ceil((talked - first) / following)) * following
    millionths = math.ceil(Decimal(per_minute) * billed / 60 * 1_000_000)
    return Decimal(connect) + Decimal(millionths) / 1_000_000


stolen = [cdr for cdr in cdrs if cdr["from"] == "201" and cdr["answered"]]
bill = sum(Decimal(str(cdr["spend"])) for cdr in stolen)
for cdr in stolen:
    assert Decimal(str(cdr["spend"])) == price(cdr), cdr
hours = (moment(cdrs[-1]["ended"]) - moment(cdrs[0]["started"])).total_seconds() / 3600
hung_up = [cdr for cdr in stolen if cdr["hung_up_by"] == "stolen password / a day's money"]
tried = [line for line in lines if line[0] == "201"]
honest = [line for line in lines if line[0] == "202"]
passed = [line for line in honest if "200" in line and line[-2:] == ["hung", "up"]]
print(f"ok: in {hours:.1f} hours of the edge's clock a bot tried {len(tried)} calls; {len(stolen)} were answered, {len(hung_up)} hung up by the budget")
print(f"ok: the bill is {bill} of 10.00, by the CDRs and by the rates; {len(passed)} of {len(honest)} calls of the honest user passed")
assert hours >= 2, hours
assert Decimal("9") <= bill <= Decimal("10"), bill
assert hung_up and len(tried) > 100
assert not [cdr for cdr in stolen if cdr["country"] in ("XS", "XN", "XP", None)], "a premium or satellite call was answered"
assert honest and len(passed) == len(honest), [line for line in honest if line not in passed]

#!/usr/bin/env python3
"""verdict.py FOLDER RATE SECONDS: what became of the calls that were offered at this rate."""
import csv
import sys

folder, rate, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
print(f"offered {rate}/s for {seconds} s")
for name in ["carrier", "phones"]:
    with open(f"{folder}/{name}-{rate}.csv") as lines:
        rows = list(csv.DictReader(lines, delimiter=";"))
    last = rows[-1]
    refused, told, served = (int(last[f"GenericCounter{n}(C)"]) for n in (1, 2, 3))
    # The first seconds fill the pipeline, and what is served after the end was waited for.
    def at(second):
        return next((int(row["GenericCounter3(C)"]) for row in rows if float(row["ElapsedTime(C)"].split(":")[2]) >= second), served)
    print(f"  {name}: {last['TotalCallCreated']} calls, {served} served ({(at(seconds) - at(3)) / (seconds - 3):.0f}/s), {refused} got 503 "
          f"({told} with Retry-After), {last['FailedCall(C)']} failed, {last['Retransmissions(C)']} retransmissions")
memory = [int(line.split()[1]) for line in open(f"{folder}/memory-{rate}")]
print(f"  memory: {max(memory) / 1024:.1f} MiB")

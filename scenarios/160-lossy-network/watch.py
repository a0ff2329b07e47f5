#!/usr/bin/env python3
"""watch.py EDGE FILE CALLER…: until the callers' processes have ended, writes the edge's memory (KiB, resident) and open files into FILE."""
import os
import sys
import time


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


edge, callers, start = sys.argv[1], sys.argv[3:], time.monotonic()
with open(sys.argv[2], "w") as samples:
    while any(map(alive, callers)):
        kib = next(line.split()[1] for line in open(f"/proc/{edge}/status") if line.startswith("VmRSS"))
        print(round(time.monotonic() - start), kib, len(os.listdir(f"/proc/{edge}/fd")), file=samples, flush=True)
        time.sleep(2)

#!/usr/bin/env python3
"""Tones prove that audio arrived: a packet count does not tell one side's silence from the other's voice.

    tone.py make FILE HZ SECONDS      an 8 kHz mono WAV
    tone.py expect FILE HZ            exits 0 if that tone is the loudest in at least a second of the recording
    tone.py listen FILE HZ            listens to a recording that goes on: exits 0 if that tone, and no other sound, is added to it now
    tone.py listen FILE nothing       exits 0 if nothing is, or silence
"""
import math
import os
import struct
import sys
import time
import wave

RATE = 8000


def make(path, hz, seconds):
    samples = (int(12000 * math.sin(2 * math.pi * hz * i / RATE)) for i in range(int(seconds * RATE)))
    with wave.open(path, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(b"".join(struct.pack("<h", s) for s in samples))


def samples_of(path):
    """Reads 16-bit PCM, also from a file whose length fields were never written because the recorder was stopped."""
    data = open(path, "rb").read()
    at, rate, channels = 12, RATE, 1
    while at + 8 <= len(data):
        kind, size = data[at:at + 4], struct.unpack("<I", data[at + 4:at + 8])[0]
        if kind == b"fmt ":
            channels, rate = struct.unpack("<HI", data[at + 10:at + 16])
        if kind == b"data":
            end = at + 8 + size if 0 < size <= len(data) - at - 8 else len(data)
            pcm = data[at + 8:end]
            pcm = pcm[:len(pcm) // 2 * 2]
            return [s for (s,) in struct.iter_unpack("<h", pcm)][::channels], rate
        at += 8 + size + size % 2
    raise SystemExit(f"{path}: no audio in it")


def power(window, rate, hz):
    """Goertzel: the share of the window's energy that lies at `hz`."""
    coefficient = 2 * math.cos(2 * math.pi * hz / rate)
    s1 = s2 = 0.0
    for sample in window:
        s1, s2 = sample + coefficient * s1 - s2, s1
    energy = sum(s * s for s in window) or 1.0
    return 2 * (s1 * s1 + s2 * s2 - coefficient * s1 * s2) / (len(window) * energy)


def clear_windows(samples, rate, hz):
    """How many fifths of a second are that tone."""
    window = rate // 5
    starts = range(0, len(samples) - window + 1, window)
    return sum(power(samples[at:at + window], rate, hz) > 0.8 for at in starts)


def expect(path, hz):
    samples, rate = samples_of(path)
    clear = clear_windows(samples, rate, hz)
    print(f"{path}: {len(samples) / rate:.1f} s, {clear / 5:.1f} s of them a clear {hz:.0f} Hz tone")
    sys.exit(0 if clear >= 5 else 1)


def listen(path, wanted):
    """The recorder writes its length fields when it stops, if ever: what counts is what comes behind the file's end."""
    with open(path, "rb") as recording:
        recording.seek(0, os.SEEK_END)
        time.sleep(0.7)
        added = recording.read()
        # On a busy machine it comes late.
        for _ in range(20):
            if wanted == "nothing" or len(added) >= RATE * 2 * 3 // 5:
                break
            time.sleep(0.1)
            added += recording.read()
    samples = [s for (s,) in struct.iter_unpack("<h", added[:len(added) // 2 * 2])]
    if wanted == "nothing":
        sys.exit(1 if any(abs(sample) > 100 for sample in samples) else 0)
    sys.exit(0 if is_tone(samples, float(wanted)) else 1)


def is_tone(samples, hz):
    """Two fifths of a second are clearly that tone, and none is another sound. A phone that waits for a core drops out: silence between, and tone that
    begins anew within a window, say nothing of what it hears."""
    window = RATE // 5
    windows = [samples[at:at + window] for at in range(0, len(samples) - window + 1, window)]
    shares = [power(part, RATE, hz) for part in windows if any(abs(sample) > 100 for sample in part)]
    return sum(share > 0.8 for share in shares) >= 2 and all(share > 0.02 for share in shares)


if __name__ == "__main__":
    if sys.argv[1:2] == ["make"]:
        make(sys.argv[2], float(sys.argv[3]), float(sys.argv[4]))
    elif sys.argv[1:2] == ["expect"]:
        expect(sys.argv[2], float(sys.argv[3]))
    elif sys.argv[1:2] == ["listen"]:
        listen(sys.argv[2], sys.argv[3])
    else:
        sys.exit(__doc__)

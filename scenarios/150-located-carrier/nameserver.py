#!/usr/bin/env python3
"""nameserver.py ADDRESS ZONE: answers over UDP port 53 from the zone file ZONE (name, type, data, as in zone files; `#` begins a comment). Of all
else it says that there is nothing."""
import socket
import struct
import sys

TTL = 2
TYPES = {"A": 1, "SRV": 33, "NAPTR": 35}


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".")) + b"\0"


def text(value):
    return bytes([len(value)]) + value.encode()


def data(kind, words):
    if kind == "A":
        return socket.inet_aton(words[0])
    if kind == "SRV":
        return struct.pack("!HHH", *map(int, words[:3])) + name(words[3])
    # RFC 3403 §4.1: order, preference, flags, services, regexp, replacement.
    order, preference, flags, services, replacement = words
    return struct.pack("!HH", int(order), int(preference)) + text(flags) + text(services) + text("") + name(replacement)


def zone(path):
    records = {}
    for line in open(path):
        words = line.split("#")[0].split()
        if words:
            owner, kind, *rest = words
            records.setdefault((owner, TYPES[kind]), []).append(data(kind, rest))
    return records


def asked(question):
    """Name and type of the only question, and how long it is."""
    labels, at = [], 12
    while question[at]:
        labels.append(question[at + 1:at + 1 + question[at]].decode().lower())
        at += 1 + question[at]
    return ".".join(labels), struct.unpack_from("!H", question, at + 1)[0], question[12:at + 5]


records = zone(sys.argv[2])
listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
listener.bind((sys.argv[1], 53))
while True:
    question, client = listener.recvfrom(512)
    owner, kind, section = asked(question)
    found = records.get((owner, kind), [])
    print(owner, kind, len(found), flush=True)
    known = any(other == owner for other, _ in records)
    # An answer with authority; 3: no such name.
    head = question[:2] + struct.pack("!HHHHH", 0x8580 | (0 if known else 3), 1, len(found), 0, 0)
    body = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, TTL, len(one)) + one for one in found)
    listener.sendto(head + section + body, client)

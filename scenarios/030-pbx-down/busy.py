#!/usr/bin/env python3
"""busy.py IP: a PBX host at IP:5060 that says 486 Busy Here half a second after an INVITE.

Meanwhile ICMP is forged which says that its port is closed: once with nothing of the INVITE, once with all of it but the branch,
which nobody knows who has not seen the INVITE.
"""
import re
import socket
import struct
import sys
import time


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def port_unreachable(edge, here, quote):
    """RFC 792: type 3, code 3, the header of the IP packet, and the datagram that did not arrive."""
    udp = struct.pack(">HHHH", edge[1], here[1], 8 + len(quote), 0) + quote
    ends = socket.inet_aton(edge[0]) + socket.inet_aton(here[0])
    packet = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends + udp
    packet += bytes(len(packet) % 2)
    return struct.pack(">BBHI", 3, 3, checksum(struct.pack(">BBHI", 3, 3, 0, 0) + packet), 0) + packet


here = (sys.argv[1], 5060)
sip = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sip.bind(here)
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
icmp.bind((here[0], 0))
while True:
    request, edge = sip.recvfrom(65535)
    if not request.startswith(b"INVITE "):
        continue
    branch = re.search(rb"z9hG4bK([^;\r]*)", request)[1]
    for quote in (b"", request.replace(branch, b"a" * len(branch))[:500]):
        icmp.sendto(port_unreachable(edge, here, quote), (edge[0], 0))
    time.sleep(0.5)
    fields = re.findall(rb"^(?:Via|From|To|Call-ID|CSeq):.*?\r\n", request, re.M)
    sip.sendto(b"SIP/2.0 486 Busy Here\r\n" + b"".join(fields) + b"Content-Length: 0\r\n\r\n", edge)

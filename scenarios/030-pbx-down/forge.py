#!/usr/bin/env python3
"""forge.py FROM TO: what FROM's own kernel says of a closed port, about an INVITE that TO, port 5060, is made to believe it sent there.

It quotes everything but what nobody can know who has not seen the INVITE: the branch.
"""
import socket
import struct
import sys

here, edge = sys.argv[1:]
INVITE = f"INVITE sip:600@{here}:5060 SIP/2.0\r\nVia: SIP/2.0/UDP {edge}:5060;branch=z9hG4bK0123456789abcdef;rport\r\n".encode()


def checksum(data):
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    total = (total & 0xFFFF) + (total >> 16)
    return ~(total + (total >> 16)) & 0xFFFF


def unreachable(quote):
    """RFC 792: type 3, code 3, then the IP header and the datagram that did not arrive."""
    udp = struct.pack(">HHHH", 5060, 5060, 8 + len(quote), 0) + quote
    ends = socket.inet_aton(edge) + socket.inet_aton(here)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0, 64, socket.IPPROTO_UDP, 0) + ends
    rest = ip + udp + bytes(len(udp) % 2)
    return struct.pack(">BBHI", 3, 3, checksum(struct.pack(">BBHI", 3, 3, 0, 0) + rest), 0) + rest


wire = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
wire.bind((here, 0))
for quote in (b"", INVITE):
    wire.sendto(unreachable(quote), (edge, 0))

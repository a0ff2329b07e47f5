#!/usr/bin/env python3
"""flood.py EDGE SOURCES RATE: from each of so many addresses of 198.18.0.0/15 an INVITE, and an OPTIONS, so many datagrams a second.

One socket sends them all: the kernel lets it choose the source (IP_PKTINFO), since the whole network is local here. Prints how many answers
came, by status, and the most that one source got.
"""
import collections
import selectors
import socket
import struct
import sys
import time

edge, sources, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
IP_PKTINFO = 8
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
sock.bind(("0.0.0.0", 5060))
sock.setblocking(False)
readable = selectors.DefaultSelector()
readable.register(sock, selectors.EVENT_READ)
statuses, of_source = collections.Counter(), collections.Counter()


def source(number):
    return socket.inet_ntoa(struct.pack("!I", 0xC6120000 + number + 1))


def request(method, number):
    host, name = source(number), f"{method[0]}{number:x}"
    return (f"{method} sip:{1000 + number % 9000}@{edge} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:5060;rport;branch=z9hG4bK{name}\r\n"
            f"From: <sip:{number}@{host}>;tag={name}\r\nTo: <sip:{1000 + number % 9000}@{edge}>\r\nCall-ID: {name}@{host}\r\n"
            f"CSeq: 1 {method}\r\nContact: <sip:{number}@{host}>\r\nMax-Forwards: 70\r\nUser-Agent: softphone\r\nContent-Length: 0\r\n\r\n").encode()


def listen(seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if not readable.select(left):
            return
        try:
            while True:
                data, control, _, _ = sock.recvmsg(2048, 64)
                to = next(socket.inet_ntoa(item[8:12]) for _, kind, item in control if kind == IP_PKTINFO)
                statuses[data.split()[1].decode()] += 1
                of_source[to] += 1
        except BlockingIOError:
            pass


start = time.monotonic()
for number in range(2 * sources):
    method, number_of_source = ("INVITE", number) if number < sources else ("OPTIONS", number - sources)
    info = struct.pack("=I4s4s", 0, socket.inet_aton(source(number_of_source)), b"\0\0\0\0")
    while True:
        try:
            sock.sendmsg([request(method, number_of_source)], [(socket.IPPROTO_IP, IP_PKTINFO, info)], 0, (edge, 5060))
            break
        except BlockingIOError:
            time.sleep(0.001)
    if number % 100 == 99:
        listen(max(0.0001, start + number / rate - time.monotonic()))
listen(2)
print(f"sent {2 * sources} datagrams from {sources} sources in {time.monotonic() - start:.0f} s; answers: {dict(statuses)}; "
      f"the most that one source got: {max(of_source.values(), default=0)}")
# An INVITE's answer is repeated until its ACK, which never comes: RFC 3261 17.2.1 would say it eleven times; nobody may be flooded by us.
if max(of_source.values(), default=0) > 2:
    sys.exit("a source that sent two datagrams got more than two")
sys.exit(0 if of_source else "nobody was answered")

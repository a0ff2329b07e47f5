#!/usr/bin/env python3
"""called.py ADDRESS PORT FILE: a PBX that rings for up to 0.6 s and answers; +49800 rings until the caller gives up. It keeps its
transactions as RFC 3261 §17.2 and §13.3.1.4 want it, for 32 s after the last message (sipp does not: of several answers to one request it
repeats the first alone). On SIGTERM it writes into FILE what became of the calls."""
import heapq
import json
import random
import re
import select
import signal
import socket
import sys
import time

T1, T2, PATIENCE = 0.5, 4.0, 32.0
me, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
s.bind((me, port))
s.setblocking(False)
calls, due, count = {}, [], 0
did = dict.fromkeys(["calls", "hung_up", "cancelled", "unacknowledged", "retransmissions", "strange"], 0)
SDP = f"v=0\r\no=called 1 1 IN IP4 {me}\r\ns=-\r\nc=IN IP4 {me}\r\nt=0 0\r\nm=audio 6000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\na=ptime:20\r\n"


def header(text, name):
    return re.findall(rf"^{name}:[^\n]*\n", text, re.M)


def answer(request, status, tag, sdp=False):
    copied = [line for name in ["Via", "Record-Route", "From", "To", "Call-ID", "CSeq"] for line in header(request, name)]
    if tag:
        copied = [line.rstrip() + f";tag={tag}\r\n" if line.startswith("To:") and ";tag=" not in line else line for line in copied]
    body = f"Contact: <sip:called@{me}:{port}>\r\nContent-Type: application/sdp\r\nContent-Length: {len(SDP)}\r\n\r\n{SDP}"
    return (f"SIP/2.0 {status}\r\n" + "".join(copied) + (body if sdp else "Content-Length: 0\r\n\r\n")).encode()


def later(seconds, what, call, *arguments):
    global count
    count += 1
    heapq.heappush(due, (time.monotonic() + seconds, count, what, call, arguments))


class Call:
    def __init__(self, invite, source):
        self.invite, self.source, self.tag = invite, source, f"b{did['calls']}"
        self.final = self.acknowledged = self.over = self.ended = False
        did["calls"] += 1
        self.latest = answer(invite, "180 Ringing", self.tag)
        self.send(self.latest)
        if not invite.startswith("INVITE sip:+49800@"):
            later(random.uniform(0, 0.6), Call.end, self, answer(invite, "200 OK", self.tag, sdp=True))

    def send(self, response):
        s.sendto(response, self.source)

    def end(self, response):
        """The final answer, repeated until it is acknowledged."""
        if not self.final:
            self.final, self.latest = True, response
            self.send(response)
            later(T1, Call.repeat, self, T1, T1)

    def repeat(self, interval, elapsed):
        if self.acknowledged or self.over:
            return
        if elapsed > PATIENCE:
            did["unacknowledged"] += 1
            return
        did["retransmissions"] += 1
        self.send(self.latest)
        interval = min(2 * interval, T2)
        later(interval, Call.repeat, self, interval, elapsed + interval)

    def hear(self, request):
        method = request[: request.index(" ")]
        if method == "INVITE":
            self.send(self.latest)
        elif method == "ACK":
            self.acknowledged = True
        elif method in ("BYE", "CANCEL"):
            self.send(answer(request, "200 OK", self.tag))
            if method == "CANCEL":
                self.end(answer(self.invite, "487 Request Terminated", self.tag))
            if not self.ended:
                did["hung_up" if method == "BYE" else "cancelled"] += 1
                self.ended = True
                later(2 * PATIENCE, Call.forget, self)
            # A cancelled INVITE still waits for the ACK of its 487.
            self.over = method == "BYE"
        else:
            did["strange"] += 1

    def forget(self):
        calls.pop(header(self.invite, "Call-ID")[0], None)


def finish(*_):
    with open(sys.argv[3], "w") as out:
        json.dump(did, out)
    sys.exit(0)


signal.signal(signal.SIGTERM, finish)
poll = select.poll()
poll.register(s, select.POLLIN)
while True:
    poll.poll(max(0, (due[0][0] - time.monotonic()) * 1000) if due else None)
    for _ in range(64):
        try:
            data, source = s.recvfrom(65536)
        except OSError:
            break
        text = data.decode(errors="replace")
        name = header(text, "Call-ID")
        call = calls.get(name[0]) if name else None
        if call:
            call.hear(text)
        elif text.startswith("INVITE "):
            calls[name[0]] = Call(text, source)
        else:
            did["strange"] += 1
    while due and due[0][0] <= time.monotonic():
        _, _, what, call, arguments = heapq.heappop(due)
        what(call, *arguments)

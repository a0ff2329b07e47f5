#!/usr/bin/env python3
"""bad_wire.py ONE OTHER LOSS DUPLICATION DELAY JITTER [SEED]: a cable between two interfaces that loses and duplicates IPv4 packets
(per cent) and lets each take DELAY ± JITTER ms, so that they overtake one another. ARP passes unharmed. Does what `tc netem` does, for
kernels without it. Prints what it has done when it gets SIGTERM."""
import heapq
import random
import select
import signal
import socket
import sys
import time

# linux/if_packet.h: no frames of our own; a virtio-net header in front, so that checksums left to the hardware stay so.
SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL, ETHER_TYPE, IPV4 = 263, 15, 23, 3, slice(22, 24), b"\x08\x00"
SO_RCVBUFFORCE = 33
loss, duplication, delay, jitter = (float(text) for text in sys.argv[3:7])
chance = random.Random(int(sys.argv[7]) if len(sys.argv) > 7 else 1)
did = dict.fromkeys(["carried", "lost", "duplicated", "overtaken"], 0)


def end(interface):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
    s.bind((interface, 0))
    s.setblocking(False)
    return s


def finish(*_):
    print(*(f"{n} {what}" for what, n in did.items()), sep=", ", flush=True)
    sys.exit(0)


signal.signal(signal.SIGTERM, finish)
one, other = end(sys.argv[1]), end(sys.argv[2])
opposite = {one.fileno(): (one, other), other.fileno(): (other, one)}
poll = select.poll()
for fd in opposite:
    poll.register(fd, select.POLLIN)
waiting, count, newest = [], 0, {one: 0, other: 0}
while True:
    wait = max(0, (waiting[0][0] - time.monotonic()) * 1000) if waiting else None
    for fd, _ in poll.poll(wait):
        source, target = opposite[fd]
        for _ in range(64):
            try:
                frame = source.recv(70_000)
            except (BlockingIOError, ConnectionError, OSError):
                break
            count += 1
            if frame[ETHER_TYPE] != IPV4:
                target.send(frame)
                continue
            copies = 1
            if chance.random() * 100 < loss:
                copies = 0
                did["lost"] += 1
            elif chance.random() * 100 < duplication:
                copies = 2
                did["duplicated"] += 1
            for _ in range(copies):
                due = time.monotonic() + chance.uniform(delay - jitter, delay + jitter) / 1000
                heapq.heappush(waiting, (due, count, id(target), target, frame))
    now = time.monotonic()
    while waiting and waiting[0][0] <= now:
        _, number, _, target, frame = heapq.heappop(waiting)
        did["carried"] += 1
        did["overtaken"] += number < newest[target]
        newest[target] = max(number, newest[target])
        try:
            target.send(frame)
        except OSError:
            did["lost"] += 1

#!/usr/bin/env python3
"""trap.py FILE PORT: writes down what arrives on that UDP port, on whatever address."""
import socket
import sys

trap = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
trap.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
trap.bind(("::", int(sys.argv[2])))
with open(sys.argv[1], "w") as caught:
    while True:
        data, source = trap.recvfrom(65535)
        print(source, data, file=caught, flush=True)

#!/usr/bin/env python3
"""ask.py udp|tcp AGENT ADDRESS: sends OPTIONS under that name, and prints the status of the answer, or `nothing`."""
import random
import socket
import sys

transport, agent, address = sys.argv[1:]
number = random.randrange(1 << 32)
request = f"""OPTIONS sip:100@{address} SIP/2.0
Via: SIP/2.0/{transport.upper()} 198.51.100.21:5070;rport;branch=z9hG4bK{number:x}
From: <sip:100@198.51.100.21>;tag={number:x}
To: <sip:100@{address}>
Call-ID: {number:x}
CSeq: 1 OPTIONS
Contact: <sip:100@198.51.100.21:5070>
Max-Forwards: 70
User-Agent: {agent}
Content-Length: 0

""".replace("\n", "\r\n").encode()
answer = b""
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as peer:
    peer.settimeout(2)
    try:
        peer.connect((address, 5060))
        peer.send(request)
        answer = peer.recv(4096)
    except OSError:
        pass
print(answer.split()[1].decode() if answer else "nothing")

#!/usr/bin/env python3
"""callers.py EDGE SECONDS SPEED: a bot with the password of 201 and ten lines, and 202, who calls home and a colleague.

Both speak SIP over UDP with digest. The bot dials foreign and premium numbers in every spelling, and stays in each call until it is hung up
on; it never gives up. The edge's clock runs SPEED times as fast as ours. What became of each call goes to standard output, a line each.
"""
import asyncio
import hashlib
import random
import re
import sys

edge, seconds, speed = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
ABROAD = ["+37255512345", "0037255598765", "01118765551234", "+18765550000", "00447700900123", "+447700900456",
          "+8821612345", "0088116000000", "+979123456789", "00882 13 1234"]
HOME = ["+4930123456", "030 123457", "0049301234", "203"]


def header(message, name):
    found = re.search(rf"^{name}:[ \t]*(.*)$", message, re.I | re.M)
    return found.group(1).strip() if found else ""


def headers(message, name):
    return re.findall(rf"^{name}:[ \t]*(.*?)\r?$", message, re.I | re.M)


class Phone(asyncio.DatagramProtocol):
    def __init__(self, user, address):
        self.user, self.address, self.calls = user, address, {}

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, _):
        message = data.decode(errors="replace")
        call = self.calls.get(header(message, "Call-ID"))
        if call:
            call.put_nowait(message)
        elif message.startswith("BYE"):
            self.answer(message)

    def send(self, text):
        self.transport.sendto(text.replace("\n", "\r\n").encode(), (edge, 5060))

    def answer(self, request):
        vias = "".join(f"Via: {via}\n" for via in headers(request, "Via"))
        same = "".join(f"{name}: {header(request, name)}\n" for name in ("From", "To", "Call-ID", "CSeq"))
        self.send(f"SIP/2.0 200 OK\n{vias}{same}Content-Length: 0\n\n")

    def digest(self, challenge, method, uri):
        ask = dict(re.findall(r'(\w+)="?([^",]+)"?', challenge))
        algorithm = hashlib.sha256 if "256" in ask.get("algorithm", "") else hashlib.md5
        h = lambda text: algorithm(text.encode()).hexdigest()
        secret = h(f"{self.user}:{ask['realm']}:pw{self.user}")
        cnonce = f"{random.getrandbits(32):x}"
        response = h(f"{secret}:{ask['nonce']}:00000001:{cnonce}:auth:{h(f'{method}:{uri}')}")
        return (f'Proxy-Authorization: Digest username="{self.user}", realm="{ask["realm"]}", nonce="{ask["nonce"]}", '
                f'uri="{uri}", algorithm={ask.get("algorithm", "MD5")}, qop=auth, nc=00000001, cnonce="{cnonce}", response="{response}"'
                + (f', opaque="{ask["opaque"]}"' if "opaque" in ask else "") + "\n")

    async def call(self, number, talk):
        """Dials, talks for so long (None: until hung up on); the final status, and who ended it."""
        name = f"{random.getrandbits(64):x}"
        inbox = self.calls[name] = asyncio.Queue()
        try:
            return await self.dial(name, inbox, number.replace(" ", ""), talk)
        finally:
            del self.calls[name]

    async def dial(self, name, inbox, number, talk):
        uri, tag, credentials = f"sip:{number}@{edge}", f"{random.getrandbits(32):x}", ""
        for cseq in (1, 2, 3):
            answer = await self.ask(inbox, "INVITE", uri, "", f"<sip:{number}@{edge}>", name, tag, cseq, credentials)
            status = int(answer.split()[1])
            if status >= 300:
                self.request("ACK", uri, "", header(answer, "To"), name, tag, cseq, via=headers(answer, "Via")[0])
            if status != 407:
                break
            # SHA-256 stands first where the edge offers both.
            credentials = self.digest(headers(answer, "Proxy-Authenticate")[0], "INVITE", uri)
        if status != 200:
            return status, "refused"
        target = re.search(r"<([^>]+)>", header(answer, "Contact")).group(1)
        route = "".join(f"Route: {route}\n" for route in reversed(headers(answer, "Record-Route")))
        to = header(answer, "To")
        self.request("ACK", target, route, to, name, tag, cseq)
        deadline = None if talk is None else asyncio.get_running_loop().time() + talk
        while True:
            left = None if deadline is None else deadline - asyncio.get_running_loop().time()
            try:
                message = await asyncio.wait_for(inbox.get(), left)
            except asyncio.TimeoutError:
                await self.ask(inbox, "BYE", target, route, to, name, tag, cseq + 1, "")
                return 200, "hung up"
            if message.startswith("BYE"):
                self.answer(message)
                return 200, "was hung up on"
            if message.startswith("SIP/2.0 200"):
                self.request("ACK", target, route, to, name, tag, cseq)

    async def ask(self, inbox, method, uri, route, to, name, tag, cseq, credentials):
        """Sends a request until its final answer is there."""
        via = None
        for patience in (0.3, 0.5, 1, 2, 4, 8):
            via = self.request(method, uri, route, to, name, tag, cseq, credentials, via)
            try:
                async with asyncio.timeout(patience):
                    while True:
                        answer = await inbox.get()
                        if answer.startswith("SIP/2.0 ") and header(answer, "CSeq") == f"{cseq} {method}" \
                                and not answer.startswith("SIP/2.0 1"):
                            return answer
            except asyncio.TimeoutError:
                pass
        raise SystemExit(f"no answer to {method} of {self.user}")

    def request(self, method, uri, route, to, name, tag, cseq, credentials="", via=None):
        via = via or f"SIP/2.0/UDP {self.address}:5060;rport;branch=z9hG4bK{random.getrandbits(64):x}"
        sdp = ""
        if method == "INVITE":
            sdp = (f"v=0\no=- 1 1 IN IP4 {self.address}\ns=-\nc=IN IP4 {self.address}\nt=0 0\nm=audio 4000 RTP/AVP 8\n")
        kind = "Content-Type: application/sdp\n" if sdp else ""
        self.send(f"{method} {uri} SIP/2.0\nVia: {via}\nMax-Forwards: 70\n{route}From: <sip:{self.user}@{edge}>;tag={tag}\nTo: {to}\n"
                  f"Call-ID: {name}\nCSeq: {cseq} {method}\nContact: <sip:{self.user}@{self.address}:5060>\n{credentials}{kind}"
                  f"Content-Length: {len(sdp) + sdp.count(chr(10))}\n\n{sdp}")
        return via


async def bot(phone, line, end):
    attempt = line
    while asyncio.get_running_loop().time() < end:
        print("201", ABROAD[attempt % len(ABROAD)], *await phone.call(ABROAD[attempt % len(ABROAD)], None), flush=True)
        attempt += 1
        await asyncio.sleep(0.3)


async def honest(phone, end):
    attempt = 0
    while asyncio.get_running_loop().time() < end:
        number = HOME[attempt % len(HOME)]
        print("202", number, *await phone.call(number, 120 / speed), flush=True)
        attempt += 1
        await asyncio.sleep(60 / speed)


async def main():
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    phones = []
    for user, address in (("201", "198.51.100.20"), ("202", "198.51.100.21")):
        phones.append((await loop.create_datagram_endpoint(lambda: Phone(user, address), local_addr=(address, 5060)))[1])
    lines = [bot(phones[0], line, end) for line in range(10)] + [honest(phones[1], end)]
    await asyncio.gather(*lines)

asyncio.run(main())

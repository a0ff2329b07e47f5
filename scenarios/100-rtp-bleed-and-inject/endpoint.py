#!/usr/bin/env python3
"""One end of calls in which every packet can be told: it says whose it is and carries a number.

    endpoint.py pbx DIR IP                       answers registrations and calls at IP:5060; a call to `plain` is called plain, …
    endpoint.py phone DIR IP PORT EDGE KIND      KIND is plain, ice or srtp: registers, calls KIND, hangs up when told to (SIGTERM)

The phone sends its first packet a second after the answer: time for whoever wants to be first. When a call ends, each side writes
DIR/KIND-SIDE.json: packets of the other side that it heard (`own`), everything else that arrived on its media ports (`foreign`).
"""
import base64
import json
import os
import re
import secrets
import signal
import socket
import sys
import threading
import time

from packets import Shown, Srtp, is_stun, rtcp, rtp, stun_check

# In packets of RTP: 1.5 seconds.
RTCP_BEGINS = 75
SDES = "AES_CM_128_HMAC_SHA1_80"


class Media:
    """RTP and RTCP of one call: sends 50 packets a second, and tells what arrives."""

    def __init__(self, folder, ip, call, side):
        self.folder, self.call, self.side = folder, call, side
        self.other = "pbx" if side == "phone" else "phone"
        self.rtp, self.rtcp = even_and_odd(ip)
        self.ip, self.port = ip, self.rtp.getsockname()[1]
        self.towards = None
        self.encrypt = self.decrypt = None
        self.ice = None
        self.asked = set()
        self.open = call != "ice" or side == "pbx"
        self.sent, self.heard, self.foreign = 0, set(), []
        self.ssrc = secrets.randbits(32)
        self.shown = Shown(folder, f"{call}-{side}")
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def start(self, towards, after=0):
        """`towards`: where RTP and RTCP go."""
        self.towards = towards
        self.begins = time.monotonic() + after
        self.thread.start()

    def run(self):
        tick = time.monotonic()
        while not self.over.is_set():
            self.listen()
            if time.monotonic() >= self.begins:
                self.speak()
            tick += 0.02
            time.sleep(max(0, tick - time.monotonic()))
        self.listen()

    def speak(self):
        if self.ice and self.sent % 50 == 0:
            self.check()
        self.sent += 1
        if not self.open:
            return
        text = f"{self.call} {self.side} {self.sent:08}".encode()
        packet = rtp(1000 + self.sent, 160 * self.sent, self.ssrc, text.ljust(160, b"."))
        if self.encrypt:
            packet = self.encrypt.protect(packet)
        # Who had read the SSRC before RTCP begins, from behind the same NAT, could be taken for its sender (README).
        if self.call != "plain" or self.sent > RTCP_BEGINS:
            self.shown.show(packet)
        self.rtp.sendto(packet, self.towards[0])
        # SRTCP would show nothing that SRTP does not.
        if self.sent >= RTCP_BEGINS and self.sent % 25 == 0 and self.call != "srtp":
            self.rtcp.sendto(rtcp(self.ssrc, text), self.towards[1])

    def check(self):
        """Shows, on both components and again every second, that this is the endpoint that SDP speaks of."""
        for socket_, to in zip((self.rtp, self.rtcp), self.towards):
            transaction = secrets.token_bytes(12)
            self.asked.add(transaction)
            socket_.sendto(stun_check(transaction, *self.ice), to)

    def listen(self):
        for socket_ in (self.rtp, self.rtcp):
            while True:
                try:
                    packet, source = socket_.recvfrom(2048)
                except BlockingIOError:
                    break
                if not self.is_known(packet, socket_ is self.rtp):
                    self.foreign.append(f"{source} {packet[:40]!r}")

    def is_known(self, packet, on_rtp):
        if is_stun(packet):
            # The success of a check of ours; nothing else was asked for.
            known = packet[:2] == b"\x01\x01" and packet[8:20] in self.asked
            self.open |= known and on_rtp
            return known
        if on_rtp and self.decrypt:
            packet = self.decrypt.unprotect(packet) or b""
        text = packet[12:] if on_rtp else packet[20:]
        said = re.match(rf"{self.call} {self.other} (\d+)".encode(), text)
        # The same packet twice has been replayed.
        if not said or (on_rtp, said[1]) in self.heard:
            return False
        self.heard.add((on_rtp, said[1]))
        return True

    def end(self):
        self.over.set()
        self.thread.join()
        tally = {"own": len(self.heard), "foreign": len(self.foreign), "such as": self.foreign[:3]}
        with open(f"{self.folder}/{self.call}-{self.side}.json", "w") as file:
            json.dump(tally, file)
        print(self.call, self.side, tally, flush=True)


def even_and_odd(ip):
    while True:
        sockets = []
        port = 2 * secrets.randbelow(5000) + 20000
        try:
            for number in (port, port + 1):
                sockets.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                sockets[-1].bind((ip, number))
                sockets[-1].setblocking(False)
            return sockets
        except OSError:
            continue


def body(media, profile="AVP", more=()):
    lines = ["v=0", f"o={media.side} 1 1 IN IP4 {media.ip}", "s=-", f"c=IN IP4 {media.ip}", "t=0 0",
             f"m=audio {media.port} RTP/{profile} 0", "a=rtpmap:0 PCMU/8000", *more]
    return "".join(line + "\r\n" for line in lines)


def value(sdp, name):
    found = re.search(rf"^a={name}:(.*?)\r?$", sdp, re.M)
    return found[1] if found else None


def destinations(sdp):
    ip, port = re.search(r"^c=IN IP4 (\S+)", sdp, re.M)[1], int(re.search(r"^m=audio (\d+)", sdp, re.M)[1])
    named = value(sdp, "rtcp")
    return (ip, port), (ip, int(named.split()[0]) if named else port + 1)


class Sip:
    """Enough of SIP over UDP to be called and to call through a proxy that loses nothing."""

    def __init__(self, ip, port):
        self.ip, self.port = ip, port
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ip, port))

    def receive(self):
        data, source = self.socket.recvfrom(65535)
        head, _, content = data.decode().partition("\r\n\r\n")
        first, *lines = head.split("\r\n")
        fields = [(name.strip().lower(), text.strip()) for name, _, text in (line.partition(":") for line in lines)]
        return first, fields, content, source

    def send(self, to, first, fields, content=""):
        if content:
            fields = [*fields, ("Content-Type", "application/sdp")]
        lines = [first, *(f"{name}: {text}" for name, text in fields), f"Content-Length: {len(content)}", "", content]
        self.socket.sendto("\r\n".join(lines).encode(), to)


def of(fields, name):
    return [text for field, text in fields if field == name]


def pbx(folder, ip):
    sip = Sip(ip, 5060)
    calls = {}
    print("ready", flush=True)
    while True:
        first, fields, content, source = sip.receive()
        method, call_id = first.split()[0], of(fields, "call-id")[0]
        if method == "ACK" or method.startswith("SIP/2.0"):
            continue
        answer = [(name.title(), text) for name, text in fields if name in ("via", "from", "call-id", "cseq", "record-route")]
        answer.append(("To", of(fields, "to")[0] + ("" if ";tag=" in of(fields, "to")[0] else ";tag=pbx")))
        if method == "REGISTER":
            sip.send(source, "SIP/2.0 200 OK", [*answer, ("Contact", of(fields, "contact")[0] + ";expires=60")])
        elif method == "INVITE" and call_id not in calls:
            media = calls[call_id] = Media(folder, ip, re.search(r"sip:(\w+)@", first)[1], "pbx")
            # It rings: an attacker has time to speak before the phone has been told where to.
            time.sleep(0.3)
            sip.send(source, "SIP/2.0 200 OK", [*answer, ("Contact", f"<sip:pbx@{ip}:5060>")], body(media))
            media.start(destinations(content))
        elif method == "BYE" and call_id in calls:
            sip.send(source, "SIP/2.0 200 OK", answer)
            calls.pop(call_id).end()
        elif method == "OPTIONS":
            sip.send(source, "SIP/2.0 200 OK", answer)


def phone(folder, ip, port, edge, kind):
    signal.signal(signal.SIGTERM, lambda *_: None)
    sip, to = Sip(ip, int(port)), (edge, 5060)
    media = Media(folder, ip, kind, "phone")
    call_id, contact = secrets.token_hex(8), ("Contact", f"<sip:{kind}@{ip}:{port}>")

    def request(method, uri, number, to_tag="", fields=(), content=""):
        sip.send(to, f"{method} {uri} SIP/2.0", [
            ("Via", f"SIP/2.0/UDP {ip}:{port};rport;branch=z9hG4bK{secrets.token_hex(8)}"), ("Max-Forwards", "70"),
            ("From", f"<sip:{kind}@{edge}>;tag=phone"), ("To", f"<sip:{kind}@{edge}>{to_tag}"),
            ("Call-ID", call_id + method[:1] * (method == "REGISTER")), ("CSeq", f"{number} {method}"), *fields], content)

    def answered():
        while True:
            first, fields, content, _ = sip.receive()
            if not first.startswith("SIP/2.0 1"):
                if not first.startswith("SIP/2.0 2"):
                    raise SystemExit(first)
                return fields, content

    request("REGISTER", f"sip:{edge}", 1, fields=[contact, ("Expires", "60")])
    answered()
    key, ufrag, pwd = secrets.token_bytes(30), secrets.token_hex(4), secrets.token_hex(12)
    profile, more = {
        "plain": ("AVP", []),
        "ice": ("AVP", [f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", *(
            f"a=candidate:1 {component} UDP {2130706432 - component} {ip} {media.port + component - 1} typ host"
            for component in (1, 2))]),
        "srtp": ("SAVP", [f"a=crypto:1 {SDES} inline:{base64.b64encode(key).decode()}"]),
    }[kind]
    request("INVITE", f"sip:{kind}@{edge}", 2, fields=[contact], content=body(media, profile, more))
    fields, sdp = answered()
    if kind == "srtp":
        theirs = re.match(rf"1 {SDES} inline:([^| ]+)", value(sdp, "crypto"))[1]
        media.encrypt, media.decrypt = Srtp(key), Srtp(base64.b64decode(theirs))
    if kind == "ice":
        media.ice = f"{value(sdp, 'ice-ufrag')}:{ufrag}", value(sdp, "ice-pwd")
        with open(f"{folder}/ice.username", "w") as file:
            file.write(media.ice[0])
    route = [("Route", text) for text in reversed(of(fields, "record-route"))]
    target, tag = re.search(r"<(.*?)>", of(fields, "contact")[0])[1], ";tag=" + of(fields, "to")[0].split(";tag=")[1]
    request("ACK", target, 2, tag, route)
    media.start(destinations(sdp), after=1)
    print("answered", media.port, flush=True)
    signal.pause()
    request("BYE", target, 3, tag, route)
    answered()
    media.end()


if __name__ == "__main__":
    {"pbx": pbx, "phone": phone}[sys.argv[1]](*sys.argv[2:])
    os._exit(0)

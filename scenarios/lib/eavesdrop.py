#!/usr/bin/env python3
"""What somebody hears who listens on a network: every RTP packet of PCMU, taken for what it says it is.

    eavesdrop.py INTERFACE PREFIX SECONDS      PREFIX-sent.wav and PREFIX-received.wav: so much of what left there and of what came in

RTP becomes what was said, and SRTP noise: its header is in the clear, and the voice in it is not.
"""
import socket
import struct
import sys
import wave

ETH_P_ALL, ETH_P_IP, UDP = 3, 0x0800, 17
PCMU, RATE = 0, 8000


def linear(byte):
    """G.711 µ-law to 16 bits."""
    byte = ~byte & 0xFF
    magnitude = (((byte & 0x0F) << 3) + 0x84 << (byte >> 4 & 7)) - 0x84
    return struct.pack("<h", -magnitude if byte & 0x80 else magnitude)


VOICE = [linear(byte) for byte in range(256)]


def voice_in(packet):
    """The samples in an IPv4 packet, none if there is no RTP with PCMU in it."""
    ip, udp = 4 * (packet[0] & 0x0F), 8
    rtp = packet[ip + udp:]
    if packet[9] != UDP or len(rtp) < 12 or rtp[0] >> 6 != 2 or rtp[1] & 0x7F != PCMU:
        return b""
    return b"".join(VOICE[byte] for byte in rtp[12 + 4 * (rtp[0] & 0x0F):])


def main():
    interface, prefix, seconds = sys.argv[1:]
    wire = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
    wire.bind((interface, ETH_P_ALL))
    print("listening", flush=True)
    heard = {"sent": bytearray(), "received": bytearray()}
    while any(len(voice) < 2 * RATE * float(seconds) for voice in heard.values()):
        packet, (_, protocol, kind, *_) = wire.recvfrom(65535)
        if protocol == ETH_P_IP:
            heard["sent" if kind == socket.PACKET_OUTGOING else "received"] += voice_in(packet)
    for which, voice in heard.items():
        with wave.open(f"{prefix}-{which}.wav", "wb") as out:
            out.setnchannels(1)
            out.setsampwidth(2)
            out.setframerate(RATE)
            out.writeframes(voice)


if __name__ == "__main__":
    main()

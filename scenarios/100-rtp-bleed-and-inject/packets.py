"""What endpoint.py and attacker.py put on the wire: RTP, RTCP, STUN and SRTP, made by hand, so that nothing of Turnpike is on both sides."""
import ctypes
import ctypes.util
import hashlib
import hmac
import os
import struct
import zlib

COOKIE = 0x2112A442
USERNAME, INTEGRITY, PRIORITY, USE_CANDIDATE, FINGERPRINT, CONTROLLING = 0x0006, 0x0008, 0x0024, 0x0025, 0x8028, 0x802A


def rtp(sequence, timestamp, ssrc, payload, payload_type=0):
    return struct.pack(">BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def rtcp(ssrc, text):
    """An empty receiver report and an application packet (RFC 3550 §6.4.2, §6.7) that says `text`, 32 bytes."""
    return struct.pack(">BBHI", 0x80, 201, 1, ssrc) + struct.pack(">BBHI4s", 0x80, 204, 10, ssrc, b"tell") + text.ljust(32)


def attribute(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def stun_check(transaction, username, password):
    """The check of a controlling agent that nominates at once (RFC 8445 §7.1), signed with `password` (RFC 8489 §14.5)."""
    attributes = attribute(USERNAME, username.encode()) + attribute(PRIORITY, struct.pack(">I", 1862270975))
    attributes += attribute(CONTROLLING, transaction[:8]) + attribute(USE_CANDIDATE, b"")

    def with_header(more):
        return struct.pack(">HHI", 1, len(attributes) + more, COOKIE) + transaction + attributes

    attributes += attribute(INTEGRITY, hmac.digest(password.encode(), with_header(24), "sha1"))
    attributes += attribute(FINGERPRINT, struct.pack(">I", zlib.crc32(with_header(8)) ^ 0x5354554E))
    return with_header(0)


def is_stun(packet):
    return len(packet) >= 20 and packet[0] < 4 and packet[4:8] == struct.pack(">I", COOKIE)


libcrypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
libcrypto.EVP_CIPHER_CTX_new.restype = libcrypto.EVP_aes_128_ctr.restype = ctypes.c_void_p


def aes_ctr(key, counter, data):
    context = ctypes.c_void_p(libcrypto.EVP_CIPHER_CTX_new())
    out, length = ctypes.create_string_buffer(len(data)), ctypes.c_int()
    cipher = ctypes.c_void_p(libcrypto.EVP_aes_128_ctr())
    fine = libcrypto.EVP_EncryptInit_ex(context, cipher, None, key, counter) == 1
    fine = fine and libcrypto.EVP_EncryptUpdate(context, out, ctypes.byref(length), data, len(data)) == 1
    libcrypto.EVP_CIPHER_CTX_free(context)
    if not fine:
        raise SystemExit("libcrypto refuses AES")
    return out.raw


class Srtp:
    """AES_CM_128_HMAC_SHA1_80 (RFC 3711) under a master key and salt, 30 bytes; calls too short for the sequence number to wrap."""

    def __init__(self, master):
        key, salt = master[:16], master[16:]

        def derive(label, length):
            start = int.from_bytes(salt, "big") ^ label << 48
            return aes_ctr(key, (start << 16).to_bytes(16, "big"), bytes(length))

        self.key, self.auth, self.salt = derive(0, 16), derive(1, 20), derive(2, 14)

    def crypt(self, packet):
        sequence, ssrc = struct.unpack(">2xH4xI", packet[:12])
        start = int.from_bytes(self.salt, "big") << 16 ^ ssrc << 64 ^ sequence << 16
        return packet[:12] + aes_ctr(self.key, start.to_bytes(16, "big"), packet[12:])

    def tag(self, packet):
        return hmac.digest(self.auth, packet + bytes(4), hashlib.sha1)[:10]

    def protect(self, packet):
        packet = self.crypt(packet)
        return packet + self.tag(packet)

    def unprotect(self, packet):
        """None if it is not authentic."""
        packet, tag = packet[:-10], packet[-10:]
        return self.crypt(packet) if len(packet) > 12 and hmac.compare_digest(tag, self.tag(packet)) else None


class Shown:
    """A sender's latest packets, where an attacker can read them: as if he saw all of them pass."""

    def __init__(self, folder, name):
        self.path = f"{folder}/{name}.shown"
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT)

    def show(self, packet):
        os.pwrite(self.file, struct.pack(">H", len(packet)) + packet, 0)

    def seen(self):
        data = os.pread(self.file, 2048, 0)
        return data[2:2 + struct.unpack(">H", data[:2])[0]] if len(data) > 2 else b""

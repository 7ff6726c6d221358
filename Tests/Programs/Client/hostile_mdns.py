"""Sends hostile multicast DNS from one interface: announcements of servers that do not exist, and malformed packets.

usage: hostile_mdns.py INTERFACE SECONDS ANNOUNCEMENTS_PER_SECOND MALFORMED_PER_SECOND SEED

The same seed makes the same packets in the same order. Prints how many of each were sent. Source: RFC 1035, RFC 6762, RFC 6763.
"""
import random
import socket
import struct
import sys
import time

SERVICE = b"\7_mandos\4_tcp\5local\0"
A, NS, CNAME, PTR, HINFO, TXT, AAAA, SRV, DNAME, NSEC, ANY = 1, 2, 5, 12, 13, 16, 28, 33, 39, 47, 255
FLUSH = 0x8001


def label(text):
    return bytes([len(text)]) + text


def record(name, kind, data, ttl=4500, cls=1, length=None):
    return name + struct.pack(">HHIH", kind, cls, ttl, len(data) if length is None else length) + data


def packet(records, flags=0x8400, counts=None):
    return struct.pack(">6H", 0, flags, *(counts or (0, len(records), 0, 0))) + b"".join(records)


class Corpus:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.number = 0

    def bytes(self, most):
        return self.random.randbytes(self.random.randrange(most + 1))

    def name(self):
        self.number += 1
        return label(b"Fake %d" % self.number)

    def address(self):
        kind = self.random.choice((A, AAAA))
        odd = [b"\0" * 15 + b"\1", b"\0" * 10 + b"\xff\xff\x7f\0\0\1", b"\0" * 16, b"\xff\2" + b"\0" * 13 + b"\1",
               b"\x7f\0\0\1", b"\0" * 4, b"\xff" * 4, self.random.randbytes(4), b"\xfe\x80" + self.random.randbytes(14)]
        return kind, self.random.choice([address for address in odd if len(address) == (4 if kind == A else 16)])

    def records(self, ttl=4500):
        """All records of one server: what a valid announcement has."""
        instance = self.name()
        host = label(b"host-%d" % self.number) + b"\5local\0"
        kind, address = self.address()
        port = self.random.choice((0, 1, 4711, self.random.randrange(65536)))
        return [record(SERVICE, PTR, instance + SERVICE, ttl),
                record(instance + SERVICE, SRV, struct.pack(">HHH", 0, 0, port) + host, ttl, FLUSH),
                record(instance + SERVICE, TXT, b"\0", ttl, FLUSH), record(host, kind, address, ttl, FLUSH)]

    def announcement(self):
        # Most do not resolve; that costs the announcer least.
        if self.random.random() < 0.8:
            return packet([record(SERVICE, PTR, self.name() + SERVICE)])
        return packet(self.records())

    def malformed(self):
        return self.random.choice((
            self.truncated, self.flipped, self.wrong_counts, self.pointers, self.long_labels, self.wrong_lengths, self.oversized,
            self.goodbyes, self.aliases, self.odd_records, self.garbage, self.queries, self.odd_names))()

    def truncated(self):
        whole = packet(self.records())
        return whole[:self.random.randrange(len(whole))]

    def flipped(self):
        whole = bytearray(packet(self.records()))
        for _ in range(self.random.randrange(1, 12)):
            whole[self.random.randrange(len(whole))] = self.random.randrange(256)
        return bytes(whole)

    def wrong_counts(self):
        some = (0, 1, 4, 5, 255, 65535)
        return packet(self.records(), counts=[self.random.choice(some) for _ in range(4)])

    def pointers(self):
        # To itself, to the next one and back, forward, out of the packet, and through a long chain.
        names = [b"\xc0\x0c", b"\xc0\x0e\xc0\x0c", b"\xc0\x40", b"\xff\xff", b"\1a\xc0\x0c",
                 b"".join(struct.pack(">H", 0xC00C + 2 * (n + 1)) for n in range(200)) + b"\xc0\x0c"]
        return packet([record(self.random.choice(names), PTR, self.random.choice(names))] + self.records())

    def long_labels(self):
        names = [b"\x40" + b"a" * 64 + b"\0", b"\x80" + b"a" * 128 + b"\0", (b"\x3f" + b"a" * 63) * 4 + b"\0",
                 (b"\x3f" + b"." * 63) * 3 + b"\0", b"\1a" * 127 + b"\0", b"\1a" * 128 + b"\0", b"\x3fshort\0"]
        name = self.random.choice(names)
        return packet([record(SERVICE, PTR, name[:-1] + SERVICE), record(name, self.random.choice((PTR, SRV, TXT)), name)])

    def wrong_lengths(self):
        kind = self.random.choice((A, AAAA, PTR, SRV, TXT, HINFO))
        data = self.bytes(40)
        length = self.random.choice((0, 1, len(data) + 1, max(len(data) - 1, 0), 512, 65535))
        return packet([record(self.name() + SERVICE, kind, data, length=length)] + self.records())

    def oversized(self):
        data = self.random.choice((b"\xff" * 8192, b"\0" * 8000, b"\xff" + b"a" * 255) * 1)
        return packet([record(self.name() + SERVICE, TXT, (data * 32)[:self.random.randrange(1500, 8800)], cls=FLUSH)])

    def goodbyes(self):
        return packet([r for _ in range(10) for r in self.records(ttl=self.random.choice((0, 0, 1, 0xFFFFFFFF)))])

    def aliases(self):
        # Of the service, of an instance, of a host, of itself; CNAME records make Avahi 0.8 abort.
        name = self.random.choice((SERVICE, self.name() + SERVICE, b"\5local\0", b"\0"))
        target = self.random.choice((name, self.name() + SERVICE, b"\0"))
        return packet([record(name, self.random.choice((CNAME, CNAME, DNAME, NS)), target, self.random.choice((0, 120)))])

    def odd_records(self):
        kind = self.random.choice((NSEC, HINFO, ANY, 0, 41, 65535, self.random.randrange(65536)))
        return packet([record(self.random.choice((SERVICE, self.name() + SERVICE)), kind, self.bytes(60),
                              self.random.choice((0, 120, 0xFFFFFFFF)), self.random.choice((0, 1, 255, FLUSH, 65535)))])

    def garbage(self):
        return self.bytes(self.random.choice((0, 11, 12, 64, 1400)))

    def queries(self):
        question = self.random.choice((SERVICE, b"\0", b"\xc0\x0c", self.name() + SERVICE)) + struct.pack(
            ">HH", self.random.choice((PTR, ANY, SRV, 65535)), self.random.choice((1, 0x8001, 255)))
        flags = self.random.choice((0, 0x0200, 0x7800, 0x8F0F))
        return packet([question * self.random.choice((1, 50))], flags, (self.random.choice((1, 50)), 0, 0, 0)) + b"".join(
            self.records())

    def odd_names(self):
        text = self.random.choice((b"\0", b".", b"\\", b"\xff\xfe", b"a\0b", b"%s%n", b"\x1b[2J", b"", self.bytes(63)))
        return packet([record(SERVICE, PTR, label(text) + self.random.choice((SERVICE, b"\7_mandos\4_tcp\7example\0")))])


def main():
    interface, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[5])
    rates = {"announcements": float(sys.argv[3]), "malformed": float(sys.argv[4])}
    corpus = Corpus(seed)
    make = {"announcements": corpus.announcement, "malformed": corpus.malformed}
    sent = dict.fromkeys(rates, 0)
    out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    out.bind(("::", 5353))
    out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    to = ("ff02::fb", 5353, 0, socket.if_nametoindex(interface))
    # Until the address may be used, there is none to send from.
    while True:
        try:
            out.sendto(corpus.announcement(), to)
            break
        except OSError:
            time.sleep(0.1)
    begin = time.monotonic()
    while (now := time.monotonic() - begin) < seconds:
        for kind, rate in rates.items():
            while sent[kind] < rate * now:
                try:
                    out.sendto(make[kind](), to)
                except OSError:
                    time.sleep(0.01)
                sent[kind] += 1
        time.sleep(0.001)
    print(*(f"{kind} {count}" for kind, count in sent.items()))


main()

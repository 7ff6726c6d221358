"""Announces Mandos servers of the host that it runs on, with multicast DNS, until it is killed.

usage: announce.py INTERFACE honest PORT                 "Mandos": at once, a second later, and whenever somebody asks
       announce.py INTERFACE ports COUNT RATE            COUNT servers, RATE a second, at the ports from 5000 on; again and again
       announce.py INTERFACE wrong-port PORT RATE        "Mandos", RATE times a second, with a wrong host name and PORT
       announce.py INTERFACE addresses COUNT RATE BURST  one server, BURST times at once, and then RATE times a second, with COUNT
                                                         random addresses each time

Source: RFC 6762, RFC 6763.
"""
import random
import select
import socket
import struct
import sys
import time

SERVICE = b"\7_mandos\4_tcp\5local\0"
PTR, TXT, AAAA, SRV = 12, 16, 28, 33
FLUSH = 0x8001


def label(text):
    return bytes([len(text)]) + text.encode()


def record(name, kind, data, cls=FLUSH):
    return name + struct.pack(">HHIH", kind, cls, 120, len(data)) + data


def announcement(name, host, port, addresses, cls=FLUSH):
    instance, host = label(name) + SERVICE, label(host) + b"\5local\0"
    records = [record(SERVICE, PTR, instance, 1), record(instance, SRV, struct.pack(">HHH", 0, 0, port) + host),
               record(instance, TXT, b"\0")] + [record(host, AAAA, address, cls) for address in addresses]
    return struct.pack(">6H", 0, 0x8400, 0, len(records), 0, 0) + b"".join(records)


interface, mode, *numbers = sys.argv[1:]
numbers = [int(number) for number in numbers]
link = socket.if_nametoindex(interface)
group = socket.inet_pton(socket.AF_INET6, "ff02::fb")
out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
out.bind(("::", 5353))
out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
out.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", link))


def send(packet):
    # Until the address may be used, there is none to send from.
    while True:
        try:
            return out.sendto(packet, ("ff02::fb", 5353, 0, link))
        except OSError:
            time.sleep(0.02)


def own_address():
    while True:
        for line in open("/proc/net/if_inet6"):
            fields = line.split()
            if fields[5] == interface and fields[0].startswith("fe80"):
                return bytes.fromhex(fields[0])
        time.sleep(0.02)


own = own_address()
if mode == "honest":
    packet = announcement("Mandos", "right", numbers[0], [own])
    send(packet)
    again = last = time.monotonic()
    while True:
        if select.select([out], [], [], 1)[0]:
            query = out.recv(9000)
            # No more often than a responder does. Source: RFC 6762, section 6.
            if query[2:3] < b"\x80" and b"_mandos" in query and time.monotonic() - last > 1:
                time.sleep(random.uniform(0.02, 0.12))
                last = time.monotonic()
                send(packet)
        if again and time.monotonic() - again > 1:
            again = None
            send(packet)
begin = time.monotonic()
sent = 0
while True:
    while sent < sum(numbers[2:]) + numbers[1] * (time.monotonic() - begin):
        if mode == "ports":
            number = sent % numbers[0]
            send(announcement(f"Fake {number}", f"fake-{number}", 5000 + number, [own]))
        elif mode == "wrong-port":
            send(announcement("Mandos", "wrong", numbers[0], [own]))
        elif mode == "addresses":
            some = [own[:8] + random.randbytes(8) for _ in range(numbers[0])]
            send(announcement("Many", "many", 5000, some, 1))
        sent += 1
    time.sleep(0.002)

"""What redis offers beyond commands and answers, over raw connections.

redis.py HOST talk
redis.py HOST crowd      more connections than redis takes
"""

import socket
import sys
import time

ADDRESS = (sys.argv[1], 6379)


class Client:
    def __init__(self):
        self.socket = socket.create_connection(ADDRESS)
        self.socket.settimeout(20)
        self.file = self.socket.makefile("rb")

    def send(self, *words):
        self.socket.sendall((" ".join(words) + "\r\n").encode())

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        if kind == b"$":
            return self.file.read(int(rest) + 2)[:-2] if rest != b"-1" else None
        if kind == b":":
            return int(rest)
        return line[:-2]

    def ask(self, *words):
        self.send(*words)
        return self.reply()


def talk():
    one, two = Client(), Client()

    assert one.ask("MULTI") == b"+OK"
    assert one.ask("SET", "a", "1") == b"+QUEUED"
    assert two.ask("GET", "a") is None
    assert one.ask("INCR", "a") == b"+QUEUED"
    assert one.ask("EXEC") == [b"+OK", 2]
    assert two.ask("GET", "a") == b"2"

    two.send("BLPOP", "list", "10")
    time.sleep(0.1)
    assert one.ask("RPUSH", "list", "x") == 1
    assert two.reply() == [b"list", b"x"]

    assert two.ask("SUBSCRIBE", "news") == [b"subscribe", b"news", 1]
    for number in range(100):
        assert one.ask("PUBLISH", "news", str(number)) == 1
    for number in range(100):
        assert two.reply() == [b"message", b"news", str(number).encode()]

    three = Client()
    name = three.ask("CLIENT", "ID")
    assert one.ask("CLIENT", "KILL", "ID", str(name)) == 1
    assert three.file.read() == b""

    idle = Client()
    assert idle.ask("PING") == b"+PONG"
    assert one.ask("CONFIG", "SET", "timeout", "1") == b"+OK"
    begin = time.monotonic()
    assert idle.file.read() == b""
    assert time.monotonic() - begin < 10
    assert Client().ask("CONFIG", "SET", "timeout", "0") == b"+OK"


def crowd():
    one = Client()
    assert one.ask("CONFIG", "SET", "maxclients", "10") == b"+OK"
    many = [Client() for _ in range(9)]
    assert all(client.ask("PING") == b"+PONG" for client in many)
    late = Client()
    assert late.file.read() == b"-ERR max number of clients reached\r\n"
    assert one.ask("CONFIG", "SET", "maxclients", "1000") == b"+OK"


{"talk": talk, "crowd": crowd}[sys.argv[2]]()

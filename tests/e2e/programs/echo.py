"""Sends back what it is sent, or sends and compares, by each of Python's ways.

echo.py serve WAY                              WAY: threads, selectors, asyncio, children
echo.py ask WAY HOST CONNECTIONS BYTES         WAY: socket, selectors, asyncio

"children" reads a length and that many bytes, and lets a child process
compute what it sends back: their SHA-256.
"""

import asyncio
import hashlib
import random
import selectors
import socket
import socketserver
import struct
import subprocess
import sys
import threading

PORT = 6379
BLOCK = 1 << 16


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while block := self.request.recv(BLOCK):
            self.request.sendall(block)


class Digest(socketserver.StreamRequestHandler):
    def handle(self):
        while head := self.rfile.read(8):
            payload = self.rfile.read(*struct.unpack("!Q", head))
            child = subprocess.run(["sha256sum"], input=payload, capture_output=True, check=True)
            self.wfile.write(bytes.fromhex(child.stdout.split()[0].decode()))


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


def serve_selectors():
    listener = socket.create_server(("", PORT), backlog=128)
    listener.setblocking(False)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    waiting = {}

    def accept():
        connection, _ = listener.accept()
        connection.setblocking(False)
        waiting[connection] = bytearray()
        selector.register(connection, selectors.EVENT_READ)

    def serve(connection, events):
        buffer = waiting[connection]
        if events & selectors.EVENT_READ:
            block = connection.recv(BLOCK)
            if not block and not buffer:
                selector.unregister(connection)
                del waiting[connection]
                return connection.close()
            buffer += block
        if buffer:
            try:
                del buffer[: connection.send(buffer)]
            except BlockingIOError:
                pass
        selector.modify(connection, selectors.EVENT_WRITE if buffer else selectors.EVENT_READ)

    while True:
        for key, events in selector.select():
            accept() if key.fileobj is listener else serve(key.fileobj, events)


async def serve_asyncio():
    async def echo(reader, writer):
        while block := await reader.read(BLOCK):
            writer.write(block)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(echo, "0.0.0.0", PORT, backlog=128) as server:
        await server.serve_forever()


def payload(number, size):
    return random.Random(number).randbytes(size)


def ask_socket(host, number, size):
    sent = payload(number, size)
    with socket.create_connection((host, PORT)) as connection:
        sender = threading.Thread(target=lambda: (connection.sendall(sent), connection.shutdown(socket.SHUT_WR)))
        sender.start()
        with connection.makefile("rb") as file:
            assert file.read() == sent, number
        sender.join()


def ask_all_with_sockets(host, connections, size):
    failed = []

    def run(number):
        try:
            ask_socket(host, number, size)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(connections)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not failed, failed


def ask_all_with_selectors(host, connections, size):
    selector = selectors.DefaultSelector()
    for number in range(connections):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex((host, PORT))
        both = selectors.EVENT_READ | selectors.EVENT_WRITE
        sent = payload(number, size)
        selector.register(connection, both, (sent, bytearray(sent), bytearray()))
    while selector.get_map():
        for key, events in selector.select(timeout=30):
            connection, (sent, left, received) = key.fileobj, key.data
            if events & selectors.EVENT_WRITE:
                assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
                del left[: connection.send(left)]
                if not left:
                    connection.shutdown(socket.SHUT_WR)
                    selector.modify(connection, selectors.EVENT_READ, key.data)
            if events & selectors.EVENT_READ:
                block = connection.recv(BLOCK)
                received += block
                if not block:
                    assert received == sent
                    selector.unregister(connection)
                    connection.close()


async def ask_all_with_asyncio(host, connections, size):
    async def ask(number):
        reader, writer = await asyncio.open_connection(host, PORT)
        sent = payload(number, size)

        async def send():
            writer.write(sent)
            await writer.drain()
            writer.write_eof()

        _, received = await asyncio.gather(send(), reader.read(-1))
        assert received == sent, number
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(ask(number) for number in range(connections)))


def ask_digests(host, connections, size):
    for number in range(connections):
        sent = payload(number, size)
        with socket.create_connection((host, PORT)) as connection:
            for _ in range(3):
                connection.sendall(struct.pack("!Q", size) + sent)
                answer = connection.recv(32, socket.MSG_WAITALL)
                assert answer == hashlib.sha256(sent).digest(), number


def main(what, way, *rest):
    if what == "serve":
        match way:
            case "threads":
                Server(("", PORT), Echo).serve_forever()
            case "children":
                Server(("", PORT), Digest).serve_forever()
            case "selectors":
                serve_selectors()
            case "asyncio":
                asyncio.run(serve_asyncio())
    host, connections, size = rest[0], int(rest[1]), int(rest[2])
    match way:
        case "socket":
            ask_all_with_sockets(host, connections, size)
        case "selectors":
            ask_all_with_selectors(host, connections, size)
        case "asyncio":
            asyncio.run(ask_all_with_asyncio(host, connections, size))
        case "digests":
            ask_digests(host, connections, size)


main(*sys.argv[1:])

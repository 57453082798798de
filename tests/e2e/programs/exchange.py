"""Exchanges two files with a peer over one TCP connection, both ways at once.

exchange.py listen PORT SEND RECEIVE         for one peer after the other
exchange.py connect HOST PORT SEND RECEIVE   once, and then it stays

After each exchange a line says "done" and which options the connection had.
"""

import signal
import socket
import sys
import threading

TCP_INFO_OPTIONS = 5  # offset of tcpi_options
OPTIONS = {1: "timestamps", 2: "sack", 8: "ecn"}


def send(connection, path):
    with open(path, "rb") as file:
        connection.sendall(file.read())
    connection.shutdown(socket.SHUT_WR)


def receive(connection, path):
    with open(path, "wb") as file:
        while block := connection.recv(1 << 16):
            file.write(block)


def options(connection):
    bits = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 8)[TCP_INFO_OPTIONS]
    return [name for bit, name in OPTIONS.items() if bits & bit]


def exchange(connection, to_send, received):
    negotiated = options(connection)
    sender = threading.Thread(target=send, args=(connection, to_send))
    sender.start()
    receive(connection, received)
    sender.join()
    connection.close()
    print(" ".join(["done", *negotiated]), flush=True)


def main(mode, *rest):
    if mode == "connect":
        host, port, to_send, received = rest
        exchange(socket.create_connection((host, int(port))), to_send, received)
        while True:
            signal.pause()
    port, to_send, received = rest
    listener = socket.create_server(("0.0.0.0", int(port)))
    print("listening", flush=True)
    while True:
        connection, _ = listener.accept()
        exchange(connection, to_send, received)


main(*sys.argv[1:])

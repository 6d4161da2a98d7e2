"""The network that the tests break does what they take it for."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from network import Network


@pytest.fixture
def echo() -> Iterator[int]:
    """The port of a server that sends back what it gets, in as many connections as one likes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(1 << 16):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listener.getsockname()[1]
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()


@pytest.fixture
def network(echo: int) -> Iterator[Network]:
    with Network(echo) as network:
        yield network


def connected(network: Network) -> socket.socket:
    return socket.create_connection(("127.0.0.1", network.port), timeout=60)


def said(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    found = b""
    while len(found) < len(data) and (more := connection.recv(1 << 16)):
        found += more
    return found


def test_everything_arrives_in_order_however_long_it_takes(network: Network) -> None:
    with connected(network) as connection:
        data = bytes(range(256)) * 20_000
        threading.Thread(target=connection.sendall, args=(data,)).start()
        assert said(connection, b"") == b""
        found = b""
        while len(found) < len(data):
            found += connection.recv(1 << 16)
        assert found == data
        network.delay(0.02)
        begun = time.monotonic()
        assert said(connection, b"slow") == b"slow"
        assert time.monotonic() - begun >= 0.04
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_what_is_stalled_arrives_when_it_flows_again(network: Network) -> None:
    with connected(network) as connection:
        assert said(connection, b"before") == b"before"
        network.stall()
        connection.sendall(b"held")
        connection.settimeout(0.1)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        connection.settimeout(60)
        network.flow()
        assert connection.recv(4) == b"held"


def test_a_cut_ends_what_is_there_and_no_more(network: Network) -> None:
    with connected(network) as one, connected(network) as two:
        assert said(one, b"1") == b"1" and said(two, b"2") == b"2"
        network.stall()
        one.sendall(b"lost")
        assert network.cut() == 2
        assert one.recv(1) == b"" and two.recv(1) == b""
        network.flow()
    with connected(network) as three:
        assert said(three, b"3") == b"3"
        network.refuse()
        with connected(network) as four:
            assert four.recv(1) == b""
        assert said(three, b"33") == b"33"
        network.accept()
    with connected(network) as five:
        assert said(five, b"5") == b"5"


def test_an_answer_to_a_commit_is_lost(network: Network) -> None:
    with connected(network) as one, connected(network) as two:
        assert said(one, b"COMMIT\0") == b"COMMIT\0"
        assert network.lose_commits(1) == 0
        one.sendall(b"..COMMIT\0..")
        assert one.recv(1) == b""
        assert said(two, b"COMMIT\0") == b"COMMIT\0"
        assert network.lose_commits(0) == 1


def test_it_leads_elsewhere(network: Network) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        network.lead_to(other.getsockname()[1])
        with connected(network) as connection, other.accept()[0] as end:
            end.sendall(b"here")
            assert connection.recv(4) == b"here"

"""HTTP with a deadline: an answer is there in time, or there is an error that says why not.

The timeouts of Python's own client, and of most others, hold for each packet, so that a server which sends one byte now
and then is waited for without end. Here a deadline holds for the whole answer.
"""

import contextlib
import os
import socket
import ssl
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

# Connections to one server that are kept open for the next request.
MOST_IDLE = 64


class Gone(Exception):
    """The server could not be reached, or closed the connection before it had answered."""


class Late(Exception):
    """The answer was not there in time."""


class _Deadline:
    """Of a socket: what is received must be there before the deadline."""

    deadline = float("inf")

    def recv_into(self, *arguments, **named):
        self.settimeout(max(self.deadline - time.monotonic(), 1e-6))  # type: ignore[attr-defined]
        return super().recv_into(*arguments, **named)  # type: ignore[misc]


class _Socket(_Deadline, socket.socket):
    pass


class _SecureSocket(_Deadline, ssl.SSLSocket):
    pass


class _Connection(HTTPConnection):
    def connect(self):
        super().connect()
        plain = self.sock
        timeout = plain.gettimeout()
        self.sock = _Socket(plain.family, plain.type, plain.proto, plain.detach())
        self.sock.settimeout(timeout)


def _secure_connection(host: str, port: int | None) -> HTTPSConnection:
    context = ssl.create_default_context()
    context.sslsocket_class = _SecureSocket
    return HTTPSConnection(host, port, context=context)


class Address(NamedTuple):
    """Where a server is; `path` stands before the names of the protocol."""

    scheme: str
    host: str
    port: int | None
    path: str

    @classmethod
    def of(cls, url: str) -> "Address | None":
        """None where the url is none of http or https with a host."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except (AttributeError, ValueError, TypeError):
            return None
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return None
        return cls(parts.scheme, parts.hostname, port, parts.path.rstrip("/"))


class _Idle:
    """Open connections that wait for the next request, by address."""

    def __init__(self):
        self._lock = threading.Lock()
        self._open: dict[Address, list[HTTPConnection]] = {}

    def take(self, address: Address) -> HTTPConnection | None:
        with self._lock:
            known = self._open.get(address)
            return known.pop() if known else None

    def keep(self, address: Address, connection: HTTPConnection) -> None:
        with self._lock:
            known = self._open.setdefault(address, [])
            if len(known) < MOST_IDLE:
                known.append(connection)
                return
        connection.close()


_idle = _Idle()


def _forget() -> None:
    # a process that is forked has connections of its own
    global _idle
    _idle = _Idle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def request(address: Address, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
    """Status and body of the answer to a POST of `body`, or to a GET where that is None.

    Args:
        timeout: seconds until the whole answer must be there.

    Raises:
        Gone, Late: with what happened.
    """
    deadline = time.monotonic() + timeout
    if (kept := _idle.take(address)) is not None:
        try:
            return _exchange(address, kept, path, body, deadline)
        except Gone:
            # the server has closed what was idle: nothing is known of this request
            pass
    make = _Connection if address.scheme == "http" else _secure_connection
    return _exchange(address, make(address.host, address.port), path, body, deadline)


def _exchange(address: Address, connection: HTTPConnection, path: str, body: bytes | None, deadline: float):
    sound = False
    try:
        connection.timeout = max(deadline - time.monotonic(), 1e-3)
        if connection.sock is None:
            connection.connect()
        connection.sock.settimeout(max(deadline - time.monotonic(), 1e-3))
        connection.sock.deadline = deadline  # type: ignore[union-attr]
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", address.path + path, body, headers)
        response = connection.getresponse()
        content = response.read()
        sound = not response.will_close
        return response.status, content
    except TimeoutError as error:
        raise Late(str(error) or "no answer in time") from error
    except (OSError, HTTPException, ValueError) as error:
        if time.monotonic() >= deadline:
            raise Late(str(error)) from error
        raise Gone(f"{type(error).__name__}: {error}") from error
    finally:
        if sound:
            _idle.keep(address, connection)
        else:
            with contextlib.suppress(OSError):
                connection.close()

"""A foreign code: exponential decay C(t) = x0 exp(-k t) behind a server written by hand, without any of our modules.

It can misbehave in the ways that servers do. What it has been asked is counted.
"""

import json
import math
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TIMES = [0.5, 1.0, 2.0, 4.0]
SIZES = {
    "decay": ([2], [4, 1]),
    "split": ([1, 1], [4, 1]),
    "other": ([1], [1]),
    "long": ([100_000], [100_000]),
    "at": ([1, 3], [3]),
}


def outputs(x0, k):
    """The series at `TIMES`, and the area below the curve."""
    return [[x0 * math.exp(-k * t) for t in TIMES], [x0 / k]]


def slopes(x0, k):
    """By output vector the rows of its Jacobian, by x0 and k."""
    return [[[math.exp(-k * t), -t * x0 * math.exp(-k * t)] for t in TIMES], [[1 / k, -x0 / k**2]]]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send({"protocolVersion": 1.0, "models": [*SIZES]})

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = self.path.strip("/")
        with self.server.lock:
            self.server.counts[kind] = self.server.counts.get(kind, 0) + 1
            self.server.configs.append(asked.get("config"))
        getattr(self, kind)(asked)

    def ModelInfo(self, asked):
        self.send({"support": {"Evaluate": True, **dict.fromkeys(self.server.derivatives, True)}})

    def InputSizes(self, asked):
        self.send({"inputSizes": SIZES[asked["name"]][0]})

    def OutputSizes(self, asked):
        self.send({"outputSizes": SIZES[asked["name"]][1]})

    def Evaluate(self, asked):
        numbers = [number for vector in asked["input"] for number in vector]
        fault = self.server.fault(numbers)
        if asked["name"] == "long":
            self.send({"output": [[-number for number in numbers]]})
        elif asked["name"] == "at":
            self.send({"output": [[math.exp(-numbers[0] * t) for t in numbers[1:]]]})
        elif fault is None:
            self.send({"output": outputs(*numbers)})
        else:
            FAULTS[fault](self, numbers)

    def Gradient(self, asked):
        # what is asked of "at" is by its times
        if asked["name"] == "at":
            (k,), times = asked["input"]
            self.send({"output": [-k * math.exp(-k * t) * s for t, s in zip(times, asked["sens"], strict=True)]})
            return
        rows, into = self.block(asked)
        sens = asked["sens"]
        self.send({"output": [sum(s * row[k] for s, row in zip(sens, rows, strict=True)) for k in into]})

    def ApplyJacobian(self, asked):
        rows, into = self.block(asked)
        self.send({"output": [sum(row[k] * v for k, v in zip(into, asked["vec"], strict=True)) for row in rows]})

    def block(self, asked):
        numbers = [number for vector in asked["input"] for number in vector]
        into = [0, 1] if asked["name"] == "decay" else [asked["inWrt"]]
        return slopes(*numbers)[asked["outWrt"]], into

    def send(self, answer, status=200):
        self.send_text(json.dumps(answer), status)

    def send_text(self, text, status=200):
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def trickle(handler, numbers):
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    drip(handler, b" ")


def drip(handler, byte):
    """One byte now and then, each well within any timeout of a packet."""
    for _ in range(40):
        if handler.server.ended.wait(0.1):
            return
        handler.wfile.write(byte)
        handler.wfile.flush()


def close_at_once(handler, numbers):
    handler.connection.close()


FAULTS = {
    "late": lambda handler, numbers: handler.server.ended.wait(20.0),
    "trickle": trickle,
    "trickle head": lambda handler, numbers: drip(handler, b"H"),
    "closed": close_at_once,
    "cut off": lambda handler, numbers: handler.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: 500\r\n\r\n{"),
    "no HTTP": lambda handler, numbers: handler.wfile.write(b"hello\r\n\r\n"),
    "error": lambda handler, numbers: handler.send(
        {"error": {"type": "InvalidState", "message": "the mesh is inverted"}}, 500
    ),
    "crash": lambda handler, numbers: handler.send_text("Traceback: segmentation fault", 500),
    "no JSON": lambda handler, numbers: handler.send_text("<html>welcome</html>"),
    "no object": lambda handler, numbers: handler.send_text("[1, 2]"),
    "no output": lambda handler, numbers: handler.send({"result": 3}),
    "flat": lambda handler, numbers: handler.send({"output": [1.0, 2.0, 3.0, 4.0, 5.0]}),
    "short": lambda handler, numbers: handler.send({"output": [[1.0, 2.0], [3.0]]}),
    "vector missing": lambda handler, numbers: handler.send({"output": outputs(*numbers)[:1]}),
    "text": lambda handler, numbers: handler.send({"output": [["1", "2", "3", "4"], ["5"]]}),
    "null": lambda handler, numbers: handler.send({"output": [[1.0, None, 3.0, 4.0], [5.0]]}),
    "nested": lambda handler, numbers: handler.send({"output": [[1.0, [2.0], 3.0, 4.0], [5.0]]}),
    # as JSON of Python, and as Python prints it
    "NaN": lambda handler, numbers: handler.send({"output": [[math.nan] * 4, [1.0]]}),
    "nan": lambda handler, numbers: handler.send_text('{"output": [[nan, 1.0, -inf, 2.0], [1.0]] }'),
}


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, derivatives, fault):
        super().__init__(("127.0.0.1", 0), Handler)
        self.derivatives, self.fault = derivatives, fault
        self.counts, self.configs, self.lock, self.ended = {}, [], threading.Lock(), threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        """Clients that have hung up are no news."""


def nothing_wrong(numbers):
    return None


@contextmanager
def foreign_server(derivatives=("Gradient", "ApplyJacobian"), fault=nothing_wrong):
    """A server in a thread; `fault(numbers)` names one of `FAULTS` for an input, or None."""
    server = Server(derivatives, fault if callable(fault) else lambda numbers: fault)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield server
    finally:
        stop(server)


def stop(server):
    server.ended.set()
    server.shutdown()
    server.server_close()


def seconds(action):
    """How long it takes."""
    begin = time.monotonic()
    action()
    return time.monotonic() - begin

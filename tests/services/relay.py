"""One client's connection through the fault proxy: request by request, or as plain bytes."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus

from tests.services.faults import Request, Rule, Rules
from tests.services.wire import Head, Wire, hang_up, reset


def connect(address: tuple[str, int]) -> socket.socket:
    """A connection to the service."""
    service = socket.create_connection(address, timeout=30)
    service.settimeout(None)
    service.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return service


def relay_http(client: socket.socket, address: tuple[str, int], rules: Rules) -> None:
    """Pass requests and responses until either side ends."""
    near, far = Wire(client), Wire(connect(address))
    try:
        while (head := near.head()) is not None:
            if far.is_over():
                far.socket.close()
                far = Wire(connect(address))
            if not _exchange(near, far, head, rules):
                break
        hang_up(client)
    finally:
        far.socket.close()


def _exchange(near: Wire, far: Wire, head: Head, rules: Rules) -> bool:
    """One request and its response; whether another may follow."""
    method, path, _ = head.start
    request = Request(method, path, head.headers)
    said = str(request)
    rules.count(request=request)
    rules.hold_up(said)
    expects = head.headers.get("expect", "").lower() == "100-continue"
    answer = rules.take("answer", said)
    if answer is not None:
        if not expects:
            for _ in near.body(head, until_end=False):
                continue
        near.socket.sendall(_response(answer, method))
        return not expects
    far.socket.sendall(head.raw)
    response, digest = None, hashlib.sha256()
    if expects:
        response = far.head()
        if response is not None and response.start[1] == "100":
            near.socket.sendall(response.raw)
            response = None
        elif response is None:
            raise ConnectionError("the service ended the connection")
    if response is None:
        upload = rules.take("cut_upload", said)
        left = upload.after if upload else None
        for data in near.body(head, until_end=False):
            piece = data if left is None else data[:left]
            digest.update(data)
            rules.count(up=len(piece))
            far.socket.sendall(piece)
            if left is not None:
                left -= len(piece)
                if left == 0:
                    reset(far.socket)
                    reset(near.socket)
                    return False
        response = _final_head(near, far)
    if rules.take("lose", said) is not None:
        # Some services begin to answer before they are done.
        for _ in () if method == "HEAD" else far.body(response, until_end=True):
            continue
        reset(near.socket)
        return False
    open_still, whole = _pass_response(near, far, method, response, rules, said)
    if whole and method in ("POST", "PUT") and response.start[1].startswith("2"):
        rules.acknowledge(said, digest.hexdigest())
    return open_still and head.keeps_open


def _final_head(near: Wire, far: Wire) -> Head:
    while (response := far.head()) is not None:
        if response.start[1] == "101" or not response.start[1].startswith("1"):
            return response
        near.socket.sendall(response.raw)
    raise ConnectionError("the service ended the connection")


def _pass_response(
    near: Wire, far: Wire, method: str, response: Head, rules: Rules, said: str
) -> tuple[bool, bool]:
    """Whether another request may follow, and whether the response has arrived as it was."""
    # Counted before: who has received all of it may ask at once.
    rules.count(down=len(response.raw))
    near.socket.sendall(response.raw)
    status = response.start[1]
    if status == "101":
        pass_bytes(near.socket, far.socket, None, rules)
        return False, False
    cut = rules.take("cut", said)
    if cut is not None and cut.after == 0:
        return _end(near.socket, cut), False
    if method == "HEAD" or status in ("204", "304"):
        return response.keeps_open, True
    left = cut.after if cut else None
    flip = rules.take("flip", said)
    at = 0
    for data in far.body(response, until_end=True):
        if flip is not None and at <= flip.after < at + len(data):
            changed = bytearray(data)
            changed[flip.after - at] ^= 1
            data = bytes(changed)
        at += len(data)
        piece = data if left is None else data[:left]
        rules.count(down=len(piece))
        near.socket.sendall(piece)
        if cut is not None and left is not None:
            left -= len(piece)
            if left == 0:
                return _end(near.socket, cut), False
    has_length = "content-length" in response.headers or "transfer-encoding" in response.headers
    return response.keeps_open and has_length, flip is None


def _end(client: socket.socket, cut: Rule) -> bool:
    end: Callable[[socket.socket], None] = reset if cut.abrupt else hang_up
    end(client)
    return False


def _response(rule: Rule, method: str) -> bytes:
    phrase = HTTPStatus(rule.status).phrase
    headers = {"Content-Length": str(len(rule.body)), **rule.headers}
    lines = [f"HTTP/1.1 {rule.status} {phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    head = "\r\n".join([*lines, "", ""]).encode("latin-1")
    return head if method == "HEAD" else head + rule.body


def pass_bytes(
    client: socket.socket, service: socket.socket, cut: Rule | None, rules: Rules
) -> None:
    """Pass bytes both ways until either side ends or the cut is reached."""
    lost = threading.Event()
    threading.Thread(target=_pass_up, args=(client, service, rules, lost), daemon=True).start()
    left = cut.after if cut else None
    while data := service.recv(1 << 16):
        if lost.is_set():
            reset(client)
            break
        piece = data if left is None else data[:left]
        rules.count(down=len(piece))
        client.sendall(piece)
        if cut is not None and left is not None:
            left -= len(piece)
            if left == 0:
                _end(client, cut)
                break
    hang_up(service)
    hang_up(client)


def _pass_up(
    client: socket.socket, service: socket.socket, rules: Rules, lost: threading.Event
) -> None:
    try:
        while data := client.recv(1 << 16):
            if rules.take("lose", data.decode("latin-1")) is not None:
                lost.set()
            rules.count(up=len(data))
            service.sendall(data)
    except OSError:
        reset(service)
    else:
        hang_up(service)

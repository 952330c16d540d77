"""Waiting for a server program to be stopped."""

from __future__ import annotations

import os
import selectors
import signal
import socket
import stat


def _stdin_is_a_pipe() -> bool:
    try:
        mode = os.fstat(0).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def wait_for_end() -> None:
    """Return on SIGINT or SIGTERM, or when standard input, if it is a pipe, closes.

    A pipe's end means that the parent is gone, however it died. A terminal or ``/dev/null`` is
    not watched, so that a program in the background keeps running. To be called in the main thread;
    the handlers of both signals are put back.
    """
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    wakeup_before = signal.set_wakeup_fd(sender.fileno())
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(receiver, selectors.EVENT_READ)
            if _stdin_is_a_pipe():
                selector.register(0, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is receiver or not os.read(0, 4096):
                        return
    finally:
        signal.set_wakeup_fd(wakeup_before)
        for number, handler in before.items():
            signal.signal(number, handler)
        receiver.close()
        sender.close()

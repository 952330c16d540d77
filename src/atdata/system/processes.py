"""Work that several processes share, with one clear error if one of them fails or is killed."""

from __future__ import annotations

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import wait
from typing import Any, TypeVar

from atdata.errors import WorkerError
from atdata.system.parent import end_with_parent

X = TypeVar("X")
R = TypeVar("R")


def spread(
    work: Callable[[X], R],
    items: Sequence[X],
    *,
    workers: int,
    warned: Callable[[type[Warning], str], object],
    context: str | None = None,
) -> Iterator[R]:
    """What a function returns for each item, as it comes: several processes take turns.

    Processes end with this one, however it ends; if the iterator is closed or one of them fails,
    all of them are killed.

    Args:
        work: Sent to each process once; nothing is sent where processes are forked.
        items: Sent one by one. Results, too, are sent.
        workers: Number of processes.
        warned: Called with each warning of the processes, equal ones once.
        context: ``"fork"``, ``"spawn"`` or ``"forkserver"``; None: the default of the system.

    Raises:
        WorkerError: A process was killed.
        Exception: What ``work`` raised.
    """
    making: Any = multiprocessing.get_context(context)
    busy: dict[Any, Any] = {}
    waiting = ((item,) for item in items)
    seen: set[tuple[type[Warning], str]] = set()
    try:
        for _ in range(min(workers, len(items))):
            connection, other = making.Pipe()
            process = making.Process(target=_serve, args=(other, work), daemon=True)
            process.start()
            other.close()
            busy[connection] = process
            _send(connection, process, next(waiting))
        while busy:
            for connection in _ready(busy):
                process = busy[connection]
                result, error, warnings_there = _received(connection, process)
                for kind, text in warnings_there:
                    if (kind, text) not in seen:
                        seen.add((kind, text))
                        warned(kind, text)
                if error is not None:
                    raise error
                following = next(waiting, None)
                if following is None:
                    # Closing it would tell nothing: forked processes have each other's ends.
                    _send(connection, process, following)
                    del busy[connection]
                    process.join()
                    connection.close()
                else:
                    _send(connection, process, following)
                yield result
    finally:
        for process in busy.values():
            process.kill()
        for connection, process in busy.items():
            process.join()
            connection.close()


def _ready(busy: dict[Any, Any]) -> list[Any]:
    """The connections whose processes have sent something, or have ended."""
    sentinels = {process.sentinel: connection for connection, process in busy.items()}
    found = wait([*busy, *sentinels])
    return list(dict.fromkeys(sentinels.get(one, one) for one in found))


def _send(connection: Any, process: Any, item: tuple[Any] | None) -> None:
    try:
        connection.send(item)
    except OSError:
        raise _ended(process) from None


def _received(connection: Any, process: Any) -> Any:
    try:
        return connection.recv()
    except (EOFError, OSError):
        raise _ended(process) from None
    except Exception as error:
        raise WorkerError(f"What a worker process sent cannot be read: {error}") from error


def _ended(process: Any) -> WorkerError:
    process.join()
    code = process.exitcode
    how = f"with exit code {code}"
    if code < 0:
        known = -code in signal.valid_signals()
        how = f"by signal {-code}" + (f" ({signal.Signals(-code).name})" if known else "")
    hint = " Systems do that when memory is short: try fewer workers." if code == -9 else ""
    return WorkerError(f"A worker process was ended {how}.{hint}")


def _serve(connection: Any, work: Callable[[Any], Any]) -> None:
    """What a process does: work on one item after the other, until there are no more."""
    end_with_parent()
    # Ctrl-C reaches all processes of a terminal; this one's parent decides what becomes of it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        if item is None:
            return
        result: Any = None
        failed: Exception | None = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            try:
                result = work(*item)
            except Exception as error:
                failed = error
        warned = [(one.category, str(one.message)) for one in caught]
        try:
            connection.send((result, failed, warned))
        except OSError:
            return
        except Exception:
            # An error that cannot be sent.
            text = f"A worker process failed: {type(failed).__name__}: {failed}"
            connection.send((None, WorkerError(text), warned))

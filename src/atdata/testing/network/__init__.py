"""A local test network: a PLC directory and AT Protocol servers.

The programs are the real ones, from npm; they run on Node and listen on loopback only. The
first start fetches them (about 400 MB, once) into the user's cache folder.

    from atdata.testing import network

    with network.start() as net:
        alice, bob = net.accounts
        print(net.plc_url, alice.handle, alice.server_url)

By hand: ``python -m atdata.testing.network`` or ``atdata sandbox``.
"""

from __future__ import annotations

from atdata.testing.network._node import install
from atdata.testing.network._run import Account, Network, Server, start
from atdata.testing.network._wait import wait_for_end

__all__ = ["Account", "Network", "Server", "install", "start", "wait_for_end"]

"""The index of the network: datasets that anyone can find, on AT Protocol servers."""

from atdata.atmosphere.blobs import PDSBlobStore
from atdata.atmosphere.entry import AtmosphereIndexEntry
from atdata.atmosphere.index import AtmosphereIndex
from atdata.atmosphere.mirror import Mirror
from atdata.atmosphere.mirror_store import MirrorCounts, MirrorStore
from atdata.atproto.client import AtmosphereClient

__all__ = [
    "AtmosphereClient",
    "AtmosphereIndex",
    "AtmosphereIndexEntry",
    "Mirror",
    "MirrorCounts",
    "MirrorStore",
    "PDSBlobStore",
]

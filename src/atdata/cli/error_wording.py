"""Error messages that name Python calls, reworded to name commands and options."""

from __future__ import annotations

import re
from typing import Final

_REWORDED: Final = (
    (r"LocalIndex\(…, data_store=DiskDataStore\(path\)\)", "--store FOLDER"),
    (r"data_store=, for example PDSBlobStore\(client\),", "--store blobs"),
    (r"data_store=PDSBlobStore\(client\)", "--store blobs"),
    (r"data_store=", "--store"),
    (r"client\.login\(handle, password\)", "--handle"),
    (r"index\.list_datasets\(\)", "atdata ls"),
    (r"index\.list_datasets\('([^']*)'\)", r"atdata ls --network \1"),
    (r"LocalIndex\(\)\.get_dataset\('([^']*)'\) finds", r"atdata show '\1' shows"),
    (r"index\.label\(('.*'), ('[0-9.]*'), entry\)", r"atdata label DATASET \1 \2"),
    (
        r"Open it with atdata\.load_dataset\(ref\), or find its entry with AtmosphereIndex\.",
        "atdata show and atdata head read it.",
    ),
    (r"[Rr]ead the data as atdata\.DictSample", "atdata head reads the shards without a type"),
    (r"index\.list_schemas\(\)", "atdata schema ls"),
    (r"Publish it: publish_schema\(\)\. ", "atdata insert publishes one. "),
    (r"label\(…, move=True\)", "--move"),
    (r"move=True", "--move"),
    (r"restart=True", "--restart"),
    (r"such as atdata\.load_dataset\(…, split=('[^']*')\)", r"with --split \1"),
    (r"samples_per_shard=", "--samples-per-shard "),
    (r"on_error=", "--on-error "),
    (r"layout=", "--layout "),
    (r"oversize='split'", "--split"),
    (r"index\.insert_dataset\(dataset, name=…\)", "atdata insert"),
    (r"\b(maxcount|name|description|license|index|schema)=(?=\S)", r"--\1 "),
    (r"\b(maxcount|name|description|license|index|schema)=", r"--\1"),
    (r"\btags=", "--tag "),
    (r"dataset\.select\(…\)", "--field NAME"),
)
"""Patterns in the library's messages → what a person at a shell types instead."""


def in_options(message: str) -> str:
    """An error message in terms of commands and options."""
    for pattern, option in _REWORDED:
        message = re.sub(pattern, option, message)
    return message

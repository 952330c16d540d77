"""The journal remembers what was acknowledged, and is never in the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atdata._shardlist import ShardInfo
from atdata.stores.journal import Journal
from tests.stores.journal import sent


class TestJournal:
    def test_remembers(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """It remembers what was sent where and by whom, doubts it and forgets it on demand."""
        monkeypatch.setenv("ATDATA_DATA_DIR", str(tmp_path))
        journal = Journal()
        journal.add("https://a did:plc:a", ShardInfo("at://x", sha256="00", mime="audio/mpeg"))
        found = Journal().find("https://a did:plc:a", "00")
        assert found is not None
        assert (found.url, found.mime) == ("at://x", "audio/mpeg")
        assert Journal().find("https://b did:plc:a", "00") is None
        assert Journal().find("https://a did:plc:b", "00") is None
        assert Journal().find("https://a did:plc:a", "01") is None
        assert sent("https://a did:plc:a") == ["00"]
        assert Journal().doubtful("https://a did:plc:a", "00") is None
        journal.doubt("https://a did:plc:a", [found])
        assert Journal().find("https://a did:plc:a", "00") is None
        assert sent("https://a did:plc:a") == []
        doubtful = Journal().doubtful("https://a did:plc:a", "00")
        assert doubtful is not None
        assert doubtful.url == "at://x"
        journal.forget("https://a did:plc:a", ["00"])
        assert Journal().doubtful("https://a did:plc:a", "00") is None

    @pytest.mark.parametrize("damage", ["file", "folder", "garbage"])
    def test_saves_work_only(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, damage: str
    ) -> None:
        """Where it cannot be kept, nothing is remembered and nothing fails."""
        place: Any = tmp_path / "data"
        if damage == "file":
            place.write_text("not a folder")
        else:
            place.mkdir()
        if damage == "folder":
            (place / "sent.db").mkdir()
        elif damage == "garbage":
            (place / "sent.db").write_bytes(b"garbage" * 1000)
        monkeypatch.setenv("ATDATA_DATA_DIR", str(place))
        journal = Journal()
        journal.add("https://a did:plc:a", ShardInfo("at://x", sha256="00"))
        assert journal.find("https://a did:plc:a", "00") is None
        journal.forget("https://a did:plc:a", ["00"])

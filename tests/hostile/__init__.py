"""What strangers might send: a corpus of small files, and what they must not achieve."""

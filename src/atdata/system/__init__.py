"""The operating system: files, folders, locks, and what a fork does to them."""

"""What the operating system gives: files, folders, locks, and what a fork does to them."""

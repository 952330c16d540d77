"""One file each: how a package is used to write and to read the same samples."""

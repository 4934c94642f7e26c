"""Records and their bytes (docs/format.md). Without I/O: nothing is opened, read or written."""

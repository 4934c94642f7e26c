"""Records and their bytes (docs/format.md). No I/O: nothing here opens, reads or writes anything."""

"""Remotes: what lies in a bucket, how it is read and written. Knows objects and references.

The only package that imports obstore. Synchronous; parallel by a bounded pool of threads. Knows no
repository: what is to travel is decided above (`vfs.sync`). Bytes: docs/remote-format.md.
"""

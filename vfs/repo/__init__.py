"""Versioning: trees, blobs, commits, revisions. Synchronous; knows no FUSE."""

"""Versioning: trees, blobs, commits, revisions. Synchronous; knows no FUSE and no thread but the store's."""

"""The store: verified objects, references and inode numbers in one LMDB environment.

The only package that imports lmdb and zstandard. Synchronous. Knows bytes and ids, and of the
records in `vfs.model` no more than what a tree leaf says of inode numbers.
"""

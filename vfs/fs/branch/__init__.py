"""Writable branches: an overlay of changes over the tree of a commit. Knows no pyfuse3, no trio."""

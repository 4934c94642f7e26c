"""The FUSE adapter: the only package that imports pyfuse3, and the only one that knows errnos."""

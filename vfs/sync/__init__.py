"""Push, fetch, pull and clone: what has to travel between a repository and a remote."""

"""What a mount shows, as POSIX sees it. Knows no pyfuse3; errors are facts, not errnos."""

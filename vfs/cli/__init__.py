"""The command line: one module for each group of commands. All that talks to a terminal."""

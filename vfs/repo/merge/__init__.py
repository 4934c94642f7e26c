"""Merging: of two versions into one, of one version's changes into a branch, of paths.

- `bases`: which versions two lines have in common
- `fields`: one entry, three-way
- `threeway`: two trees that were made from a third
- `moves`: renames of one side, played on the other
- `conflicts`: what can't be merged, and whose side is taken
- `planting`: a tree with entries put at paths, from the bottom up
- `landing`: the new version of the branch, in one transaction
- `api`: the calls
"""

from vfs.repo.merge.api import Order, Outcome, Source, cherry_pick, merge, restore, revert

__all__ = ["Order", "Outcome", "Source", "cherry_pick", "merge", "restore", "revert"]

"""Commands that make versions from versions, and the record of it.

- `inputs`: exact versions that are shown to a command
- `environment`: what of the environment a command gets, what is recorded; facts about the machine
- `command`: the process, its output and its signals
- `guard`: what ends commands whose runner is killed, with all that they started
- `containers`: ending those of podman and docker
- `logs`: what it wrote, in the store
- `places`: the directory of a run, what is mounted there, what killed runs left
- `output`: the branch that a run writes to, and how it gets into its target
- `record`: the provenance of a version that a run made (docs/provenance.md)
- `running`: the calls `run` and `rerun`
- `lineage`: which versions something was made from, and what was made from it
"""

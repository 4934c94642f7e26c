"""Pipelines: commands that are run on what is new, so that their output follows their inputs.

- `tables`: reading keys of a specification, with errors that say where
- `spec`: what a pipeline is, and its specification in TOML, YAML or JSON
- `glob`: patterns that cut a version into pieces
- `datums`: the pieces that a command is run on, and their ids
- `table`: which datums are done, and what each wrote, as a version
- `collect`: what a datum wrote, on its way into the store
- `output`: the outputs of datums put together in one tree
- `plan`: what a job has to run, and what it takes over
- `executor`, `sandbox`, `tasks`: where commands run, and what they see
- `dask`: where commands run, on a cluster
- `orders`, `workermounts`: what workers of other machines do
- `elsewhere`: the job's side of these
- `parcels`: what a datum wrote, on its way back
- `work`: running the datums of a job
- `job`, `committing`: a job from its plan to its commit
- `records`: what is known of pipelines and their jobs
- `chain`: which pipelines lead to which
- `cron`, `triggers`: when a pipeline is due
- `service`: runs what is due
"""

"""What we keep: declared tables, provenance, and run folders that survive being killed. No torch in this room.

schema/       which tables exist: columns, units, keys; one file per study
attention.py  attention of shown prompts in eight bits, and how much of it is kept
proof.py      what a sweep proved about itself, as a row
job.py        the unit of work and of resuming
parquet.py    files that are either whole or absent, and the same bytes for the same rows
journal.py    jobs.jsonl: when each job ran and why one failed
lock.py       one writer per run folder
provenance.py what was asked, of which files, with which versions; the identity of a run
store.py      the run folder
"""

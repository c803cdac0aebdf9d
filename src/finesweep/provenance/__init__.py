"""Records what a run was made of and with, and what came out; docs/provenance.md explains the record."""

from finesweep.provenance.record import FILE, SCHEMA_VERSION, Provenance, collect

__all__ = ["FILE", "SCHEMA_VERSION", "Provenance", "collect"]

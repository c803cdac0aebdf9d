"""What a run was made of and with, and what came out: `provenance.json`, explained in docs/provenance.md."""

from finesweep.provenance.record import FILE, SCHEMA_VERSION, Provenance, collect

__all__ = ["FILE", "SCHEMA_VERSION", "Provenance", "collect"]

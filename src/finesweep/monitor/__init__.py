"""Shows a study to a person: snapshots, tables, events, reports, plots. No result depends on it."""

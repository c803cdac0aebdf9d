"""What only looks at a study: snapshots, tables, events, reports, plots. No result depends on it."""

"""Makes the page of a study, or of several: one HTML file for people. No result depends on it."""

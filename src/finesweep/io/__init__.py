"""Files and network: staged writes, checkpoints, SQLite files, the Hugging Face hub, redaction of secrets."""

"""Runs that are over: made again with a verdict, exported, compared."""

"""The processes that run a study's trials: started, isolated, recovered, stopped and finished here."""

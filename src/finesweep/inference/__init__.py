"""Predicts new rows with a checkpoint, a run or a study.

with find_trained("quickstart", storage, tracking, overrides=()) as trained:
    predictions = predict(trained, NewRows.of_file(Path("new.csv"), trained.config.data, trained.task))
write(predictions, Path("out.csv"))
"""

"""The Python interface: what the commands do, as functions. `finesweep` offers them by name.

config = load_config({"data": "rte", "model": "bert-tiny"})
result = run(config)
study = sweep(["data=rte"], sweep="quickstart")
labels = predict(study, "new.csv")
"""

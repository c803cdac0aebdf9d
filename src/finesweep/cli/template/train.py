"""Trains once, or sweeps, as `finesweep train` does.

A reproduction does without this file, so no code of yours belongs here. A metric of your own is a module
beside it: data.metric=my_metrics:cost data.direction=minimize

python train.py data=mine               # one run
python train.py -m sweep=mine           # the sweep of sweeps/mine.yaml
python train.py --help                  # every choice and every key
"""

from finesweep.cli.train import main

if __name__ == "__main__":
    main(__file__)

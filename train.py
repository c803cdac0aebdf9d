"""Fine-tune once, or sweep.

python train.py data=qnli model=bert-tiny optimizer.learning_rate=1e-4
python train.py -m                      # the quickstart sweep: sweeps/quickstart.yaml
python train.py -m sweep=qnli           # any other: sweeps/NAME.yaml
"""

from finesweep.cli.train import main

if __name__ == "__main__":
    main(__file__)

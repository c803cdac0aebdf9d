"""Names of the tags on MLflow runs, and the kinds of runs; no other file spells them. Imports nothing."""

# The ends of the names of metrics that are times. Equal runs do not take equally long.
TIMES = ("_runtime", "_per_second", "_preparation_time")


class Kind:
    """Values of `Tag.KIND`."""

    RUN = "run"  # a training that a person started alone
    STUDY = "study"  # the parent of a study's trials
    TRIAL = "trial"
    REPRODUCTION = "reproduction"
    RESEED = "reseed"  # a run made again with another seed


class Tag:
    KIND = "finesweep.kind"
    STATE = "finesweep.state"  # a `hooks.RunState`; missing while the run is open
    ERROR = "finesweep.error"
    # The process that writes the run.
    HOST = "finesweep.host"
    PROCESS = "finesweep.process"  # a `machine.process.ProcessIdentity`
    MACHINE = "finesweep.machine"  # hash of the id that the operating system keeps over reboots
    # The worker's place on its machine.
    WORKER = "finesweep.worker"  # its index
    GPU = "finesweep.gpu"
    CORES = "finesweep.cores"
    # A trial, and its lineage by trial numbers.
    STUDY = "finesweep.study"
    TRIAL = "finesweep.trial"
    RETRY_OF = "finesweep.retry_of"
    CONTINUES = "finesweep.continues"  # the paused trial that it goes on from
    CONFIRMS = "finesweep.confirms"
    REUSED_OF = "finesweep.reused_of"
    # A study's winner, on the parent run.
    BEST_TRIAL = "finesweep.best_trial"
    BEST_RUN_ID = "finesweep.best_run_id"
    # A run that was made again.
    REPRODUCES = "finesweep.reproduces"
    VERDICT = "finesweep.verdict"
    CAUSE = "finesweep.cause"
    NOTED = "finesweep.note_sha256"  # of the description as finesweep wrote it last
    RESTORED = "finesweep.restored"  # when a run was restored that somebody had deleted: seconds since 1970
    # Provenance.
    DEVICE = "finesweep.device"
    THREADS = "finesweep.threads"
    CPU_CAPABILITY = "finesweep.cpu_capability"
    TORCH = "finesweep.torch"
    DATA_SHA256 = "finesweep.data_sha256"
    WEIGHTS_SHA256 = "finesweep.weights_sha256"
    # MLflow's own, which its UI reads.
    PARENT_RUN_ID = "mlflow.parentRunId"
    USER = "mlflow.user"
    SOURCE_NAME = "mlflow.source.name"
    GIT_COMMIT = "mlflow.source.git.commit"
    NOTE = "mlflow.note.content"  # of a run or an experiment: its description, in Markdown
    CONTEXT = "mlflow.data.context"  # of a data set that a run reads: what it is read for
    EXPERIMENT_KIND = "mlflow.experimentKind"  # of an experiment
    STORE = "finesweep.store"  # of an experiment: the folder of the store's SQLite file


OWN_PREFIX = "finesweep."

"""Series that rules read and that others make: kube-state-metrics, of the objects of Kubernetes. Where nobody serves
them (compose.yaml, one machine), the alerts on them are silent.
"""

from dataclasses import dataclass

SOURCE = "https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics/workload"


@dataclass(frozen=True)
class Series:
    """A series as its maker documents it."""

    name: str
    labels: tuple[str, ...]
    meaning: str


JOB_FAILED = Series("kube_job_failed", ("namespace", "job_name", "condition"), "1: the Job has failed for good.")
JOB_ACTIVE = Series("kube_job_status_active", ("namespace", "job_name"), "How many pods of the Job run, or wait to.")
CRONJOB_SUCCEEDED = Series(
    "kube_cronjob_status_last_successful_time",
    ("namespace", "cronjob"),
    "When a Job of the CronJob has last succeeded, in seconds since 1970; missing if none ever has.",
)
CRONJOB_CREATED = Series("kube_cronjob_created", ("namespace", "cronjob"), "When the CronJob was made, likewise.")
ALL = (JOB_FAILED, JOB_ACTIVE, CRONJOB_SUCCEEDED, CRONJOB_CREATED)

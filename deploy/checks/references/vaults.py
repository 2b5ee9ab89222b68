"""Every key of a ConfigMap or Secret that is used is there, none is there in vain, and Secrets have their readers."""

from collections.abc import Iterator
from dataclasses import dataclass

from deploy.checks.resources import NAME, Overlay, Resource, Workload, title

# Which workloads may see a Secret. Any other Secret `<workload>-...` is that workload's own, and its jobs'.
_READERS = {
    "trust": {"accounts", "partners", "logistics", "rewards"},
    "tokens": {"gateway"},
    "operator": {"partners"},
    "mongodb-keyfile": {"mongodb"},
    "mongodb-passwords": {"mongodb", "mongodb-init"},
}
_JOBS = ("-invariants", "-migrate")
# By this label Grafana finds the ConfigMaps that it reads.
_DASHBOARDS = "grafana_dashboard"


@dataclass(frozen=True)
class _Use:
    """A workload uses a key (None: all keys) of a ConfigMap or Secret."""

    workload: Workload
    kind: str
    name: str
    key: str | None


def errors(overlay: Overlay) -> Iterator[str]:
    """What is used and is not there, what is there and not used, and who sees what is not theirs."""
    uses = [use for workload in overlay.workloads for use in _uses(workload)]
    for use in uses:
        keys = overlay.keys(use.kind, use.name)
        if keys is None:
            yield f"{use.workload.title} uses {use.kind} {use.name}, which does not exist"
        elif use.key is not None and use.key not in keys:
            yield f"{use.workload.title} uses key {use.key} of {use.kind} {use.name}, which has only {sorted(keys)}"
        if use.kind == "Secret" and not _may_read(use.workload.labels[NAME], use.name):
            yield f"{use.workload.title} sees Secret {use.name}, which is not for it"
    used = {(use.kind, use.name) for use in uses}
    for resource in overlay.resources:
        if (kept := _kept(resource)) is not None and kept not in used:
            yield f"{title(resource)} is used by nobody"


def _may_read(workload: str, secret: str) -> bool:
    readers = _READERS.get(secret)
    if readers is not None:
        return workload in readers
    owner = next((workload.removesuffix(job) for job in _JOBS if workload.endswith(job)), workload)
    return secret.startswith(f"{owner}-")


def _kept(resource: Resource) -> tuple[str, str] | None:
    if _DASHBOARDS in resource["metadata"].get("labels", {}):
        return None
    if resource["kind"] in ("ConfigMap", "Secret"):
        return resource["kind"], resource["metadata"]["name"]
    if resource["kind"] == "Certificate" and not resource["spec"].get("isCA"):
        return "Secret", resource["spec"]["secretName"]
    if resource["kind"] == "ExternalSecret":
        return "Secret", resource["spec"]["target"]["name"]
    return None


def _uses(workload: Workload) -> Iterator[_Use]:
    for container in workload.all_containers:
        for source in container.spec.get("envFrom", ()):
            for reference, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
                if reference in source:
                    yield _Use(workload, kind, source[reference]["name"], None)
        for variable in container.spec.get("env", ()):
            origin = variable.get("valueFrom", {})
            for reference, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
                if reference in origin:
                    yield _Use(workload, kind, origin[reference]["name"], origin[reference]["key"])
    for volume in workload.pod.get("volumes", ()):
        for source in (volume, *volume.get("projected", {}).get("sources", ())):
            for field, kind in (("configMap", "ConfigMap"), ("secret", "Secret")):
                if field in source and not source[field].get("optional"):
                    name = source[field].get("name") or source[field].get("secretName")
                    for key in [item["key"] for item in source[field].get("items", ())] or [None]:
                        yield _Use(workload, kind, name, key)

"""Pods start and stop in step with what the processes do, and are as restricted as their namespace demands."""

from collections.abc import Iterator

from deploy.checks.references.settings import settings_of, values_of
from deploy.checks.resources import Container, Overlay, Workload
from services.shared.telemetry import FAREWELL_SECONDS

# After its grace a process closes its connections and sends its last traces.
_CLOSING_SECONDS = 5
_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")


def errors(overlay: Overlay) -> Iterator[str]:
    """Graces that do not fit, probes that are missing, pods that the namespace would refuse."""
    for workload, container in overlay.processes():
        yield from _of_stop(workload, container, overlay)
        yield from _of_probes(workload, container)
        yield from _of_doors(workload, container, overlay)
    for workload in overlay.workloads:
        yield from _of_security(workload)


def _of_stop(workload: Workload, container: Container, overlay: Overlay) -> Iterator[str]:
    pause = container.spec.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pause < 1:
        yield f"{workload.title} has no preStop pause: calls would still come when it no longer answers"
    settings = settings_of(container)
    if settings is None:
        return
    try:
        default = settings.model_fields["stop_grace_seconds"].default
        grace = float(values_of(container, overlay).get("ALLIANCE_STOP_GRACE_SECONDS") or default)
    except ValueError:
        return  # The check of settings tells of it.
    needed = pause + grace + _CLOSING_SECONDS + FAREWELL_SECONDS
    granted = workload.pod.get("terminationGracePeriodSeconds", 30)
    if granted < needed:
        yield f"{workload.title} is killed after {granted} s, its stop may take {needed:.0f} s"


def _of_probes(workload: Workload, container: Container) -> Iterator[str]:
    asked = {}
    for name in _PROBES:
        probe = container.spec.get(name)
        if probe is None:
            yield f"{workload.title} has no {name}"
        else:
            grpc, http = probe.get("grpc", {}), probe.get("httpGet", {})
            asked[name] = grpc.get("service", "") if grpc else http.get("path")
    if "livenessProbe" in asked and asked.get("livenessProbe") == asked.get("readinessProbe"):
        yield f"{workload.title}: livenessProbe and readinessProbe ask the same; an outage of another would restart it"


def _of_doors(workload: Workload, container: Container, overlay: Overlay) -> Iterator[str]:
    """Whoever takes all connections of the port for callers must not have the process restarted."""
    door = str(values_of(container, overlay).get("ALLIANCE_LISTEN", "")).rpartition(":")[2]
    for name in _PROBES:
        probe = container.spec.get(name, {})
        asked = (probe.get("grpc") or probe.get("httpGet") or {}).get("port")
        if asked is not None and str(container.port(asked)) == door:
            yield f"{workload.title}: {name} asks port {asked}, where callers come; give it one of its own"


def _of_security(workload: Workload) -> Iterator[str]:
    """The `restricted` Pod Security Standard, and a read-only root with no token of the cluster."""
    pod = workload.pod.get("securityContext", {})
    if pod.get("runAsNonRoot") is not True or not pod.get("runAsUser"):
        yield f"{workload.title} may run as root"
    if pod.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield f"{workload.title} has no seccomp profile"
    if workload.pod.get("automountServiceAccountToken") is not False:
        yield f"{workload.title} gets a token of the cluster, which it has no use for"
    for container in workload.all_containers:
        own = container.spec.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"{workload.title}: {container.name} may gain privileges"
        if own.get("readOnlyRootFilesystem") is not True:
            yield f"{workload.title}: {container.name} can write to its root"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{workload.title}: {container.name} keeps capabilities"

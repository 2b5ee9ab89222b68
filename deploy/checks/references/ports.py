"""Every port that is named, probed, listened on or called is one that somebody has."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from deploy.checks.references.settings import values_of
from deploy.checks.resources import Container, Overlay, Resource, Workload, title
from services.shared.server import ALIVE

_PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
# What a process's health service knows by name; "" is the process as a whole.
_HEALTH_NAMES = ("", ALIVE)


def errors(overlay: Overlay) -> Iterator[str]:
    """Ports of Services, probes, listeners and targets that lead nowhere."""
    for service in overlay.of("Service"):
        yield from _of_service(service, overlay)
    for workload in overlay.workloads:
        for container in workload.containers:
            yield from _of_probes(workload, container)
    for workload, container in overlay.processes():
        yield from _of_process(workload, container, overlay)
    for monitor in overlay.of("PodMonitor"):
        yield from _of_monitor(monitor, overlay)
    for workload in overlay.workloads:
        yield from _of_members(workload, overlay)


def _of_service(service: Resource, overlay: Overlay) -> Iterator[str]:
    for workload in overlay.selected({"matchLabels": service["spec"]["selector"]}):
        for port in service["spec"]["ports"]:
            target = port.get("targetPort", port["port"])
            numbers = {container.port(target) for container in workload.containers} - {None}
            if not numbers:
                yield f"{title(service)}: {workload.title} has no port {target}"
            elif service["spec"].get("clusterIP") == "None" and numbers != {port["port"]}:
                yield f"{title(service)} is headless, so its port {port['port']} must be the container's, {numbers}"


def _of_monitor(monitor: Resource, overlay: Overlay) -> Iterator[str]:
    """Prometheus reads every process, at a port that it has and where it tells its metrics."""
    seen = overlay.selected(monitor["spec"]["selector"])
    for workload, container in overlay.processes():
        if workload not in seen:
            yield f"{title(monitor)}: its selector does not match {workload.title}"
        told = str(values_of(container, overlay).get("ALLIANCE_METRICS_LISTEN")).rpartition(":")[2]
        for endpoint in monitor["spec"]["podMetricsEndpoints"]:
            if str(container.port(endpoint["port"])) != told:
                where = f"port {endpoint['port']} of {workload.title}"
                yield f"{title(monitor)} reads {where}, which tells its metrics at {told}"


def _of_probes(workload: Workload, container: Container) -> Iterator[str]:
    for name in _PROBES:
        probe = container.spec.get(name, {})
        for way in ("httpGet", "tcpSocket", "grpc"):
            if way in probe and container.port(probe[way]["port"]) is None:
                yield f"{workload.title}: {name} asks port {probe[way]['port']}, which {container.name} does not have"
        if probe.get("grpc", {}).get("service", "") not in _HEALTH_NAMES:
            yield f"{workload.title}: {name} asks for {probe['grpc']['service']}, which no health service knows"


def _of_process(workload: Workload, container: Container, overlay: Overlay) -> Iterator[str]:
    values = values_of(container, overlay)
    for variable, target in values.items():
        if variable.startswith("ALLIANCE_") and variable.endswith("LISTEN"):
            host, _, port = str(target).rpartition(":")
            if host != "0.0.0.0" or container.port(int(port)) is None:  # noqa: S104
                yield f"{workload.title} listens on {host}:{port}, which is no port that others can reach"
        if variable.startswith("ALLIANCE_") and variable.endswith("_TARGET"):
            yield from _of_target(f"{workload.title}: {variable}", str(target), overlay)


def _of_target(what: str, target: str, overlay: Overlay) -> Iterator[str]:
    host, _, port = target.removeprefix("dns:///").partition(":")
    service = overlay.get("Service", host)
    if service is None or port not in {str(each["port"]) for each in service["spec"]["ports"]}:
        yield f"{what} is {target}, where nobody listens"
    elif service["spec"].get("clusterIP") != "None":
        yield f"{what}: Service {host} is not headless, so a client would call one pod alone"


def _of_members(workload: Workload, overlay: Overlay) -> Iterator[str]:
    """The members that the database's init Job names are the pods that the StatefulSet makes."""
    for container in workload.containers:
        named = values_of(container, overlay).get("MONGODB_MEMBERS")
        if named is None:
            continue
        database = overlay.get("StatefulSet", "mongodb")
        replicas = database["spec"]["replicas"] if database else 0
        members = [urlsplit(f"//mongodb-{number}.mongodb:27017").netloc for number in range(replicas)]
        if str(named).split(",") != members:
            yield f"{workload.title}: MONGODB_MEMBERS is {named}, the StatefulSet makes {','.join(members)}"

"""Every name by which one resource refers to another is the name of something that is there."""

from collections import Counter
from collections.abc import Iterator

from deploy.checks.resources import Overlay, Resource, Workload, title
from services.shared.metrics import catalogue
from services.shared.metrics.definition import Kind

_CLUSTER_WIDE = ("Namespace",)
_GAUGES = frozenset(
    each.prometheus_name for each in catalogue.definitions(catalogue) if each.kind is Kind.GAUGE and not each.attributes
)


def errors(overlay: Overlay) -> Iterator[str]:
    """What refers to nothing, what is there twice, and what is in another namespace than the rest."""
    yield from _identities(overlay)
    for workload in overlay.workloads:
        yield from _of_workload(workload, overlay)
    for scaler in overlay.of("HorizontalPodAutoscaler"):
        yield from _of_scaler(scaler, overlay)
    for budget in overlay.of("PodDisruptionBudget"):
        yield from _of_budget(budget, overlay)
    for kind in ("HTTPRoute", "GRPCRoute"):
        for route in overlay.of(kind):
            yield from _of_route(route, overlay)


def _identities(overlay: Overlay) -> Iterator[str]:
    for name, count in Counter(title(resource) for resource in overlay.resources).items():
        if count > 1:
            yield f"{name} is there {count} times"
    namespaces = {resource["metadata"]["name"] for resource in overlay.of("Namespace")}
    for resource in overlay.resources:
        namespace = resource["metadata"].get("namespace")
        if resource["kind"] not in _CLUSTER_WIDE and namespace not in namespaces:
            yield f"{title(resource)} is in namespace {namespace}, which is not among the resources"


def _of_workload(workload: Workload, overlay: Overlay) -> Iterator[str]:
    account = workload.pod.get("serviceAccountName")
    if account is None or overlay.get("ServiceAccount", account) is None:
        yield f"{workload.title} runs as ServiceAccount {account}, which does not exist"
    templates = workload.resource["spec"].get("volumeClaimTemplates", ())
    volumes = {str(volume["name"]) for volume in workload.pod.get("volumes", ())}
    mountable = volumes | {str(template["metadata"]["name"]) for template in templates}
    used: set[str] = set()
    for container in workload.all_containers:
        for mount in container.spec.get("volumeMounts", ()):
            used.add(mount["name"])
            if mount["name"] not in mountable:
                yield f"{workload.title} mounts volume {mount['name']}, which it does not have"
    for name in sorted(mountable - used):
        yield f"{workload.title} has volume {name} and mounts it nowhere"
    for volume in workload.pod.get("volumes", ()):
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim is not None and overlay.get("PersistentVolumeClaim", claim) is None:
            yield f"{workload.title} uses PersistentVolumeClaim {claim}, which does not exist"
    if workload.resource["kind"] == "StatefulSet":
        service = overlay.get("Service", workload.resource["spec"]["serviceName"])
        if service is None or service["spec"].get("clusterIP") != "None":
            yield f"{workload.title} needs its serviceName to be that of a headless Service"


def _of_scaler(scaler: Resource, overlay: Overlay) -> Iterator[str]:
    spec = scaler["spec"]
    target = overlay.get(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
    if target is None:
        yield f"{title(scaler)} scales {spec['scaleTargetRef']['name']}, which does not exist"
        return
    if "replicas" in target["spec"]:
        yield f"{title(scaler)} and spec.replicas of {title(target)} contradict each other; leave replicas out"
    if spec["minReplicas"] > spec["maxReplicas"]:
        yield f"{title(scaler)} has minReplicas above maxReplicas"
    for metric in spec["metrics"]:
        if metric["type"] == "Pods" and metric["pods"]["metric"]["name"] not in _GAUGES:
            yield f"{title(scaler)} measures {metric['pods']['metric']['name']}, which is no gauge of a process"
    for workload in overlay.workloads:
        if workload.resource is target:
            for container in workload.containers:
                if "cpu" not in container.spec.get("resources", {}).get("requests", {}):
                    yield f"{title(scaler)} measures CPU against a request that {workload.title} does not make"


def _of_budget(budget: Resource, overlay: Overlay) -> Iterator[str]:
    for workload in overlay.selected(budget["spec"]["selector"]):
        scaler = overlay.get("HorizontalPodAutoscaler", workload.name)
        least = scaler["spec"]["minReplicas"] if scaler else workload.resource["spec"].get("replicas", 1)
        if least > 1 and least <= budget["spec"].get("maxUnavailable", 0):
            yield f"{title(budget)} allows all {least} pods of {workload.title} to be away at once"


def _of_route(route: Resource, overlay: Overlay) -> Iterator[str]:
    hostnames = set(route["spec"].get("hostnames", ()))
    for parent in route["spec"]["parentRefs"]:
        gateway = overlay.get("Gateway", parent["name"])
        listeners = {each["name"]: each for each in gateway["spec"]["listeners"]} if gateway else {}
        listener = listeners.get(parent.get("sectionName"))
        if listener is None:
            yield f"{title(route)} is attached to {parent['name']}/{parent.get('sectionName')}, which does not exist"
        elif hostnames != {listener["hostname"]} - {None} if "hostname" in listener else hostnames:
            yield f"{title(route)} is for {sorted(hostnames)}, its listener for {listener.get('hostname')}"
    for rule in route["spec"]["rules"]:
        for backend in rule.get("backendRefs", ()):
            service = overlay.get("Service", backend["name"])
            ports = {port["port"] for port in service["spec"]["ports"]} if service else set()
            if backend["port"] not in ports:
                yield f"{title(route)} leads to {backend['name']}:{backend['port']}, which does not exist"

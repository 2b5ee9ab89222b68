"""The resources of one rendered overlay, and the questions that the checks ask about them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Resource = Mapping[str, Any]
Labels = Mapping[str, str]

NAME = "app.kubernetes.io/name"

# Where the pod is, within each kind that makes pods.
_POD_TEMPLATES: Mapping[str, Sequence[str]] = {
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def title(resource: Resource) -> str:
    """How an error names a resource."""
    return f"{resource['kind']}/{resource['metadata']['name']}"


@dataclass(frozen=True)
class Container:
    """A container of a pod."""

    spec: Resource

    @property
    def name(self) -> str:
        return str(self.spec["name"])

    @property
    def ports(self) -> Mapping[str, int]:
        """The ports that it declares, by name; one without a name by its number."""
        declared: Sequence[Resource] = self.spec.get("ports", ())
        return {str(port.get("name", port["containerPort"])): int(port["containerPort"]) for port in declared}

    def port(self, name_or_number: object) -> int | None:
        """The number of a port that it declares; None if it declares no such port."""
        if isinstance(name_or_number, int):
            return name_or_number if name_or_number in self.ports.values() else None
        return self.ports.get(str(name_or_number))


@dataclass(frozen=True)
class Workload:
    """What makes pods: a Deployment, StatefulSet, Job or CronJob."""

    resource: Resource
    template: Resource

    @property
    def title(self) -> str:
        return title(self.resource)

    @property
    def name(self) -> str:
        return str(self.resource["metadata"]["name"])

    @property
    def labels(self) -> Labels:
        """Of its pods."""
        return dict(self.template.get("metadata", {}).get("labels", {}))

    @property
    def pod(self) -> Resource:
        return dict(self.template["spec"])

    @property
    def containers(self) -> list[Container]:
        """Those that run as long as the pod does."""
        return [Container(spec) for spec in self.pod["containers"]]

    @property
    def all_containers(self) -> list[Container]:
        """Those that prepare the pod, too."""
        return [*(Container(spec) for spec in self.pod.get("initContainers", ())), *self.containers]

    @property
    def process(self) -> Container | None:
        """The container that runs one of the alliance's processes, if it has one."""
        return next((c for c in self.containers if c.name == "process"), None)


class Overlay:
    """All resources of one environment."""

    def __init__(self, name: str, resources: Sequence[Resource]) -> None:
        self.name = name
        self.resources = list(resources)
        self.workloads = [
            Workload(resource, _follow(resource, _POD_TEMPLATES[resource["kind"]]))
            for resource in self.resources
            if resource["kind"] in _POD_TEMPLATES
        ]

    def of(self, kind: str) -> Iterator[Resource]:
        """All of a kind."""
        return (resource for resource in self.resources if resource["kind"] == kind)

    def get(self, kind: str, name: str) -> Resource | None:
        """The one of that kind and name."""
        return next((resource for resource in self.of(kind) if resource["metadata"]["name"] == name), None)

    def processes(self) -> Iterator[tuple[Workload, Container]]:
        """The alliance's own workloads, each with the container in which its process runs."""
        for workload in self.workloads:
            if container := workload.process:
                yield workload, container

    def selected(self, selector: Resource) -> list[Workload]:
        """The workloads whose pods a label selector matches."""
        return [workload for workload in self.workloads if matches(selector, workload.labels)]

    def keys(self, kind: str, name: str) -> set[str] | None:
        """The keys of a ConfigMap or Secret, wherever the Secret comes from; None if there is no such thing."""
        if found := self.get(kind, name):
            return {*found.get("data", {}), *found.get("stringData", {}), *found.get("binaryData", {})}
        if kind == "Secret":
            if any(certificate["spec"]["secretName"] == name for certificate in self.of("Certificate")):
                return {"tls.crt", "tls.key", "ca.crt"}
            for external in self.of("ExternalSecret"):
                if external["spec"]["target"]["name"] == name:
                    return {entry["secretKey"] for entry in external["spec"]["data"]}
        return None


def matches(selector: Resource, labels: Labels) -> bool:
    """Whether a label selector (matchLabels, matchExpressions) matches; an empty one matches everything."""
    if any(labels.get(key) != value for key, value in selector.get("matchLabels", {}).items()):
        return False
    return all(_holds(expression, labels) for expression in selector.get("matchExpressions", ()))


def _holds(expression: Resource, labels: Labels) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values", ())
    match operator:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
    raise ValueError(f"{operator} is no operator of a label selector")


def _follow(resource: Resource, path: Sequence[str]) -> Resource:
    for step in path:
        resource = resource[step]
    return resource

"""Who can reach whom is who may call whom: NetworkPolicies allow what the protos' access rules do, and no more."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from google.protobuf.descriptor_pool import Default

from alliance.accounts.v1 import accounts_pb2  # noqa: F401  (makes its descriptors known, as the next ones do)
from alliance.logistics.v1 import logistics_pb2  # noqa: F401
from alliance.partners.v1 import partners_pb2  # noqa: F401
from alliance.rewards.v1 import ledger_pb2, rewards_pb2  # noqa: F401
from deploy.checks.references.settings import values_of
from deploy.checks.resources import NAME, Labels, Overlay, Resource, Workload, matches
from deploy.credentials import SERVICES
from services.shared.access import access_rule
from services.shared.identity import GATEWAY, CallerKind

# What a process answers for besides the service that has its name.
_MORE_SERVICES = {"rewards": ("Ledger",)}
# Places outside of the alliance's namespace, by the label that Kubernetes gives every namespace.
_NAMESPACE = "kubernetes.io/metadata.name"
DNS, TELEMETRY, INGRESS = "kube-system", "observability", "ingress"
# The port that Prometheus reads, and nobody else.
METRICS = "metrics"
# On a job: the process by whose key it calls, and whose access it has.
_CALLS_AS = "alliance/calls-as"


@dataclass(frozen=True)
class Reach:
    """`source` may connect to `target` on `port`. Either is the name of a pod, or `namespace:...`, or `cidr:...`."""

    source: str
    target: str
    port: int

    def __str__(self) -> str:
        return f"{self.source} to {self.target}:{self.port}"


@cache
def callers() -> Mapping[str, frozenset[str]]:
    """By service, the processes that its access rules let in; a person or brand comes through the gateway."""
    found: dict[str, frozenset[str]] = {}
    for service in SERVICES:
        names: set[str] = set()
        for _, kinds, services in _methods(service):
            names |= services
            if kinds - {CallerKind.SERVICE, CallerKind.MACHINE}:
                names.add(GATEWAY)
        found[service] = frozenset(names)
    return found


@cache
def public_methods() -> frozenset[str]:
    """The methods that machines call from outside, as `service/method`."""
    return frozenset(
        method.removeprefix("/")
        for service in SERVICES
        for method, kinds, _ in _methods(service)
        if CallerKind.MACHINE in kinds
    )


def _methods(service: str) -> Iterator[tuple[str, frozenset[CallerKind], frozenset[str]]]:
    for title in (service.capitalize(), *_MORE_SERVICES.get(service, ())):
        full_name = f"alliance.{service}.v1.{title}Service"
        for method in Default().FindServiceByName(full_name).methods:
            name = f"/{full_name}/{method.name}"
            yield name, *access_rule(name)


def errors(overlay: Overlay) -> Iterator[str]:
    """Connections that are allowed and should not be, or should be and are not; methods that are wrongly public."""
    expected, actual = set(_expected(overlay)), set(_actual(overlay))
    for reach in sorted(expected - actual, key=str):
        yield f"NetworkPolicy: {reach} is not allowed, and is needed"
    for reach in sorted(actual - expected, key=str):
        yield f"NetworkPolicy: {reach} is allowed, and nobody needs it"
    routed = {
        f"{match['method']['service']}/{match['method']['method']}"
        for route in overlay.of("GRPCRoute")
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    }
    if _has_ingress(overlay) and routed != public_methods():
        yield f"GRPCRoute: {sorted(routed)} are public, {sorted(public_methods())} should be"


def _expected(overlay: Overlay) -> Iterator[Reach]:
    here = {workload.labels[NAME]: workload for workload in overlay.workloads}
    ports = {name: _calling_port(each) for name, each in here.items()}
    for name, workload in here.items():
        yield Reach(name, f"namespace:{DNS}", 53)
        values = {key: value for c in workload.containers for key, value in values_of(c, overlay).items()}
        if workload.process is not None:
            endpoint = urlsplit(values.get("OTEL_EXPORTER_OTLP_ENDPOINT") or f"http://any.{TELEMETRY}:4317")
            yield Reach(name, f"namespace:{str(endpoint.hostname).split('.')[1]}", endpoint.port or 0)
            yield from (Reach(f"namespace:{TELEMETRY}", name, p) for p in [workload.process.port(METRICS)] if p)
        if "MONGODB_URI" in values or "MONGODB_MEMBERS" in values or name == "mongodb":
            yield from ([Reach(name, "mongodb", 27017)] if "mongodb" in here else _outside(overlay, name))
    for service, allowed in callers().items():
        yield from (Reach(caller, service, ports[service]) for caller in allowed)
        jobs = (name for name, workload in here.items() if workload.labels.get(_CALLS_AS) in allowed)
        yield from (Reach(job, service, ports[service]) for job in jobs)
    if _has_ingress(overlay):
        for route in (*overlay.of("HTTPRoute"), *overlay.of("GRPCRoute")):
            for rule in route["spec"]["rules"]:
                for backend in rule.get("backendRefs", ()):
                    yield Reach(f"namespace:{INGRESS}", backend["name"], _behind(overlay, backend, here))


def _behind(overlay: Overlay, backend: Resource, here: Mapping[str, Workload]) -> int:
    """The port of the pods to which a route leads; 0 if there is none."""
    service = overlay.get("Service", backend["name"])
    targets = {port["port"]: port["targetPort"] for port in service["spec"]["ports"]} if service else {}
    containers = here[backend["name"]].containers if backend["name"] in here else ()
    return next((port for c in containers if (port := c.port(targets.get(backend["port"])))), 0)


def _calling_port(workload: Workload) -> int:
    """The one at which others call it; 0 if it has none."""
    return next((port for name, port in workload.containers[0].ports.items() if name != METRICS), 0)


def _outside(overlay: Overlay, name: str) -> Iterator[Reach]:
    """A database outside of the cluster: whatever addresses the policy `to-mongodb` has, on MongoDB's port alone."""
    policy = overlay.get("NetworkPolicy", "to-mongodb")
    for rule in policy["spec"]["egress"] if policy else ():
        for peer in rule["to"]:
            yield Reach(name, f"cidr:{peer['ipBlock']['cidr']}", 27017)


def _has_ingress(overlay: Overlay) -> bool:
    return next(overlay.of("Gateway"), None) is not None


def _actual(overlay: Overlay) -> Iterator[Reach]:
    """What the policies allow. Within the namespace both ends must agree; a pod that no policy selects is open."""
    pods = {workload.labels[NAME]: workload for workload in overlay.workloads}
    for source, from_ in pods.items():
        for place, port in _external(overlay, from_, "egress", "to"):
            yield Reach(source, place, port)
        for target, to in pods.items():
            for port in _ports(to):
                if _allows(overlay, from_.labels, "egress", "to", to.labels, port) and _allows(
                    overlay, to.labels, "ingress", "from", from_.labels, port
                ):
                    yield Reach(source, target, port)
    for target, to in pods.items():
        for place, port in _external(overlay, to, "ingress", "from"):
            yield Reach(place, target, port)


def _ports(workload: Workload) -> set[int]:
    return {port for container in workload.containers for port in container.ports.values()}


def _policies(overlay: Overlay, labels: Labels, direction: str) -> list[Resource]:
    return [
        policy["spec"]
        for policy in overlay.of("NetworkPolicy")
        if direction.capitalize() in policy["spec"]["policyTypes"] and matches(policy["spec"]["podSelector"], labels)
    ]


def _allows(overlay: Overlay, subject: Labels, direction: str, side: str, other: Labels, port: int) -> bool:
    policies = _policies(overlay, subject, direction)
    if not policies:
        return True
    return any(
        _covers(rule, port) and (side not in rule or any(_is_peer(peer, other) for peer in rule[side]))
        for policy in policies
        for rule in policy.get(direction, ())
    )


def _covers(rule: Resource, port: int) -> bool:
    return "ports" not in rule or any(each.get("port") in (None, port) for each in rule["ports"])


def _is_peer(peer: Resource, labels: Labels) -> bool:
    # A namespaceSelector that is not empty means another namespace here; none of ours has such a label.
    if "ipBlock" in peer or peer.get("namespaceSelector"):
        return False
    return matches(peer.get("podSelector", {}), labels)


def _external(overlay: Overlay, workload: Workload, direction: str, side: str) -> Iterator[tuple[str, int]]:
    policies = _policies(overlay, workload.labels, direction)
    if not policies:
        yield "anywhere", 0
    for policy in policies:
        for rule in policy.get(direction, ()):
            for port in {int(each["port"]) for each in rule.get("ports", ())} or {0}:
                if side not in rule:
                    yield "anywhere", port
                for peer in rule.get(side, ()):
                    if "ipBlock" in peer:
                        yield f"cidr:{peer['ipBlock']['cidr']}", port
                    elif "namespaceSelector" in peer:
                        names = peer["namespaceSelector"].get("matchLabels", {})
                        yield f"namespace:{names.get(_NAMESPACE, 'any')}", port

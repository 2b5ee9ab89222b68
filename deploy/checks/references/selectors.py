"""Every label selector matches what it is meant for, and nothing besides."""

from collections.abc import Iterator

from deploy.checks.resources import Overlay, Resource, Workload, matches, title


def errors(overlay: Overlay) -> Iterator[str]:
    """Selectors that match nothing, more than one workload, or not the pods of their own."""
    for workload in overlay.workloads:
        yield from _of_workload(workload)
    for service in overlay.of("Service"):
        selected = overlay.selected({"matchLabels": service["spec"]["selector"]})
        yield from _one(f"{title(service)}: its selector", selected)
    for budget in overlay.of("PodDisruptionBudget"):
        selected = overlay.selected(budget["spec"]["selector"])
        yield from _one(f"{title(budget)}: its selector", selected)
    for policy in overlay.of("NetworkPolicy"):
        yield from _of_policy(policy, overlay)


def _one(what: str, selected: list[Workload]) -> Iterator[str]:
    if len(selected) != 1:
        found = ", ".join(workload.title for workload in selected) or "nothing"
        yield f"{what} should match the pods of one workload, and matches {found}"


def _of_workload(workload: Workload) -> Iterator[str]:
    selector = workload.resource["spec"].get("selector")
    if selector is not None and not matches(selector, workload.labels):
        yield f"{workload.title}: its selector does not match the labels of its own pods"
    for constraint in workload.pod.get("topologySpreadConstraints", ()):
        if not matches(constraint["labelSelector"], workload.labels):
            yield f"{workload.title}: a topologySpreadConstraint does not match its own pods"


def _of_policy(policy: Resource, overlay: Overlay) -> Iterator[str]:
    spec = policy["spec"]
    inside = [spec["podSelector"]]
    for rules, side in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(rules, ()):
            # Without a namespaceSelector a peer is in the policy's own namespace.
            peers = [peer for peer in rule.get(side, ()) if "namespaceSelector" not in peer]
            inside += [peer["podSelector"] for peer in peers if "podSelector" in peer]
    for selector in inside:
        if not overlay.selected(selector):
            yield f"{title(policy)}: its selector {selector} matches nothing"
        for expression in selector.get("matchExpressions", ()):
            for value in expression.get("values", ()):
                if all(workload.labels.get(expression["key"]) != value for workload in overlay.workloads):
                    yield f"{title(policy)}: no pod has {expression['key']}={value}"

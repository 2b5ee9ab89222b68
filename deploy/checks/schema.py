"""Each resource against the schema of its kind: an unknown field is an error, and so is an unknown kind."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import jsonschema
import kubernetes_validate
import yaml

from deploy.checks.resources import Resource, title

# The oldest and the newest version of Kubernetes that the manifests are for. The oldest is the one in which the fields
# that they use are all on by default (the preStop sleep, matchLabelKeys, unhealthyPodEvictionPolicy).
VERSIONS = ("1.31", "1.37")

# Kinds that Kubernetes does not know by itself, each with a schema here: the part of the published one that is in use.
_CUSTOM = {
    ("gateway.networking.k8s.io/v1", "Gateway"): "gateway.yaml",
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): "httproute.yaml",
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): "grpcroute.yaml",
    ("gateway.networking.k8s.io/v1", "BackendTLSPolicy"): "backendtlspolicy.yaml",
    ("cert-manager.io/v1", "Certificate"): "certificate.yaml",
    ("cert-manager.io/v1", "Issuer"): "issuer.yaml",
    ("external-secrets.io/v1", "ExternalSecret"): "externalsecret.yaml",
    ("monitoring.coreos.com/v1", "PodMonitor"): "podmonitor.yaml",
    ("monitoring.coreos.com/v1", "PrometheusRule"): "prometheusrule.yaml",
}
_SCHEMAS = Path(__file__).parent / "schemas"


def errors(resources: Sequence[Resource], versions: Sequence[str] = VERSIONS) -> Iterator[str]:
    """What is wrong, one sentence each."""
    for resource in resources:
        custom = _CUSTOM.get((resource["apiVersion"], resource["kind"]))
        if custom is not None:
            yield from _custom_errors(resource, custom)
        else:
            for version in versions:
                yield from _errors(resource, version)


def _errors(resource: Resource, version: str) -> Iterator[str]:
    try:
        kubernetes_validate.validate(dict(resource), version, strict=True)
    except kubernetes_validate.SchemaNotFoundError:
        yield f"{title(resource)}: Kubernetes {version} knows no {resource['kind']} of {resource['apiVersion']}"
    except kubernetes_validate.ValidationError as error:
        yield f"{title(resource)} (Kubernetes {version}): {_sentence(error)}"


def _custom_errors(resource: Resource, name: str) -> Iterator[str]:
    schema = yaml.safe_load((_SCHEMAS / name).read_text())
    for error in jsonschema.Draft202012Validator(schema).iter_errors(resource):
        yield f"{title(resource)}: {_sentence(error)}"


def _sentence(error: jsonschema.ValidationError) -> str:
    path = ".".join(str(step) for step in error.absolute_path) or "the resource"
    return f"{path}: {error.message[:300]}"

"""Each process with TLS has a certificate under the name by which others call it and know it."""

from collections.abc import Iterator

from deploy.checks.references.settings import values_of
from deploy.checks.resources import NAME, Overlay, Resource, Workload, title

_USAGES = {"server auth", "client auth"}


def errors(overlay: Overlay) -> Iterator[str]:
    """Certificates that are missing, that name another process, or that nobody can sign."""
    for workload, container in overlay.processes():
        if values_of(container, overlay).get("ALLIANCE_TLS_CERTIFICATE_FILE"):
            yield from _of_process(workload, overlay)
    for certificate in overlay.of("Certificate"):
        reference = certificate["spec"]["issuerRef"]
        if reference.get("kind") == "Issuer" and overlay.get("Issuer", reference["name"]) is None:
            yield f"{title(certificate)} is to be signed by Issuer {reference['name']}, which does not exist"


def _of_process(workload: Workload, overlay: Overlay) -> Iterator[str]:
    process = workload.labels[NAME]
    mounted = {
        source["secret"]["name"]
        for volume in workload.pod.get("volumes", ())
        for source in volume.get("projected", {}).get("sources", ())
        if "secret" in source
    }
    found = [each for each in overlay.of("Certificate") if each["spec"]["secretName"] in mounted]
    if not found:
        yield f"{workload.title} mounts no certificate that is made here"
    for certificate in found:
        yield from _of_certificate(certificate, process)


def _of_certificate(certificate: Resource, process: str) -> Iterator[str]:
    spec = certificate["spec"]
    if process not in spec.get("dnsNames", ()):
        yield f"{title(certificate)} is not good for the host {process}, under which the others call it"
    if [uri.rpartition("/")[2] for uri in spec.get("uris", ())] != [process]:
        yield f"{title(certificate)} names {spec.get('uris')}, so that calls of {process} would be refused"
    if missing := _USAGES - set(spec.get("usages", ())):
        yield f"{title(certificate)} is not good for {sorted(missing)}"

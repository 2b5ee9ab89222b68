"""The local overlay's Deployments and migration Jobs as podman can start them, with the rest of the manifest as it is.

What podman 4.3 cannot do is done in its place, and nothing else is changed:
- a Job, which podman does not know, becomes the pod that it would make;
- a projected volume of Secrets becomes a folder with the same files;
- Secrets for variables are made beforehand, since podman cannot read back those that it makes from a manifest;
- ports need not be declared, as all pods share one network, that of a namespace without any way out;
  for that reason, too, each tells its metrics at an address of its own;
- probes by gRPC are not run by podman; `probe` asks what they ask.
"""

import copy
import json
import urllib.request
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.checks.resources import Container, Overlay, Workload
from deploy.smoke.image import IMAGE
from deploy.smoke.podman import Podman

_PROBE_SECONDS = 2.0
_STEP = "alliance/step"


class Pods:
    """The alliance's five Deployments, each as one pod, and a pod for each Job that comes before them."""

    def __init__(self, podman: Podman, overlay: Overlay, work: Path, database_uri: str) -> None:
        self._podman = podman
        self._overlay = overlay
        self._work = work
        self._database_uri = database_uri
        self.names = [workload.name for workload, _ in overlay.processes()]
        self._migrations = {w.name: w for w in overlay.workloads if w.labels.get(_STEP) == "migrate"}
        self.jobs = list(self._migrations)

    def make_secrets(self) -> None:
        """What all others refer to."""
        for secret in self._overlay.of("Secret"):
            self._make_secret(secret["metadata"]["name"], secret["data"])

    def start_jobs(self) -> None:
        """Starts the migrations at once."""
        self._play("jobs.yaml", [self._pod_of(job) for job in self._migrations.values()])

    def start(self) -> None:
        """Starts all processes at once; they wait for each other by themselves."""
        self._podman.hosts.write_text(f"127.0.0.1 localhost {' '.join(self.names)}\n")
        self._play("pods.yaml", [self._adapted(workload) for workload, _ in self._overlay.processes()])

    def job_status(self, name: str) -> int | None:
        """The exit status of a job; None as long as it runs."""
        state = self._podman.run("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", f"{name}-job")
        status, _, code = state.partition(" ")
        return int(code) if status == "exited" else None

    def stop(self, name: str) -> int:
        """Asks a pod to end as Kubernetes does, with the time that its manifest grants; its exit status."""
        workload = self._workload(name)
        grace = str(workload.pod["terminationGracePeriodSeconds"])
        self._podman.run("stop", "--time", grace, self._container(name))
        return int(self._podman.run("inspect", "--format", "{{.State.ExitCode}}", self._container(name)))

    def remove(self) -> None:
        """Leaves nothing behind, running or not."""
        for name in self.names:
            self._podman.run("pod", "rm", "--force", "--time", "0", f"{name}-pod-0", check=False)
        for name in self.jobs:
            self._podman.run("pod", "rm", "--force", "--time", "0", name, check=False)
        for secret in self._overlay.of("Secret"):
            self._podman.run("secret", "rm", secret["metadata"]["name"], check=False)

    def passes(self, name: str, probe: str) -> bool:
        """Whether a probe of the manifest passes now."""
        container = self._workload(name).process
        assert container is not None  # noqa: S101  these are the workloads with a process
        return _passes(container, container.spec[probe])

    def restrictions(self, name: str) -> dict[str, object]:
        """What the kernel holds a process to."""
        pid = self._podman.run("inspect", "--format", "{{.State.Pid}}", self._container(name))
        read_only = self._podman.run("inspect", "--format", "{{.HostConfig.ReadonlyRootfs}}", self._container(name))
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        status = {line.partition(":")[0]: line.partition(":")[2].split() for line in lines}
        return {
            "uid": int(status["Uid"][0]),
            "capabilities": int(status["CapEff"][0], 16),
            "no_new_privileges": status["NoNewPrivs"] == ["1"],
            "seccomp": status["Seccomp"] == ["2"],
            "read_only_root": read_only == "true",
        }

    def log(self, name: str) -> str:
        """The end of what a process printed."""
        container = f"{name}-job" if name in self._migrations else self._container(name)
        return self._podman.log(container)

    def _workload(self, name: str) -> Workload:
        return next(workload for workload, _ in self._overlay.processes() if workload.name == name)

    def _container(self, name: str) -> str:
        return f"{name}-pod-0-process"

    def _play(self, file: str, pods: list[Any]) -> None:
        path = self._work / file
        path.write_text(yaml.safe_dump_all([*map(dict, self._overlay.of("ConfigMap")), *pods]))
        self._podman.run("play", "kube", str(path))

    def _pod_of(self, job: Workload) -> Any:
        template: Any = copy.deepcopy(job.template)
        template["spec"]["hostNetwork"] = True
        for container in template["spec"]["containers"]:
            container["image"] = IMAGE
        metadata = {**template["metadata"], "name": job.name}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    def _adapted(self, workload: Workload) -> Any:
        deployment: Any = copy.deepcopy(workload.resource)
        pod = deployment["spec"]["template"]["spec"]
        pod["hostNetwork"] = True
        for container in pod["containers"]:
            container["image"] = IMAGE
            del container["ports"]
            for variable in container["env"]:
                if variable["name"] == "ALLIANCE_METRICS_LISTEN":
                    port = str(variable["value"]).rpartition(":")[2]
                    variable["value"] = f"127.0.1.{1 + self.names.index(workload.name)}:{port}"
        for volume in pod["volumes"]:
            if sources := volume.pop("projected", {}).get("sources"):
                volume["hostPath"] = {"path": str(self._folder(workload.name, sources)), "type": "Directory"}
        return deployment

    def _folder(self, name: str, sources: list[Any]) -> Path:
        folder = self._work / "files" / name
        folder.mkdir(parents=True)
        for source in sources:
            secret = self._overlay.get("Secret", source["secret"]["name"])
            assert secret is not None  # noqa: S101  the cross-reference checks have seen it
            for item in source["secret"]["items"]:
                path = folder / item["path"]
                path.write_bytes(b64decode(secret["data"][item["key"]]))
                path.chmod(0o444)
        return folder

    def _make_secret(self, name: str, data: Mapping[str, str]) -> None:
        kept = dict(data)
        if name.endswith("-database"):
            kept["uri"] = b64encode(self._database_uri.encode()).decode()
        self._podman.run("secret", "rm", name, check=False)
        self._podman.run("secret", "create", name, "-", stdin=json.dumps(kept))


def _passes(container: Container, probe: Mapping[str, Any]) -> bool:
    if asked := probe.get("grpc"):
        with grpc.insecure_channel(f"127.0.0.1:{container.port(asked['port'])}") as channel:
            request = health_pb2.HealthCheckRequest(service=asked.get("service", ""))
            try:
                stub: Any = health_pb2_grpc.HealthStub(channel)
                answer = stub.Check(request, timeout=_PROBE_SECONDS)
            except grpc.RpcError:
                return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
    asked = probe["httpGet"]
    url = f"http://127.0.0.1:{container.port(asked['port'])}{asked['path']}"
    try:
        with urllib.request.urlopen(url, timeout=_PROBE_SECONDS) as answer:
            return int(answer.status) == 200
    except OSError:
        return False

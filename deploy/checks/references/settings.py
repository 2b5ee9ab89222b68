"""Every setting that a manifest gives is one that the process reads, of a value that it accepts; none is missing."""

import importlib
import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from opentelemetry.sdk import environment_variables as otel
from opentelemetry.sdk.environment_variables import OTEL_RESOURCE_ATTRIBUTES
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from deploy.checks.resources import Container, Overlay, Workload
from services.shared.config import DATABASE_ONLY

Path = tuple[str, ...]

_PREFIX = "ALLIANCE_"
_ONE_MACHINE = "local"
# Standard variables of the exporter and the SDK.
_OTEL = {name for name in vars(otel) if name.startswith("OTEL_")} | {OTEL_RESOURCE_ATTRIBUTES}


def values_of(container: Container, overlay: Overlay) -> Mapping[str, str | None]:
    """The environment that a container gets; None stands for a value that is not in the manifests."""
    values: dict[str, str | None] = {}
    for source in container.spec.get("envFrom", ()):
        if "configMapRef" in source and (found := overlay.get("ConfigMap", source["configMapRef"]["name"])):
            values |= found.get("data", {})
        if "secretRef" in source:
            values |= dict.fromkeys(overlay.keys("Secret", source["secretRef"]["name"]) or ())
    for variable in container.spec.get("env", ()):
        origin = variable.get("valueFrom", {}).get("configMapKeyRef")
        found = overlay.get("ConfigMap", origin["name"]) if origin else None
        values[variable["name"]] = found.get("data", {}).get(origin["key"]) if found else variable.get("value")
    return values


def errors(overlay: Overlay) -> Iterator[str]:
    """Variables that nobody reads, values that are refused, settings that are missing."""
    for workload, container in overlay.processes():
        settings = settings_of(container)
        if settings is None:
            yield f"{workload.title} runs {container.spec.get('args')}, which is no process of the alliance"
            continue
        values = values_of(container, overlay)
        yield from problems(workload.title, settings, values)
        if values.get("ALLIANCE_PLAINTEXT") and overlay.name != _ONE_MACHINE:
            yield f"{workload.title} does without TLS, which is for the overlay {_ONE_MACHINE} alone"
        yield from _of_files(workload, container, overlay)
    for workload in overlay.workloads:
        yield from _job_errors(workload, overlay)


def _job_errors(workload: Workload, overlay: Overlay) -> Iterator[str]:
    """Of a job that runs a module of a service, with the settings of that service."""
    for container in workload.containers:
        if container.name != "job":
            continue
        module = str(container.spec.get("args", [""])[0])
        settings = settings_class([module.rpartition(".")[0] or module])
        if settings is None or importlib.util.find_spec(module) is None:
            yield f"{workload.title} runs {container.spec.get('args')}, which is no job of the alliance"
            continue
        values = values_of(container, overlay)
        # Without a key it calls nobody. Nobody calls a job.
        calls = "ALLIANCE_IDENTITY_KEY_FILE" in values
        fixed = {"trust_file": DATABASE_ONLY["trust_file"]} if calls else DATABASE_ONLY
        yield from problems(workload.title, settings, values, fixed)
        yield from _of_files(workload, container, overlay)


def settings_of(container: Container) -> type[BaseSettings] | None:
    """The settings class of the process that a container runs; None if it is none of the alliance's."""
    return settings_class(container.spec.get("args", [""]))


def settings_class(command: Sequence[str]) -> type[BaseSettings] | None:
    """The settings class of the process that the image runs for this command."""
    try:
        found: type[BaseSettings] = importlib.import_module(f"{command[0]}.config").Settings
    except ModuleNotFoundError:
        return None
    return found


def variables(settings: type[BaseSettings]) -> Mapping[str, Path]:
    """The names of the environment variables that a settings class reads, each with the names that lead to its field:
    more than one where settings are grouped.
    """
    known: dict[str, Path] = {}
    prefix = settings.model_config.get("env_prefix", "")
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            known |= {variable: (name, *path) for variable, path in variables(field.annotation).items()}
        elif alias is None:
            known[f"{prefix}{name}".upper()] = (name,)
        else:
            known |= {str(choice): (name,) for choice in getattr(alias, "choices", [alias])}
    return known


def problems(
    what: str, settings: type[BaseSettings], values: Mapping[str, str | None], fixed: Mapping[str, object] | None = None
) -> Iterator[str]:
    """What is wrong with the environment of one process; `fixed` are settings that it gives itself."""
    known = variables(settings)
    for variable in values:
        if variable.startswith(_PREFIX) and variable not in known:
            yield f"{what}: the process reads no setting {variable}"
        if variable.startswith("OTEL_") and variable not in _OTEL:
            yield f"{what}: OpenTelemetry reads no variable {variable}"
    given = {known[variable][0] for variable in values if variable in known} | set(fixed or ())
    for name, field in settings.model_fields.items():
        if field.is_required() and name not in given:
            yield f"{what}: the setting {name} is missing"
    literal: dict[str, Any] = {}
    for variable, value in values.items():
        if variable.startswith(_PREFIX) and variable in known and value:
            *groups, name = known[variable]
            group = literal
            for each in groups:
                group = group.setdefault(each, {})
            group[name] = value
    try:
        settings.model_validate({**literal, **(fixed or {})})
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] != "missing":
                yield f"{what}: {'.'.join(map(str, problem['loc']))}: {problem['msg']}"


def _of_files(workload: Workload, container: Container, overlay: Overlay) -> Iterator[str]:
    """Each ALLIANCE_..._FILE is a file that a volume puts there."""
    present = {
        f"{mount['mountPath']}/{item['path']}"
        for mount in container.spec.get("volumeMounts", ())
        for volume in workload.pod.get("volumes", ())
        if volume["name"] == mount["name"]
        for source in volume.get("projected", {}).get("sources", ())
        for item in source.get("secret", {}).get("items", ())
    }
    for variable, path in values_of(container, overlay).items():
        if variable.startswith(_PREFIX) and variable.endswith("_FILE") and path not in present:
            yield f"{workload.title}: {variable} is {path}, which no volume puts there"

"""Who may call a method: the rule that stands beside it in its proto."""

from google.protobuf.descriptor_pool import Default

from alliance.common.v1 import access_pb2
from services.shared.identity import CallerKind


def access_rule(method: str) -> tuple[frozenset[CallerKind], frozenset[str]]:
    """The rule in the method's proto: the kinds of caller, and the services. Without a rule: nobody."""
    service, _, name = method.removeprefix("/").partition("/")
    rule = Default().FindServiceByName(service).methods_by_name[name].GetOptions().Extensions[access_pb2.access]
    prefix = len("CALLER_")
    kinds = frozenset(CallerKind(access_pb2.Caller.Name(number)[prefix:].lower()) for number in rule.callers)
    return kinds, frozenset(rule.services)

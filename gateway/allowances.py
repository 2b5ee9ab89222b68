"""What callers may send, by the settings: the limits on documents, of those with a token and of strangers."""

from gateway import schema
from gateway.config import Limits, RequestLimits, StrangerLimits
from gateway.engine.document import Allowance, Documents
from gateway.engine.resolve import bind
from gateway.engine.shape import Budget
from gateway.problems import problem_of


def documents_within(
    limits: Limits,
    strangers: StrangerLimits,
    *,
    introspection: bool = True,
    introspection_for_strangers: bool = True,
) -> Documents:
    """Prepares and answers documents of the gateway's schema, within these limits."""
    return Documents(
        bind(schema.build(), problem_of),
        _budget(limits),
        most_bytes=limits.document_bytes,
        most_tokens=limits.tokens,
        cached=limits.cached_documents,
        cached_bytes=limits.cached_document_bytes,
        introspection=introspection,
        strangers=Allowance(
            _budget(strangers),
            strangers.document_bytes,
            strangers.tokens,
            introspection and introspection_for_strangers,
        ),
    )


def _budget(limits: RequestLimits) -> Budget:
    return Budget(
        depth=limits.depth,
        aliases=limits.aliases,
        root_fields=limits.root_fields,
        fields=limits.fields,
        repetitions=limits.repetitions,
        overlaps=limits.overlaps,
        cost=limits.cost,
        parts=limits.parts,
    )

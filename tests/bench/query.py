"""What is asked of every gateway, as gateway.md has it in this schema's terms."""

ONE_MEMBER = (
    "query Q($id: ID!) { member(id: $id) { id displayName enrolledAt wallet { balance held available } "
    "dropOffs(first: 20) { nodes { id weightGrams material occurredAt partner { id name logoUrl } } } } }"
)
MANY_MEMBERS = (
    "query M($first: Int!) { members(first: $first) { nodes { id displayName wallet { balance available } "
    "dropOffs(first: 5) { nodes { id weightGrams partner { id name } } } } } }"
)

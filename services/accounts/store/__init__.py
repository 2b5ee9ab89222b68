"""What the accounts service keeps."""

from services.accounts.store import acts, factors, impact, members
from services.shared.mongo import Indexes

INDEXES: Indexes = {**members.INDEXES, **factors.INDEXES, **acts.INDEXES, **impact.INDEXES}

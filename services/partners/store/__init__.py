"""What the partners service keeps, on MongoDB: a store per subject, and the indexes of all."""

from services.partners.store import agreements, clients, earning, partners
from services.shared.mongo import Indexes

INDEXES: Indexes = {**partners.INDEXES, **clients.INDEXES, **agreements.INDEXES, **earning.INDEXES}

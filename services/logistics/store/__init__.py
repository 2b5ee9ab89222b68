"""What the logistics service keeps, on MongoDB: a store per subject, and the indexes of all."""

from services.logistics.store import captures, feed, points, refusals
from services.shared.mongo import Indexes

INDEXES: Indexes = {**points.INDEXES, **captures.INDEXES, **feed.INDEXES, **refusals.INDEXES}

"""What the rewards service keeps beside its ledger."""

from services.rewards.ledger.ledger import INDEXES as LEDGER
from services.rewards.store import earnings, gifts, redemptions, settlements
from services.shared.mongo import Indexes

INDEXES: Indexes = {**LEDGER, **earnings.INDEXES, **gifts.INDEXES, **redemptions.INDEXES, **settlements.INDEXES}

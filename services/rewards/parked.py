"""`python -m services.rewards.parked`: see services/shared/parked.py."""

from services.rewards.config import Settings
from services.shared.config import database_only
from services.shared.parked import main

if __name__ == "__main__":
    main(database_only(Settings))

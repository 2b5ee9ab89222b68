"""`python -m gateway.ide`: writes the hashes of the fetched assets, after a change of the lock file."""

import json

from gateway.ide import INTEGRITY, computed_integrity

INTEGRITY.write_text(json.dumps(computed_integrity(), indent=2) + "\n")

"""Python's garbage collector, for a process that holds much and makes many small things."""

import gc


def settle() -> None:
    """To be called when all that stays has been made: takes it out of the collector's sight, and lets it look rarely.

    Reference counts free nearly everything at once. The collector finds only what refers to itself, and to look for
    that among hundreds of thousands of accounts takes tens of milliseconds, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)

"""The points ledger: a state machine over an append-only log of hash-chained blocks.

Start with `ledger.Ledger`, all that the rest of the service sees. `model`, `commands` and `events` are the words,
`machine`, `dues` and `effects` the rules; `passages` carries points from one partition to another; `block`, `draft`,
`engine`, `seen` and `log` make commands durable; `accounts`, `projector` and `store` keep what can be read; `verify`
doubts it all. `deploy/docs/ledger.md` says why each is as it is, and what bounds it.

- The log is the truth. A block is one document, appended at the next place of its partition's chain: being one document
  it needs no transaction, and the unique place settles who of two writers was first. Everything else follows from the
  log, and may be thrown away and made again.
- A member's account is in the partition that the CRC-32 of its id gives; a partner has a sub-account in each. Their
  number is written down when the database is first used, and another one is refused at start.
- A command has one outcome for ever, a refusal being one too, and its id is good for that command alone, within its
  partition. Outcomes are kept in memory for a while and found in the log afterwards.
- A block holds the commands that arrived while the one before it was written, at most 1,000; an idle engine writes at
  once. Its time is the clock's, or that of the block before if the clock has gone back; what expires, expires by it.
- Waiting is bounded: 20,000 commands for a block, then callers are refused; 50,000 commands between log and read
  models, then the engine waits.
- Reads in a process see all that the process has acknowledged. Where another replica has written, too, they look before
  they answer, those of one moment together, so that it does not matter who acknowledged; whether one has, an idle
  engine looks every second.
- Who loses the race for a place takes the winner's block in, decides its own commands again, and tries the next place.
  When it is not known whether a block was written, its callers are told so, and the engine looks before it goes on;
  sent again, a command that was written gives the outcome that it had.
"""

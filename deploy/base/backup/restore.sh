#!/usr/bin/env bash
# Restores all databases from one archive of backup.sh, into an empty cluster. See deploy/docs/restore.md.
set -euo pipefail

archive=$1

gzip --test "$archive"
there=$(mongosh "$MONGODB_URI" --quiet --eval \
  'print(db.getMongo().getDBNames().filter((name) => name.startsWith("alliance_")).join(" "))')
if [ -n "$there" ]; then
  echo "there is something already: $there. Drop it, or restore into another cluster." >&2
  exit 1
fi

# The oplog that was written during the dump makes it one moment; with it the archive is restored as a whole or not at
# all (mongorestore refuses --nsInclude beside it). Users that the cluster has stay as they are.
mongorestore --config=<(printf 'uri: "%s"\n' "$MONGODB_URI") --oplogReplay --gzip --archive="$archive" \
  --writeConcern='{w: "majority", j: true}' --stopOnError
echo "restored $archive"

#!/usr/bin/env bash
# Writes one archive of all databases as of one moment (--oplog), looks it through, and lets go of old ones.
# The name ends in .part until the archive is known to be whole.
set -euo pipefail

folder=${BACKUPS:-/backups}
archive="$folder/alliance-$(date --utc +%Y%m%dT%H%M%SZ).archive.gz"

# By a file, not an argument: arguments can be read by every process beside this one.
mongodump --config=<(printf 'uri: "%s"\n' "$MONGODB_URI") --oplog --gzip --archive="$archive.part"
gzip --test "$archive.part"
mv "$archive.part" "$archive"
echo "wrote $archive, $(stat --format=%s "$archive") bytes"

find "$folder" -name 'alliance-*.archive.gz*' -mtime "+$KEEP_DAYS" -print -delete

#!/usr/bin/env bash
# Restores a backup: restore.sh FOLDER
#
#   PGHOST PGDATABASE PGUSER PGPASSFILE PGSSLMODE=verify-full PGSSLROOTCERT   an empty database, the role parapet_migrator
#   BACKUP_VERIFY_KEY   file with the public OpenPGP key that signed it
#   BACKUP_DECRYPT_KEY  file with the private OpenPGP key that it was encrypted for
#   RESTORE_FILES_DIR   optional: an empty folder, in which the backed-up folders are made again
#   RESTORE_REDIS_FILE  optional: where to write the snapshot of Redis (the dump.rdb of a stopped server)
#
# Nothing is changed before the whole backup has been verified. Afterwards run postgresql/grants.sql, and
# read README.md, "After a restore": tokens that were revoked since the backup must be revoked again.
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
. "$(dirname "${BASH_SOURCE[0]}")/verify.sh"

[ $# -eq 1 ] || fail 'usage: restore.sh FOLDER'
need PGDATABASE BACKUP_VERIFY_KEY BACKUP_DECRYPT_KEY
backup=${1%/}
started=$(seconds)
open_work

verify_backup "$backup"
open_private_key
say "verified $backup"

if [ -n "${RESTORE_FILES_DIR:-}" ]; then
  [ -z "$(find "$RESTORE_FILES_DIR" -mindepth 1 -print -quit)" ] || fail "$RESTORE_FILES_DIR is not empty"
fi
if [ -n "${RESTORE_REDIS_FILE:-}" ]; then
  [ ! -e "$RESTORE_REDIS_FILE" ] || fail "$RESTORE_REDIS_FILE exists already"
fi

restore_database "$backup"
compare_content "$backup"
say "PostgreSQL: $(wc -l <"$backup/postgresql.content") tables, every row is back"

if [ -n "${RESTORE_FILES_DIR:-}" ]; then
  # Without the leading slash, below the given folder: nothing outside it is written.
  decrypt "$backup/files.tar.gz.gpg" |
    tar --extract --gzip --directory="$RESTORE_FILES_DIR" --no-same-owner --file=-
  say "files: below $RESTORE_FILES_DIR"
fi
if [ -n "${RESTORE_REDIS_FILE:-}" ]; then
  decrypt "$backup/redis.rdb.gpg" >"$RESTORE_REDIS_FILE"
  say "Redis: $RESTORE_REDIS_FILE"
fi
say "ok: $(($(seconds) - started)) s"

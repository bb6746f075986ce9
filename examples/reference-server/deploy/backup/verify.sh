# shellcheck shell=bash disable=SC2154 # settings.sh sets `work`
# Verifies and opens backups; sourced by restore.sh and restore-drill.sh, after settings.sh.

# verify_backup FOLDER: the manifest has the signature of the only trusted key, and each file its digest.
verify_backup() {
  local folder=$1 signer signed_by listed present
  signer=$(import_key "$BACKUP_VERIFY_KEY")
  [[ -r $folder/manifest && -r $folder/manifest.sig ]] || fail "$folder has no signed manifest"
  signed_by=$(gpg_quiet --status-fd 1 --verify "$folder/manifest.sig" "$folder/manifest" 2>/dev/null |
    awk '$2 == "VALIDSIG" { print $NF }') || true
  [ "$signed_by" = "$signer" ] || fail "the manifest of $folder is not signed by $signer"
  grep -qxF "# name $(basename "$folder")" "$folder/manifest" || fail "$folder is another backup, renamed"
  (cd "$folder" && grep -v '^#' manifest | sha256sum --check --quiet --strict -) >&2 ||
    fail "a file of $folder is missing or was changed"
  listed=$(grep -v '^#' "$folder/manifest" | awk '{ print $2 }' | sort)
  present=$(find "$folder" -mindepth 1 -printf '%P\n' | grep -vE '^manifest(\.sig)?$' | sort)
  [ "$listed" = "$present" ] || fail "$folder has files that its manifest does not name"
}

# decrypt FILE: to the standard output. gpg fails if a byte was changed.
decrypt() { gpg_quiet --decrypt "$1"; }

# open_private_key: imports the key that decrypts.
open_private_key() {
  import_key "$BACKUP_DECRYPT_KEY" >/dev/null
}

# restore_database FOLDER: into the empty database of PGDATABASE, all or nothing.
restore_database() {
  local tables
  tables=$(psql --no-psqlrc --quiet --tuples-only --no-align --command \
    "SELECT count(*) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')")
  [ "$tables" = 0 ] || fail "the database $PGDATABASE has $tables tables: restore into an empty one"
  decrypt "$1/postgresql.dump.gpg" |
    pg_restore --exit-on-error --single-transaction --no-owner --dbname="$PGDATABASE"
}

# compare_content FOLDER: each table has the rows that it had when it was backed up.
compare_content() {
  { echo 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;'; content_sql; echo 'COMMIT;'; } |
    psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 >"$work/content"
  diff "$1/postgresql.content" "$work/content" >&2 || fail 'the restored rows are not those of the backup'
}

# newest_backup: prints the newest folder in BACKUP_DIR. One of the future would be the newest for years.
newest_backup() {
  local newest
  newest=$(list_backups | tail -n 1)
  [ -n "$newest" ] || fail "$BACKUP_DIR has no backup"
  [[ ! $newest > backup-$(date -u -d '1 hour' +%Y%m%dT%H%M%SZ) ]] || fail "$newest is of the future"
  printf '%s\n' "$BACKUP_DIR/$newest"
}

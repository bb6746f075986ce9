#!/usr/bin/env bash
# Backs up PostgreSQL, Redis and folders: encrypted for a key whose private half is elsewhere, signed,
# verified, kept for 30 days.
#
#   PGHOST PGDATABASE PGUSER PGPASSFILE PGSSLMODE=verify-full PGSSLROOTCERT   the role parapet_backup
#   REDIS_HOST REDIS_PORT REDIS_USER REDISCLI_AUTH REDIS_CA   optional: without REDIS_HOST it is left out
#   FILES_DIRS          optional: folders, separated by colons
#   BACKUP_DIR          where backups are kept, one folder each
#   BACKUP_ENCRYPT_KEY  file with the public OpenPGP key to encrypt for
#   BACKUP_SIGN_KEY     file with the private OpenPGP key that signs; only this script has it
#   RETENTION_DAYS      30 by default; the newest KEEP_AT_LEAST (7) stay, whatever their age
#
# It prints the folder of the new backup. A backup is complete as soon as its folder has its final name.
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"

need PGDATABASE BACKUP_DIR BACKUP_ENCRYPT_KEY BACKUP_SIGN_KEY
retention_days=${RETENTION_DAYS:-30}
keep_at_least=${KEEP_AT_LEAST:-7}
[[ $retention_days =~ ^[1-9][0-9]{0,3}$ && $keep_at_least =~ ^[1-9][0-9]{0,3}$ ]] ||
  fail 'RETENTION_DAYS and KEEP_AT_LEAST must be integers from 1 to 9999'

mkdir -p "$BACKUP_DIR"
exec 9>"$BACKUP_DIR/.lock"
flock --nonblock 9 || fail "another backup writes to $BACKUP_DIR"

open_work
started=$(seconds)
name=backup-$(date -u +%Y%m%dT%H%M%SZ)
final=$BACKUP_DIR/$name
[ ! -e "$final" ] || fail "$final exists already"
# What a killed run left behind is no backup.
rm -rf "$BACKUP_DIR"/.partial-backup-*
partial=$BACKUP_DIR/.partial-$name
mkdir "$partial"

encrypt_for=$(import_key "$BACKUP_ENCRYPT_KEY")
sign_with=$(import_key "$BACKUP_SIGN_KEY")
# No compression: dumps and archives are compressed already.
encrypt() { gpg_quiet --encrypt --recipient "$encrypt_for" --compress-algo none --cipher-algo AES256 --output "$1"; }

# --- PostgreSQL: the dump and the counts see the same moment, by one exported snapshot.
say "PostgreSQL: $PGDATABASE"
coproc SNAPSHOT { psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 2>&1; }
# bash forgets both as soon as the process ends.
# shellcheck disable=SC2153 # bash sets it with the coprocess
snapshot_in=${SNAPSHOT[1]} snapshot_pid=$SNAPSHOT_PID
exec 8<&"${SNAPSHOT[0]}"
# The transaction is idle for as long as the dump takes.
echo 'SET idle_in_transaction_session_timeout = 0;' >&"$snapshot_in"
echo 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT pg_export_snapshot();' >&"$snapshot_in"
read -r snapshot <&8 || fail 'PostgreSQL did not answer'
[[ $snapshot =~ ^[0-9A-Fa-f-]+$ ]] || fail "PostgreSQL: $snapshot"

# The list of its contents is read on the way: this machine cannot open what it has encrypted.
mkfifo "$work/dump"
{ pg_restore --list && cat >/dev/null; } <"$work/dump" >"$work/contents" &
listing=$!
pg_dump --format=custom --compress=6 --no-owner --lock-wait-timeout=60s --snapshot="$snapshot" |
  tee "$work/dump" |
  encrypt "$partial/postgresql.dump.gpg"
wait "$listing" || fail 'the dump cannot be read'
{ content_sql; echo 'COMMIT;'; } >&"$snapshot_in"
exec {snapshot_in}>&-
cat <&8 >"$partial/postgresql.content"
wait "$snapshot_pid" || fail "PostgreSQL: $(tail -n 1 "$partial/postgresql.content")"
[ -s "$partial/postgresql.content" ] || fail 'the database has no table'
grep -q 'TABLE DATA' "$work/contents" || fail 'the dump has no table'

# --- Redis: the server's own snapshot.
if [ -n "${REDIS_HOST:-}" ]; then
  say "Redis: $REDIS_HOST"
  tls=()
  [ -z "${REDIS_CA:-}" ] || tls=(--tls --cacert "$REDIS_CA")
  [ -z "${REDIS_USER:-}" ] || tls+=(--user "$REDIS_USER")
  timeout 900 redis-cli -h "$REDIS_HOST" -p "${REDIS_PORT:-6379}" "${tls[@]}" --rdb "$work/dump.rdb" >&2
  [ "$(head -c 5 "$work/dump.rdb")" = REDIS ] || fail 'Redis sent no snapshot'
  encrypt "$partial/redis.rdb.gpg" <"$work/dump.rdb"
fi

# --- Folders. A file that changes meanwhile is no failure: tar exits with 1.
if [ -n "${FILES_DIRS:-}" ]; then
  IFS=: read -ra folders <<<"$FILES_DIRS"
  say "files: ${folders[*]}"
  for folder in "${folders[@]}"; do [ -d "$folder" ] || fail "$folder is no folder"; done
  { tar --create --gzip --absolute-names --file=- -- "${folders[@]}" || [ $? -eq 1 ]; } |
    encrypt "$partial/files.tar.gz.gpg"
fi

# --- The manifest names each file with its digest; its signature covers all of them.
(
  cd "$partial" || exit
  {
    printf '# parapet backup 1\n# name %s\n# database %s\n# seconds %s\n' \
      "$name" "$PGDATABASE" "$(($(seconds) - started))"
    sha256sum -- *.gpg *.content
  } >manifest
  gpg_quiet --local-user "$sign_with" --detach-sign --output manifest.sig manifest
)
sync "$partial"/* 2>/dev/null || sync
mv "$partial" "$final"
partial=

# --- Retention: by the time in the name. The newest ones stay, so that a stopped clock deletes nothing.
limit=backup-$(date -u -d "$retention_days days ago" +%Y%m%dT%H%M%SZ)
mapfile -t all < <(list_backups | tac)
for old in "${all[@]:$keep_at_least}"; do
  if [[ $old < $limit ]]; then
    rm -rf "${BACKUP_DIR:?}/$old"
    say "removed $old"
  fi
done

say "ok: $name, $(bytes_of "$final") bytes, $(($(seconds) - started)) s"
printf '%s\n' "$final"

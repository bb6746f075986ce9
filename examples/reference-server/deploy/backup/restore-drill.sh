#!/usr/bin/env bash
# Proves that the newest backup can be restored: into a database of its own, which it drops afterwards.
# Run it on a schedule, on a machine that may have the private key. It fails if the newest backup is older
# than MAX_AGE_HOURS (26), if a byte, a row or a record of the audit log is not what it was.
#
#   PGHOST PGUSER PGPASSFILE PGSSLMODE=verify-full PGSSLROOTCERT   the role parapet_drill
#   BACKUP_DIR BACKUP_VERIFY_KEY BACKUP_DECRYPT_KEY                as for restore.sh
#   AUDIT_VERIFY    the command of the verifier: "node /app/node_modules/@parapet/audit-log/dist/command/cli.js"
#   AUDIT_PUBLIC_KEY   file with the verifier key of the audit log (GET /api/v1/audit/key)
. "$(dirname "${BASH_SOURCE[0]}")/settings.sh"
. "$(dirname "${BASH_SOURCE[0]}")/verify.sh"

need BACKUP_DIR BACKUP_VERIFY_KEY BACKUP_DECRYPT_KEY AUDIT_VERIFY AUDIT_PUBLIC_KEY
max_age_hours=${MAX_AGE_HOURS:-26}
started=$(seconds)
open_work

backup=$(newest_backup)
name=$(basename "$backup")
oldest=backup-$(date -u -d "$max_age_hours hours ago" +%Y%m%dT%H%M%SZ)
[[ ! $name < $oldest ]] || fail "the newest backup is $name: older than $max_age_hours hours"
verify_backup "$backup"
open_private_key

# A drill that was killed left its copy of the data behind. One of the last day may still run.
yesterday=parapet_drill_$(date -u -d '1 day ago' +%Y%m%d%H%M%S)
left=$(psql --no-psqlrc --quiet --tuples-only --no-align --dbname=postgres \
  --command "SELECT datname FROM pg_database WHERE datname ~ '^parapet_drill_[0-9]{14}_[0-9]+$'")
for each in $left; do
  if [[ $each < $yesterday ]]; then PGDATABASE=postgres dropdb --if-exists --force "$each"; fi
done

drill=parapet_drill_$(date -u +%Y%m%d%H%M%S)_$$
PGDATABASE=postgres createdb "$drill"
drop() { PGDATABASE=postgres dropdb --if-exists --force "$1" || say "drop the database $1 by hand"; }
drop_drill() {
  local status=$?
  drop "$drill"
  clean "$status"
}
trap drop_drill EXIT
export PGDATABASE=$drill

restore_database "$backup"
compare_content "$backup"
rows=$(awk 'NF > 2 { rows += $(NF - 1) } END { print rows }' "$backup/postgresql.content")

# Every archive can be read to its end.
files=0
if [ -e "$backup/files.tar.gz.gpg" ]; then
  decrypt "$backup/files.tar.gz.gpg" | tar --list --gzip --absolute-names --file=- >"$work/files"
  files=$(grep -vc '/$' "$work/files") || true
fi
if [ -e "$backup/redis.rdb.gpg" ]; then
  start=$(decrypt "$backup/redis.rdb.gpg" | { head -c 5 && cat >/dev/null; })
  [ "$start" = REDIS ] || fail 'the snapshot of Redis is none'
fi

# pg reads host, user and password from the same variables; the URL names the database only.
read -ra verifier <<<"$AUDIT_VERIFY"
"${verifier[@]}" verify --database "postgres:///$drill" --key "$AUDIT_PUBLIC_KEY" >&2 ||
  fail 'the restored audit log is not valid'

printf '{"drill":"ok","backup":"%s","bytes":%s,"rows":%s,"files":%s,"seconds":%s}\n' \
  "$name" "$(bytes_of "$backup")" "$rows" "$files" "$(($(seconds) - started))"

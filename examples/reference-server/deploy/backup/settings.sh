# shellcheck shell=bash
# What the scripts share. Source it; it runs nothing that changes anything.
#
# Passwords never stand on a command line, where every user of the machine could read them: PostgreSQL's
# are in PGPASSFILE, that of Redis is in REDISCLI_AUTH.

set -Eeuo pipefail
umask 077
export LC_ALL=C
# A server that never answers ends a run, too.
export PGCONNECT_TIMEOUT=${PGCONNECT_TIMEOUT:-15}

say() { printf '%s %s: %s\n' "$(date -u +%FT%TZ)" "$(basename "$0")" "$*" >&2; }
fail() {
  is_reported=yes
  say "FAILED: $*"
  exit 1
}

# need NAME...: stops unless each variable is set.
need() {
  local name
  for name in "$@"; do
    [ -n "${!name:-}" ] || fail "set $name (README.md, \"Backup\")"
  done
}

# A keyring of its own for each run, so that no other key is trusted. Whatever ends a run, `clean` leaves no
# key, no plain text and no half backup behind, and says that it failed.
work='' partial='' is_reported=''
clean() {
  local status=${1:-$?}
  [ "$status" -eq 0 ] || [ -n "$is_reported" ] || say "FAILED: exit status $status"
  [ -z "$partial" ] || rm -rf "$partial"
  [ -z "$work" ] && return 0
  gpgconf --homedir "$work/gnupg" --kill all 2>/dev/null || true
  rm -rf "$work"
}
trap clean EXIT
# Without them a signal ends bash before it runs `clean`.
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

open_work() {
  work=$(mktemp -d "${TMPDIR:-/tmp}/parapet-XXXXXXXX")
  mkdir -m 0700 "$work/gnupg"
  # PostgreSQL's tools ignore a password file that its group can read, as Kubernetes mounts it.
  if [ -n "${PGPASSFILE:-}" ]; then
    install -m 0600 "$PGPASSFILE" "$work/pgpass"
    export PGPASSFILE=$work/pgpass
  fi
}

# gpg_quiet ARGUMENT...
gpg_quiet() { gpg --homedir "$work/gnupg" --batch --quiet --no-tty --trust-model always "$@"; }

# import_key FILE: prints the fingerprint of the only primary key in it.
import_key() {
  [ -r "$1" ] || fail "cannot read the key $1"
  gpg_quiet --import "$1"
  gpg_quiet --show-keys --with-colons "$1" |
    awk -F: '$1 == "pub" || $1 == "sec" { wanted = 1 } wanted && $1 == "fpr" { print $10; exit }'
}

seconds() { date +%s; }
bytes_of() { du --summarize --bytes "$1" | cut -f1; }

# list_backups: the names of the backups in BACKUP_DIR, oldest first. Only digits, because names are compared
# as times.
list_backups() {
  find "$BACKUP_DIR" -mindepth 1 -maxdepth 1 -type d -regextype posix-extended \
    -regex '.*/backup-[0-9]{8}T[0-9]{6}Z' -printf '%f\n' | sort
}

# The number of rows of each table and a digest of them that does not depend on their order, as lines
# `schema.table count digest`. The settings fix how values are written as text.
content_sql() {
  cat <<'SQL'
SET LOCAL statement_timeout = 0;
SET LOCAL TimeZone = 'UTC';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'iso_8601';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SELECT format('%s.%s %s %s', schemaname, tablename,
    (xpath('/row/n/text()', content))[1], (xpath('/row/d/text()', content))[1])
  FROM pg_tables,
    query_to_xml(
      format('SELECT count(*) AS n, coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) AS d FROM ONLY %I.%I AS t',
        schemaname, tablename), false, true, '') AS content
 WHERE schemaname NOT IN ('pg_catalog', 'information_schema')
 ORDER BY 1;
SQL
}

/** The help of the command. */

/** Printed by `--help`, and after a wrong call. */
export const USAGE = `audit-log verify SOURCE --key KEY [options]
audit-log key --directory FOLDER [--origin NAME]
audit-log recover --directory FOLDER --yes

verify: one SOURCE
  --directory FOLDER  the option "directory" of the plugin, its folder "log", or a mirror of the tiles
  --database URL      the PostgreSQL database of the log (needs the package "pg")
  --pglite FOLDER     the folder of an embedded database (needs "@electric-sql/pglite")
  --url URL           a mirror over HTTP, for example the prefix of app.audit.routes
  --export FILE       an export in NDJSON with proofs
verify: options
  --key KEY           a public key to trust: name+id+key, PEM, or a file with one; repeatable
  --checkpoint FILE   a checkpoint that was kept elsewhere; the log must continue it
  --retention DAYS    report a pruning that removed records younger than this
  --header "N: V"     a header for --url; repeatable
  --json              print the report as JSON

key      prints the public key of a directory, for --key
recover  continues a log whose store lost its last entries; the app must not run

exit codes: 0 valid, 1 tampered, 2 incomplete, 3 untrusted key, 64 wrong usage
`

/** The command was called wrongly. */
export class UsageError extends Error {}

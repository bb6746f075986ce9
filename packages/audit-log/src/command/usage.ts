/** The help of the command. */

/** Printed by `--help`, and after a wrong call. */
export const USAGE = `audit-log verify SOURCE --key KEY [options]
audit-log key --directory FOLDER | --key FILE --origin NAME [options]
audit-log recover --directory FOLDER --yes

verify: one SOURCE
  --directory FOLDER  the option "directory" of the plugin, its folder "log", or a mirror of the tiles
  --database URL      the PostgreSQL database of the log (needs the package "pg")
  --pglite FOLDER     the folder of an embedded database (needs "@electric-sql/pglite")
  --url URL           a mirror over HTTP, for example the prefix of app.audit.routes
  --export FILE       an export in NDJSON with proofs
  --proof FILE        a C2SP tlog-proof of one entry; --entry FILE has the entry, if the proof does not
verify: options
  --key KEY           a public key to trust: name+id+key, PEM, or a file with one; repeatable
  --witness KEY       the key of a witness that must have cosigned the log, or a file with it; repeatable
  --witness-url URL   ask this witness for the latest checkpoint that it cosigned
  --foreign           a C2SP tlog-tiles log of another program: the contents of entries are not checked
  --checkpoint FILE   a checkpoint that was kept elsewhere; the log must continue it
  --retention DAYS    report a pruning that removed records younger than this
  --header "N: V"     a header for --url; repeatable
  --json              print the report as JSON

key: prints the public key of key.pem in the directory, or of a private key in PEM
  --passphrase-env NAME   the environment variable with the passphrase of the key
  --passphrase-file FILE  the file with it

recover: continues a log whose store lost its last entries; the app must not run

exit codes: 0 valid, 1 tampered, 2 incomplete, 3 untrusted key, 64 wrong usage
`

/** The command was called wrongly. */
export class UsageError extends Error {}

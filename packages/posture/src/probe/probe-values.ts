/** What the probes send; each is harmless by itself, and recognized where it comes back. */

/** An origin that no app has allowed (RFC 2606 reserves the name). */
export const ATTACKER = 'https://attacker.example'

/** Markup that no response may repeat as it is. */
export const MARKUP = '"><posture-probe a=1>'

/** Characters that end a text in SQL. */
export const QUOTE = `1'"\``

/** A path out of any folder. */
export const TRAVERSAL = '../../../../../../../../etc/passwd'

/** An address elsewhere. */
export const ELSEWHERE = `${ATTACKER}/posture`

/** A path that no app has. */
export const UNKNOWN = '/posture-unknown-4f1c9a'

/** Files that belong to a project and not to its clients. */
export const FILES: readonly string[] = [
  '/.env',
  '/.git/config',
  '/.git/HEAD',
  '/.npmrc',
  '/package.json',
  '/package-lock.json',
  '/server.js',
  '/app.js',
  '/index.js',
  '/config.json',
  '/Dockerfile',
  '/backup.sql',
]

/** Those that a folder of static files holds by accident, below its prefix. */
export const HIDDEN_FILES: readonly string[] = ['.env', '.git/HEAD', '.npmrc', 'package.json']

/** Pages that show how an app works. */
export const PAGES: readonly string[] = [
  '/documentation',
  '/documentation/json',
  '/docs',
  '/docs/json',
  '/swagger',
  '/swagger.json',
  '/api-docs',
  '/graphiql',
  '/graphql?query=%7B__schema%7Btypes%7Bname%7D%7D%7D',
  '/metrics',
  '/debug',
  '/debug/vars',
  '/env',
  '/actuator',
  '/actuator/env',
  '/server-status',
  '/.well-known/security.txt',
]

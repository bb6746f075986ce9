/** The page that a person sees in the terminal after the start: where to look, and what is embedded. */
import type { FastifyInstance } from 'fastify'
import { localEmail, passwordFile, readPassword } from '../access/local-passwords.ts'
import type { Config } from '../config/environment.ts'
import { demoRoles } from '../demo/create-demo.ts'
import { manifest } from './version.ts'

/** Where the page is shown. */
export interface StartPageOptions {
  /** Passwords are shown in a terminal only: other output is kept in a log. */
  readonly isTerminal: boolean
}

type Line = readonly [label: string, text: string]

/** Renders the page, with a line break at the end. */
export async function renderStartPage(
  app: FastifyInstance,
  config: Config,
  options: StartPageOptions,
): Promise<string> {
  const url = app.listeningOrigin
  const sections: Readonly<Record<string, readonly Line[]>> = {
    Look: [
      ['console', `${url}/console`],
      ['API', `${url}/docs`],
      ['attack demo', 'npm run demo:attack'],
      ['state', `${url}/ready`],
    ],
    Embedded: embedded(config),
    Open: [['routes', `${countOpen(app)} of ${app.rbac.matrix().rows.length} need no session`]],
    Users: await users(app, config, options),
  }
  const paint = painter(options.isTerminal)
  const text = Object.entries(sections)
    .filter(([, lines]) => lines.length > 0)
    .map(([title, lines]) => {
      const rows = lines.map(([label, value]) => `    ${label.padEnd(24)}${value}`)
      return [`  ${paint.bold(title)}`, ...rows].join('\n')
    })
  const head = `  ${paint.bold('Parapet reference server')} ${manifest.version}   ${paint.green(url)}`
  return `\n${[head, ...text].join('\n\n')}\n\n`
}

function embedded({ databaseUrl, redisUrl, dataDir }: Config): readonly Line[] {
  return [
    [
      'database',
      databaseUrl === undefined
        ? `PGlite in ${dataDir} (DATABASE_URL: PostgreSQL)`
        : 'no: PostgreSQL',
    ],
    [
      'shared state',
      redisUrl === undefined ? 'memory, lost on restart (REDIS_URL: Redis)' : 'no: Redis',
    ],
    ...(databaseUrl === undefined
      ? ([['keys', `${dataDir}/keys.json`]] satisfies readonly Line[])
      : []),
  ]
}

function countOpen(app: FastifyInstance): number {
  return app.rbac.matrix().rows.filter(({ anonymous }) => anonymous === 'allow').length
}

async function users(
  app: FastifyInstance,
  { databaseUrl, dataDir }: Config,
  { isTerminal }: StartPageOptions,
): Promise<readonly Line[]> {
  if (databaseUrl !== undefined) return []
  const lines: Line[] = []
  let hasDemo = false
  for (const role of ['admin', ...demoRoles] as const) {
    const password = await readPassword(dataDir, role)
    if (password === undefined) continue
    const shown =
      app.areUsersNew && isTerminal ? password : `password in ${passwordFile(dataDir, role)}`
    lines.push([localEmail(role), shown])
    if (role !== 'admin') hasDemo = true
  }
  if (hasDemo)
    lines.push(['for a try only', 'all but admin keep these passwords; DEMO=off: no such users'])
  return lines
}

/** Colours in a terminal, unless `NO_COLOR` is set. @see https://no-color.org */
function painter(isTerminal: boolean) {
  const coloured = isTerminal && (process.env['NO_COLOR'] ?? '') === ''
  const wrap = (code: number) => (text: string) =>
    coloured ? `\u001B[${code}m${text}\u001B[0m` : text
  return { bold: wrap(1), green: wrap(32) }
}

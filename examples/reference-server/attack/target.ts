/** The server that is attacked: one of its own, which is thrown away, or a running one. */
import { randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { SqlClient } from '@parapet/kit'
import { readPassword } from '../src/access/local-passwords.ts'
import { buildApp } from '../src/app.ts'
import { readConfig } from '../src/config/environment.ts'
import { createLog } from '../src/logging/log.ts'
import { Client, type Answer } from './client.ts'

/** The users of the demo. */
export type DemoUser = 'admin' | 'editor' | 'viewer'

/** What steps attack. */
export interface Target {
  readonly url: string
  /** The database; only a server of its own has one here. */
  readonly sql?: SqlClient
  /** A client at the next address. */
  nextClient(): Client
  loginOf(user: DemoUser): { readonly login: string; readonly password: string }
  /** The tokens of a user, from a login that every step shares. */
  tokensOf(user: DemoUser): Promise<Answer['body']>
  /** Call it before a change that would outlive the campaign. @param name what is not restored if it fails */
  undoLater(name: string, undo: () => Promise<unknown>): void
  /** Undoes the changes, the last first, and ends the sessions. @returns what could not be restored, with reasons */
  restore(): Promise<readonly string[]>
  close(): Promise<void>
}

/** Addresses of RFC 3849: they belong to nobody. */
const ATTACKERS = '2001:db8:'

const users = ['admin', 'editor', 'viewer'] as const

/** Starts a server on a new database in a temporary folder. It trusts this process to name addresses. */
export async function startTarget(): Promise<Target> {
  const dataDir = await mkdtemp(join(tmpdir(), 'parapet-attack-'))
  const config = readConfig({
    DATA_DIR: dataDir,
    PORT: '0',
    LOG_LEVEL: 'silent',
    TRUST_PROXY: '127.0.0.1/32',
    // The demo shows what stops attacks; that this machine is busy is none of it.
    MAX_EVENT_LOOP_DELAY_MS: '0',
  })
  const app = await buildApp(config, { log: createLog(config) })
  const url = await app.listen({ port: 0, host: '127.0.0.1' })
  return createTarget(url, await readPasswords(dataDir), {
    sql: app.sql,
    async close() {
      await app.close()
      await rm(dataDir, { recursive: true, force: true })
    },
  })
}

/** Attacks a server that runs; its database is out of reach. @throws the attacks would come from a real address */
export async function useTarget(url: string, dataDir: string): Promise<Target> {
  const target = createTarget(url, await readPasswords(dataDir), { close: async () => {} })
  await requireTrust(target)
  return target
}

/** The server blocks the attackers: their addresses must not be those of clients that exist. */
async function requireTrust(target: Target): Promise<void> {
  const client = target.nextClient()
  const token = await tokenOf(target, 'viewer')
  const { body } = await client.send('GET', '/api/v1/auth/sessions', { token })
  const sessions = body['sessions'] as readonly {
    readonly current: boolean
    readonly ip?: string
  }[]
  const seen = sessions.find(({ current }) => current)?.ip
  if (seen !== undefined && seen.startsWith(ATTACKERS)) return
  throw new Error(
    `nothing was attacked: to the server, every attack would come from ${seen ?? 'one address'}, which it ` +
      'would block for everybody there. Start it with TRUST_PROXY=127.0.0.1/32, so that this process can ' +
      'name addresses that belong to nobody',
  )
}

type Passwords = Readonly<Record<DemoUser, string>>

async function readPasswords(dataDir: string): Promise<Passwords> {
  const entries = await Promise.all(
    users.map(async (user) => {
      const variable = `ATTACK_${user.toUpperCase()}_PASSWORD`
      const password = process.env[variable] ?? (await readPassword(dataDir, user))
      if (password === undefined) {
        throw new Error(
          `${dataDir} has no password of the demo user "${user}". If it was used, set ${variable}; ` +
            'otherwise start the server with DEMO=on on a new data folder',
        )
      }
      return [user, password] as const
    }),
  )
  return Object.fromEntries(entries) as Passwords
}

function createTarget(
  url: string,
  passwords: Passwords,
  parts: Pick<Target, 'sql' | 'close'>,
): Target {
  // Another campaign of the last hour must not count.
  let next = randomInt(0x1_00_00)
  const tokens = new Map<DemoUser, Promise<Answer['body']>>()
  const sessions = new Set<string>()
  const undos: { readonly name: string; readonly undo: () => Promise<unknown> }[] = []
  const note = (token: string) => void sessions.add(token)
  const nextClient = () =>
    new Client(url, `${ATTACKERS}${(next++ % 0x1_00_00).toString(16)}::1`, note)
  const loginOf = (user: DemoUser) => ({
    login: `${user}@server.localhost`,
    password: passwords[user],
  })
  async function logIn(user: DemoUser): Promise<Answer['body']> {
    const { login, password } = loginOf(user)
    const { status, body } = await nextClient().logIn(login, password)
    if (status !== 200)
      throw new Error(`${login} could not log in: ${status} ${String(body['code'])}`)
    return body
  }
  async function restore(): Promise<readonly string[]> {
    const failures: string[] = []
    for (const { name, undo } of undos.splice(0).toReversed()) {
      await undo().catch((error: unknown) => failures.push(`${name}: ${(error as Error).message}`))
    }
    for (const token of sessions) {
      // Most have ended: a step replaced the token, or the theft of it was noticed.
      await nextClient()
        .send('POST', '/api/v1/auth/logout', { token })
        .catch(() => {})
    }
    return failures
  }
  return {
    ...parts,
    url,
    nextClient,
    loginOf,
    undoLater: (name, undo) => void undos.push({ name, undo }),
    restore,
    tokensOf(user) {
      const known = tokens.get(user) ?? logIn(user)
      tokens.set(user, known)
      return known
    },
  }
}

/** The access token of a user. */
export async function tokenOf(target: Target, user: DemoUser): Promise<string> {
  return String((await target.tokensOf(user))['access_token'])
}

/** What known plugins say about the app, through their decorators; none of them is imported. */
import type { FastifyInstance } from 'fastify'
import type { MatrixRow, PluginFacts } from '../facts/facts.ts'
import { guessKey } from '../probe/forged-tokens.ts'
import type { OwnedRoute } from './read-routes.ts'

/** A decorator by which a plugin is recognized, and a member that it must have. */
const KNOWN: readonly (readonly [decorator: string, member: string | undefined])[] = [
  ['securityHeaders', 'explain'],
  ['rbac', 'matrix'],
  ['rateLimits', 'peek'],
  ['sessions', 'revoke'],
  ['mfa', 'totp'],
  ['audit', 'record'],
  ['fieldEncryption', undefined],
  ['inputGuard', 'audit'],
  ['secrets', 'doctor'],
  ['anomaly', undefined],
  ['securityEvents', 'emit'],
  ['incidents', undefined],
  ['incidentResponse', undefined],
  ['privacy', undefined],
  ['jwt', 'sign'],
  ['csrfProtection', undefined],
  ['helmet', undefined],
  ['rateLimit', undefined],
  ['swagger', undefined],
  ['basicAuth', undefined],
  ['underPressure', undefined],
]

type Decorated = Readonly<Record<string, unknown>>

/** Reads the decorators of the app and of every context that has a route. */
export async function readPlugins(
  app: FastifyInstance,
  routes: readonly OwnedRoute[],
): Promise<PluginFacts> {
  const owners = [...new Set([app, ...routes.map(({ owner }) => owner)])]
  const found = new Map<string, unknown>()
  for (const [name, member] of KNOWN) {
    for (const owner of owners) {
      const value = (owner as unknown as Decorated)[name]
      if (value === undefined || value === null || found.has(name)) continue
      if (member === undefined || (value as Decorated)[member] !== undefined) found.set(name, value)
    }
  }
  const token = await signToken(found.get('jwt'))
  return {
    names: new Set(found.keys()),
    matrix: readMatrix(found.get('rbac')),
    unbounded: readUnbounded(found.get('inputGuard')),
    token,
    guessedKey: token === undefined ? undefined : guessKey(token),
  }
}

function readMatrix(rbac: unknown): readonly MatrixRow[] | undefined {
  try {
    return (rbac as { matrix(): { rows: readonly MatrixRow[] } } | undefined)?.matrix().rows
  } catch {
    return undefined
  }
}

function readUnbounded(guard: unknown): readonly string[] | undefined {
  try {
    return (guard as { audit(): readonly string[] } | undefined)?.audit()
  } catch {
    return undefined
  }
}

/** A token as the app signs it: its lifetime is measured, and its key is guessed, here. It is not sent. */
async function signToken(jwt: unknown): Promise<string | undefined> {
  try {
    const signed = (jwt as { sign(claims: object): unknown } | undefined)?.sign({ sub: 'posture' })
    const token: unknown = await signed
    return typeof token === 'string' ? token : undefined
  } catch {
    return undefined
  }
}

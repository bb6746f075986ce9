/** The state of keys, secrets, jobs and the audit log, as the console shows it. No secret is in it. */
import type { Jobs } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'

/** What this server may have besides its plugins. */
interface MayHaveJobs {
  readonly jobs?: Jobs
  /** The names of the jobs that are defined. */
  readonly jobNames?: readonly string[]
}

/** Reads the state. */
export async function readKeyStatus(
  app: FastifyInstance,
  secretNames: readonly string[],
): Promise<Record<string, unknown>> {
  const [audit, doctor, findings, jobs] = await Promise.all([
    app.audit.status(),
    app.audit.doctor(),
    app.secrets.doctor(),
    readJobs(app as MayHaveJobs),
  ])
  return {
    signingKeys: app.sessions.jwks().keys.map(({ kid, alg, kty }) => ({ kid, alg, kty })),
    revocation: app.sessions.revocationState,
    audit: { verifierKey: app.audit.verifierKey, ...audit, lag: { ...audit.lag } },
    auditChecks: doctor.map((check) => ({ ...check })),
    secrets: secretNames.map((name) => {
      const { version, expiresAt, previous } = app.secrets.get(name)
      return { name, version, expiresAt: expiresAt ?? null, isRotating: previous !== undefined }
    }),
    findings: findings.map((finding) => ({ ...finding })),
    jobs,
  }
}

async function readJobs({ jobs, jobNames = [] }: MayHaveJobs) {
  if (jobs === undefined) return null
  const names = await Promise.all(
    jobNames.map(async (name) => ({ name, dead: (await jobs.dead(name)).map(withoutData) })),
  )
  return { isDurable: jobs.isDurable, names }
}

/** The payload of a job may be personal. */
function withoutData({ id, attempts, dueAt, error }: Awaited<ReturnType<Jobs['dead']>>[number]) {
  return { id, attempts, dueAt, error: error ?? null }
}

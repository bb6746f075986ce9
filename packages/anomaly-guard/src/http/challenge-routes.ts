/** The routes of the challenge: the page and its files, a new challenge, the answer. */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { readWidgetFiles } from '../challenge/assets.ts'
import { localPath, PAGE_STYLE, renderPage, renderScript } from '../challenge/page.ts'
import type { Passes } from '../challenge/pass.ts'
import type { ProofOfWork } from '../challenge/proof-of-work.ts'
import {
  PARAPET_ANOMALY_GUARD_CHALLENGE_FAILED,
  PARAPET_ANOMALY_GUARD_TIGHTENED,
} from '../errors.ts'
import { CountWindows } from '../windows/windows.ts'
import { cookieName, sendPage, type ChallengeGate } from './challenge-gate.ts'
import { challengeSchemas, type AnswerBody, type PageQuery } from './challenge-schemas.ts'
import type { Client } from './client.ts'

/** See {@link addChallengeRoutes}. */
export interface ChallengeRouteSettings {
  readonly prefix: string
  readonly gate: ChallengeGate
  readonly passes: Passes
  readonly proofOfWork: ProofOfWork
  readonly clientOf: (ip: string) => Client
  readonly tick: () => number
  readonly onAnswer: (request: FastifyRequest, passed: boolean) => void
}

const MAX_ANSWER_BYTES = 8192
/** Challenges and answers of one client in a minute: each costs a key derivation or a signature. */
const PER_MINUTE = 20

/** Adds the routes. @throws PARAPET_ANOMALY_GUARD_MISSING_PEER altcha is not installed */
export async function addChallengeRoutes(
  app: FastifyInstance,
  settings: ChallengeRouteSettings,
): Promise<void> {
  const files = await readWidgetFiles()
  const { gate, prefix } = settings
  await app.register(
    async (child) => {
      // Only this form, only here: the parsers of the app are not touched.
      child.removeAllContentTypeParsers()
      child.addContentTypeParser(
        'application/x-www-form-urlencoded',
        { parseAs: 'string', bodyLimit: MAX_ANSWER_BYTES },
        (_request, body, done) => done(null, Object.fromEntries(new URLSearchParams(String(body)))),
      )
      const worker = gate.paths.script.replace(/page\.js$/, 'worker.js')
      addFile(child, '/altcha.js', 'text/javascript', files.script)
      addFile(child, '/worker.js', 'text/javascript', files.worker)
      addFile(child, '/altcha.css', 'text/css', files.style)
      addFile(child, '/page.js', 'text/javascript', renderScript(worker))
      addFile(child, '/page.css', 'text/css', `@import url('altcha.css');\n${PAGE_STYLE}`)
      addPage(child, settings)
      addExchange(child, settings)
    },
    { prefix },
  )
}

function addFile(app: FastifyInstance, path: string, type: string, content: Buffer | string): void {
  app.get(path, challengeSchemas.file, async (_request, reply) => {
    reply
      .header('cache-control', 'public, max-age=3600')
      .header('x-content-type-options', 'nosniff')
    return reply.type(`${type}; charset=utf-8`).send(content)
  })
}

function addPage(app: FastifyInstance, { gate }: ChallengeRouteSettings): void {
  app.get<{ Querystring: PageQuery }>('', challengeSchemas.page, async (request, reply) => {
    const { next, failed } = request.query
    return sendPage(reply, renderPage(gate.paths, localPath(next), failed === '1'))
  })
}

function addExchange(app: FastifyInstance, settings: ChallengeRouteSettings): void {
  const { proofOfWork, passes, clientOf, gate, onAnswer } = settings
  const requireCalm = createCalm(settings)
  app.get('/new', challengeSchemas.create, async (request, reply) => {
    requireCalm(request, reply)
    reply.header('cache-control', 'no-store')
    return proofOfWork.create(clientOf(request.ip).key)
  })
  app.post<{ Body: AnswerBody }>('/answer', challengeSchemas.answer, async (request, reply) => {
    requireCalm(request, reply)
    const { altcha, next } = request.body
    const { key } = clientOf(request.ip)
    const passed = await proofOfWork.verify(key, altcha)
    onAnswer(request, passed)
    const isForm = /\btext\/html\b/.test(request.headers.accept ?? '')
    const page = gate.paths.answer.replace(/\/answer$/, '')
    if (!passed) {
      if (!isForm) throw new PARAPET_ANOMALY_GUARD_CHALLENGE_FAILED()
      return reply.redirect(`${page}?failed=1&next=${encodeURIComponent(localPath(next))}`, 303)
    }
    const pass = passes.issue(key)
    reply
      .header('cache-control', 'no-store')
      .header('set-cookie', writeCookie(request, pass, passes))
    if (isForm) return reply.redirect(localPath(next), 303)
    return { pass, expiresInMs: passes.ttlMs }
  })
}

function createCalm({ clientOf, tick }: ChallengeRouteSettings) {
  const counts = new CountWindows({ windowMs: 60_000, capacity: PER_MINUTE + 1, maxKeys: 50_000 })
  return (request: FastifyRequest, reply: FastifyReply): void => {
    if (counts.add(clientOf(request.ip).hash, tick()) <= PER_MINUTE) return
    reply.header('retry-after', '60')
    throw new PARAPET_ANOMALY_GUARD_TIGHTENED()
  }
}

function writeCookie(request: FastifyRequest, pass: string, { ttlMs }: Passes): string {
  const secure = request.protocol === 'https' ? '; Secure' : ''
  const maxAge = Math.floor(ttlMs / 1000)
  return `${cookieName(request)}=${pass}; Path=/; Max-Age=${maxAge}; HttpOnly; SameSite=Lax${secure}`
}

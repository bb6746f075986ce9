/** Lets a challenged client pass with a solved challenge, and sends it to the page otherwise. */
import { readCookie } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Passes } from '../challenge/pass.ts'
import { renderPage, PAGE_POLICY, type PagePaths } from '../challenge/page.ts'
import type { Containment } from '../contain/containment.ts'
import { PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED } from '../errors.ts'
import type { CountWindows } from '../windows/windows.ts'

/** See {@link ChallengeGate}. */
export interface GateSettings {
  readonly passes: Passes
  readonly prefix: string
  /** The requests of each pass. */
  readonly spent: CountWindows
  readonly hash: (text: string) => number
  readonly tick: () => number
}

/** The gate of one app. */
export class ChallengeGate {
  readonly paths: PagePaths
  readonly #settings: GateSettings
  /** The requests that were taken from the budget of their pass. */
  readonly #counted = new WeakSet<FastifyRequest>()
  /** The routes of the challenge; others below its prefix are the app's. */
  readonly #own: ReadonlySet<string>

  constructor(settings: GateSettings) {
    this.#settings = settings
    const { prefix } = settings
    this.paths = {
      widget: `${prefix}/altcha.js`,
      script: `${prefix}/page.js`,
      style: `${prefix}/page.css`,
      challenge: `${prefix}/new`,
      answer: `${prefix}/answer`,
    }
    const files = ['worker.js', 'altcha.css'].map((name) => `${prefix}/${name}`)
    this.#own = new Set([prefix, ...files, ...Object.values<string>({ ...this.paths })])
  }

  /**
   * Whether the request is for the challenge itself, or has a pass from after the containment began. It takes one
   * request from the budget of the pass, however often it is asked.
   */
  admits(request: FastifyRequest, client: string, { createdAt }: Containment): boolean {
    if (this.#own.has(request.routeOptions.url ?? '')) return true
    const header = request.headers['challenge-pass']
    const text =
      typeof header === 'string' ? header : readCookie(request.headers.cookie, cookieName(request))
    const { passes, spent, hash, tick } = this.#settings
    if (text === undefined || !passes.isValid(text, client, createdAt)) return false
    if (this.#counted.has(request)) return true
    if (!spent.take(hash(text), tick())) return false
    this.#counted.add(request)
    return true
  }

  /** Answers with the page where a browser navigates, else with an error that names the page. */
  demand(request: FastifyRequest, reply: FastifyReply, done: (error: Error) => void): void {
    const { method, headers, url } = request
    reply.header(
      'location',
      `${this.#settings.prefix}?next=${encodeURIComponent(url.slice(0, 1000))}`,
    )
    reply.header('cache-control', 'no-store').header('vary', 'accept')
    const isNavigation = method === 'GET' && /\btext\/html\b/.test(headers.accept ?? '')
    if (!isNavigation) {
      done(new PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED())
      return
    }
    void sendPage(reply.code(428), renderPage(this.paths, url, false))
  }
}

/** Sends the page with its own policy, whatever the policy of the app is. */
export function sendPage(reply: FastifyReply, page: string): FastifyReply {
  return reply
    .header('content-security-policy', PAGE_POLICY)
    .header('cache-control', 'no-store')
    .header('x-content-type-options', 'nosniff')
    .header('referrer-policy', 'same-origin')
    .type('text/html; charset=utf-8')
    .send(page)
}

/** Over https the name has the prefix that no other host can set. @see RFC 6265bis, section 4.1.3.2 */
export function cookieName({ protocol }: FastifyRequest): string {
  return protocol === 'https' ? '__Host-challenge-pass' : 'challenge-pass'
}

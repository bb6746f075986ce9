/** Looks at the HTML pages that are sent: allows the script of Scalar, and gives hints for mistakes. */
import type { FastifyBaseLogger, FastifyReply } from 'fastify'
import { scalarSources } from '../../csp/scalar.ts'
import type { Block } from '../../headers/block.ts'
import { hasNonce } from './csp-nonce.ts'
import { blockOf, type Parts } from '../request/parts.ts'

/** Looks at one response before it is sent. */
export type PageCheck = (reply: FastifyReply, payload: unknown) => void

/**
 * Creates the check.
 *
 * @param log receives each hint once. `null`: in production there are none.
 * @param set sets a header without checks.
 */
export function createPageCheck(
  parts: Parts,
  log: FastifyBaseLogger | null,
  set: (reply: FastifyReply, name: string, value: string) => void,
): PageCheck {
  const hints = log === null ? null : createHints(log)
  return (reply, payload) => {
    hints?.checkRedirect(reply, parts)
    hints?.tell()
    const isText = typeof payload === 'string'
    if (!isText && (hints === null || !isStream(payload))) return
    if (!/^text\/html\b/i.test(String(reply.getHeader('content-type')))) return
    const block = blockOf(reply.request, parts)
    if (isText && block.inlineHeader !== null) allowScalar(reply, payload, block.inlineHeader, set)
    hints?.note(reply, payload, block)
  }
}

function allowScalar(
  reply: FastifyReply,
  html: string,
  { name, parts: around }: NonNullable<Block['inlineHeader']>,
  set: (reply: FastifyReply, name: string, value: string) => void,
): void {
  const sources = scalarSources(html)
  if (sources.length > 0) set(reply, name, around.join(sources.join(' ')))
}

function isStream(payload: unknown): boolean {
  return typeof (payload as { pipe?: unknown } | null | undefined)?.pipe === 'function'
}

/** Hints for development. Each is logged once. */
function createHints(log: FastifyBaseLogger) {
  let waiting: FastifyReply | null = null
  let isNonceTold = false
  let isRedirectTold = false
  return {
    /** Remembers a page whose scripts need a nonce. A later hook may still read it. */
    note(reply: FastifyReply, payload: unknown, { nonceHeaders, values }: Block): void {
      if (isNonceTold || waiting !== null || nonceHeaders.length === 0 || hasNonce(reply)) return
      if (values.some((value) => /script-src [^;]*'sha\d/.test(value))) return
      if (typeof payload !== 'string' || /<script\b/i.test(payload)) waiting = reply
    },
    /** Runs with the next response, when the noted one is complete. */
    tell(): void {
      if (waiting === null || !waiting.raw.writableEnded) return
      const { method, routeOptions } = waiting.request
      if (!hasNonce(waiting) && waiting.statusCode === 200) {
        isNonceTold = true
        log.warn(
          `@parapet/security-headers: ${method} ${routeOptions.url} sent a page without reading reply.cspNonce, so browsers run none of its scripts. Write <script nonce="\${reply.cspNonce.script}">, or set the preset "spa" for the output of a bundler`,
        )
      }
      waiting = null
    },
    /** Chromium applies `form-action` to redirects as well. @see W3C CSP Level 3, section 6.4.2 */
    checkRedirect(reply: FastifyReply, { base }: Parts): void {
      if (isRedirectTold || reply.request.method !== 'POST' || !base.page) return
      const location = reply.getHeader('location')
      if (typeof location !== 'string' || !URL.canParse(location)) return
      const { origin, host } = new URL(location)
      const policy = base.block.values.find((value) => value.includes('form-action ')) ?? ''
      const sources = /form-action ([^;]*)/.exec(policy)?.[1] ?? ''
      if (host === reply.request.host || sources === '' || sources.includes(origin)) return
      isRedirectTold = true
      log.warn(
        `@parapet/security-headers: POST ${reply.request.routeOptions.url} redirects to ${origin}, which Chromium refuses after a form, because form-action is ${sources}. Set csp: { 'form-action': ["'self'", '${origin}'] } for the page with the form`,
      )
    },
  }
}

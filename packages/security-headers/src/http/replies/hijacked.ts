/** Completes the headers of hijacked replies, whose handlers write to `reply.raw`. */
import type { ServerResponse } from 'node:http'
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { Block } from '../../headers/block.ts'
import { isTargeted } from '../../policy/cache-control.ts'
import { blockOf } from '../request/parts.ts'
import { markTargeted } from './cache-control.ts'
import { hasNonce } from './csp-nonce.ts'
import { rawAccess } from './header-access.ts'
import { createMethodLookup } from './replaced-method.ts'
import { kApplied, type AppliedReply, type Services } from './services.ts'

/** The handler of a hijacked reply writes to `reply.raw`, so the headers must be set there. */
export function decorateHijack(
  app: FastifyInstance,
  { parts, kinds, cache, values, apply }: Services,
): void {
  const hijackOf = createMethodLookup('hijack', hijack)
  app.decorateReply('hijack', hijack as never)

  function hijack(this: AppliedReply): FastifyReply {
    const block = blockOf(this.request, parts)
    if (!this.raw.headersSent) {
      if (this[kApplied] !== true) apply(this, block)
      copyToRaw(this, block)
      completeHead(this, complete)
    }
    return hijackOf(this).call(this)
  }

  function complete(reply: FastifyReply): void {
    const { raw } = reply
    for (const name of raw.getHeaderNames()) {
      const kind = kinds.get(name)
      const isStale = kind === 'validator' && hasNonce(reply)
      if (kind === 'revealing' || isStale) raw.removeHeader(name)
      else if (isTargeted(name)) markTargeted(reply)
    }
    values.completeRaw(reply)
    cache.correct(reply, rawAccess)
  }
}

/** Copies the headers of the reply. Those that the handler has set on `reply.raw` itself stay. */
function copyToRaw(reply: FastifyReply, { names, values }: Block): void {
  const { raw } = reply
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    // The block may be on `reply.raw` already, without the nonce.
    const isOfBlock = raw.getHeader(name) === values[names.indexOf(name)]
    if (value !== undefined && (!raw.hasHeader(name) || isOfBlock)) raw.setHeader(name, value)
  }
}

type WriteHead = (status: number, ...rest: unknown[]) => unknown

/**
 * Calls `complete` when the handler writes the head, with all headers set on `reply.raw`. The method
 * of the response is put back before the head is written.
 */
function completeHead(reply: FastifyReply, complete: (reply: FastifyReply) => void): void {
  const raw = reply.raw as Omit<ServerResponse, 'writeHead'> & { writeHead: WriteHead }
  const before = Object.getOwnPropertyDescriptor(raw, 'writeHead')
  const { writeHead } = raw
  const completed: WriteHead = (status, ...rest) => {
    const headers = rest.find((each) => typeof each === 'object' && each !== null)
    // Node refuses a list with a name that has no value.
    const isMergeable = !Array.isArray(headers) || headers.length % 2 === 0
    if (isMergeable) {
      mergeHeaders(raw, headers)
      complete(reply)
    }
    // Another plugin may have replaced the method since; its replacement must stay.
    if (raw.writeHead === completed) {
      if (before === undefined) Reflect.deleteProperty(raw, 'writeHead')
      else Object.defineProperty(raw, 'writeHead', before)
    }
    const left = isMergeable ? rest.filter((each) => typeof each === 'string') : rest
    return writeHead.call(raw, status, ...(left as []))
  }
  raw.writeHead = completed
}

/** As Node merges them: they replace those of `setHeader`, and a list may repeat a name. */
function mergeHeaders(raw: Omit<ServerResponse, 'writeHead'>, headers: unknown): void {
  if (Array.isArray(headers)) {
    const list = headers as string[]
    for (let index = 0; index < list.length; index += 2) raw.removeHeader(list[index]!)
    for (let index = 0; index < list.length; index += 2) {
      raw.appendHeader(list[index]!, list[index + 1]!)
    }
    return
  }
  for (const [name, value] of Object.entries((headers ?? {}) as Record<string, string>)) {
    // As in Node, an empty name is ignored.
    if (name !== '') raw.setHeader(name, value)
  }
}

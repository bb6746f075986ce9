/** The corpora of attacks and of harmless texts, as requests. */
import { parse } from 'node:querystring'
import type { RequestParts } from '../src/inspect/types.ts'

/** A line of `libinjection.jsonl` or `gotestwaf.jsonl`. */
export interface Payload {
  /** 1 is an attack. */
  readonly l: 0 | 1
  /** The class, or a finer one. */
  readonly c: string
  /** The payload, as in a query string. */
  readonly p: string
  readonly where?: readonly string[]
}

/** A line of `crs-regression.jsonl`. */
export interface Stage {
  readonly l: 0 | 1
  readonly rule: number
  readonly grp: string
  readonly method: string
  readonly uri: string
  readonly headers: Readonly<Record<string, string>>
  readonly data?: string
}

/** A labelled request. */
export interface Labelled {
  readonly attack: boolean
  readonly group: string
  readonly text: string
  readonly parts: RequestParts
}

/** The payload in the query, encoded by a client; in a header or the body where it is meant for that. */
export function requestOf({ l, c, p, where = [] }: Payload): Labelled {
  const label = { attack: l === 1, group: c, text: p }
  if (where.includes('UserAgent'))
    return { ...label, parts: { url: '/', headers: { 'user-agent': p } } }
  if (where.includes('XMLBody') || where.includes('SOAPBody'))
    return { ...label, parts: { url: '/', body: p } }
  if (where.includes('GraphQL')) return { ...label, parts: { url: '/graphql', body: { query: p } } }
  return { ...label, parts: { url: `/search?q=${encodeURIComponent(wellFormed(p))}` } }
}

/** The payload as a field of a JSON body. */
export function bodyOf({ l, c, p }: Payload): Labelled {
  return { attack: l === 1, group: c, text: p, parts: { url: '/', body: { q: p } } }
}

/** The payload as it is in the query. */
export function rawOf({ l, c, p }: Payload): Labelled {
  return {
    attack: l === 1,
    group: c,
    text: p,
    parts: { url: `/search?q=${p.replaceAll('&', '%26').replaceAll('#', '%23')}` },
  }
}

/** A stage of the tests of the core rule set, with its body parsed as a server would. */
export function stageOf(stage: Stage): Labelled {
  const headers = Object.fromEntries(
    Object.entries(stage.headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const body =
    stage.data === undefined ? undefined : bodyFrom(stage.data, headers['content-type'] ?? '')
  return {
    attack: stage.l === 1,
    group: stage.grp,
    text: `${stage.rule} ${stage.method} ${stage.uri} | ${stage.data ?? ''} | ${JSON.stringify(headers)}`,
    parts: { url: stage.uri, headers, body },
  }
}

function bodyFrom(data: string, type: string): unknown {
  if (/json/i.test(type)) {
    try {
      return JSON.parse(data)
    } catch {
      return data
    }
  }
  if (/multipart/i.test(type)) return multipartOf(data)
  if (/xml|text/i.test(type)) return data
  return { ...parse(data.trim()) }
}

/** As `@fastify/multipart` attaches the parts to the body. */
function multipartOf(data: string): unknown {
  const body: Record<string, unknown> = {}
  for (const [i, part] of data.split(/\r?\n?-{2,}[\w'-]{4,70}\r?\n?/).entries()) {
    const [head = '', ...rest] = part.split(/\r?\n\r?\n/)
    const filename = /filename\*?=["']?([^"'\r\n]*)/i.exec(head)?.[1]
    const fieldname = /\bname=["']?([^"';\r\n]*)/i.exec(head)?.[1]
    if (fieldname === undefined) continue
    const value = rest.join('\n\n')
    const mimetype = /content-type:\s*([^\r\n]*)/i.exec(head)?.[1]
    body[`${fieldname}${i === 0 ? '' : ''}`] = {
      fieldname,
      filename,
      mimetype,
      fields: body,
      value: filename === undefined ? value : undefined,
    }
  }
  return body
}

/** Lone surrogates cannot be encoded. */
function wellFormed(text: string): string {
  return text.toWellFormed()
}

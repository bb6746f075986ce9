/** The live feed: server-sent events, one reader of the storage for all feeds of an instance. */
import type { Clock } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import {
  PARAPET_INCIDENT_RESPONSE_CLOSED,
  PARAPET_INCIDENT_RESPONSE_TOO_MANY_FEEDS,
} from '../errors.ts'
import type { Entry } from '../incidents/incident.ts'
import type { IncidentStore } from '../store/incident-store.ts'

/** The feeds of an instance. */
export interface Feeds {
  /** Sends entries until the client goes, or its time is up. @throws PARAPET_INCIDENT_RESPONSE_TOO_MANY_FEEDS */
  open(request: FastifyRequest, reply: FastifyReply): Promise<void>
  close(): void
}

/** What the feeds need. */
export interface FeedSettings {
  readonly store: IncidentStore
  readonly clock: Clock
  readonly maxFeeds: number
  readonly onError: (error: unknown) => void
}

const POLL_MS = 1000
const HEARTBEAT_MS = 15_000
/** Then the client connects again, and its rights are checked again. */
const LONGEST_MS = 900_000
/** A client that does not read is not waited for. */
const MAX_UNREAD_BYTES = 1_048_576
const MAX_ENTRIES = 500
/** At most so many entries that the client has missed. */
const MAX_MISSED = 5000

interface Feed {
  readonly reply: FastifyReply
  readonly until: number
  sentAt: number
  last: number
}

/** Makes the feeds. */
export function createFeeds(settings: FeedSettings): Feeds {
  return new LiveFeeds(settings)
}

class LiveFeeds implements Feeds {
  readonly #settings: FeedSettings
  readonly #feeds = new Set<Feed>()
  #cancel: (() => void) | undefined
  #isPolling = false
  #isClosed = false
  /** Requests that will be feeds. */
  #opening = 0

  constructor(settings: FeedSettings) {
    this.#settings = settings
  }

  async open(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { maxFeeds } = this.#settings
    if (this.#isClosed) throw new PARAPET_INCIDENT_RESPONSE_CLOSED()
    if (this.#feeds.size + this.#opening >= maxFeeds) {
      throw new PARAPET_INCIDENT_RESPONSE_TOO_MANY_FEEDS(maxFeeds)
    }
    this.#opening++
    try {
      await this.#start(request, reply)
    } finally {
      this.#opening--
    }
  }

  close(): void {
    this.#isClosed = true
    this.#cancel?.()
    for (const feed of this.#feeds) this.#end(feed)
  }

  async #start(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { store, clock, onError } = this.#settings
    const last = startOf(request, await store.lastSeq())
    const now = clock.now()
    const feed: Feed = { reply, last, sentAt: now, until: now + LONGEST_MS }
    reply.hijack()
    reply.raw.on('error', () => {})
    reply.raw.once('close', () => this.#feeds.delete(feed))
    reply.raw.writeHead(200, { ...headersOf(reply), ...HEADERS })
    reply.raw.write(`retry: 3000\n\n`)
    const isFollowing = await catchUp(store, feed, now).catch((error: unknown) => {
      onError(error)
      return false
    })
    if (!isFollowing || this.#isClosed) return void reply.raw.end()
    this.#feeds.add(feed)
    this.#schedule()
  }

  #schedule(): void {
    if (this.#isPolling || this.#feeds.size === 0) return
    const { clock, onError } = this.#settings
    this.#isPolling = true
    this.#cancel = clock.schedule(POLL_MS, () => {
      void this.#poll()
        .catch(onError)
        .finally(() => {
          this.#isPolling = false
          this.#schedule()
        })
    })
  }

  async #poll(): Promise<void> {
    const { store, clock, onError } = this.#settings
    const oldest = Math.min(...[...this.#feeds].map(({ last }) => last))
    // A storage that fails must not keep feeds open for ever.
    const entries = await store.feed(oldest, MAX_ENTRIES).catch((error: unknown) => {
      onError(error)
      return []
    })
    for (const feed of this.#feeds) if (!follow(feed, entries, clock.now())) this.#end(feed)
  }

  #end(feed: Feed): void {
    this.#feeds.delete(feed)
    feed.reply.raw.end()
  }
}

const HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-store',
  // nginx would keep the events back.
  'x-accel-buffering': 'no',
} as const

/** Sends what a client has missed, before it is one of those that are read for together: they do not wait for it. */
async function catchUp(store: IncidentStore, feed: Feed, now: number): Promise<boolean> {
  for (;;) {
    const entries = await store.feed(feed.last, MAX_ENTRIES)
    for (const entry of entries) write(feed, entry, now)
    if (feed.reply.raw.destroyed || feed.reply.raw.writableLength > MAX_UNREAD_BYTES) return false
    if (entries.length < MAX_ENTRIES) return true
  }
}

/** Sends what is new, or that there is nothing new. @returns whether the feed goes on. */
function follow(feed: Feed, entries: readonly Entry[], now: number): boolean {
  for (const entry of entries.filter(({ seq }) => seq > feed.last)) write(feed, entry, now)
  if (now - feed.sentAt >= HEARTBEAT_MS) {
    feed.sentAt = now
    feed.reply.raw.write(': here\n\n')
  }
  return now < feed.until && feed.reply.raw.writableLength <= MAX_UNREAD_BYTES
}

/** After which entry: what the client says, but no more than is kept for it, and never one that does not exist yet. */
function startOf(request: FastifyRequest, latest: number): number {
  const known = Number(request.headers['last-event-id'] ?? Number.NaN)
  // After a restore the client may know entries of a future that was lost.
  if (!Number.isSafeInteger(known) || known < 0 || known > latest) return latest
  return Math.max(known, latest - MAX_MISSED)
}

/** Those that other plugins have set. */
function headersOf(reply: FastifyReply): Record<string, string | string[] | number> {
  const set = Object.entries(reply.getHeaders()).filter(([, value]) => value !== undefined)
  return Object.fromEntries(set) as Record<string, string | string[] | number>
}

function write(feed: Feed, entry: Entry, now: number): void {
  feed.last = entry.seq
  feed.sentAt = now
  // JSON has no line breaks.
  feed.reply.raw.write(`id: ${entry.seq}\nevent: ${entry.kind}\ndata: ${JSON.stringify(entry)}\n\n`)
}

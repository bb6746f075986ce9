/**
 * Security events: plugins report what happened here, without knowing who listens.
 *
 * One bus per server, shared by all contexts of the app and by all copies of kit of one major
 * version. Delivery is synchronous and in order; an error in a listener never affects the request.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { systemClock } from '../time/clock.ts'
import { createUuidV7 } from '../crypto/uuid.ts'
import { flatten } from './event-details.ts'
import { requestSource, type RequestSource } from './request-source.ts'

/**
 * The details of each event, by type. Each plugin adds its own by declaration merging:
 *
 * ```ts
 * declare module '@parapet/kit' {
 *   interface SecurityEventTypes {
 *     'rbac.denied': { permission: string; reason: string }
 *   }
 * }
 * ```
 */
export interface SecurityEventTypes {
  'kit.store_lost': { reason: string }
  'kit.store_recovered': { downMs: number }
  'kit.store_unsafe': { risk: string; message: string }
}

/** A declared event type: `<plugin>.<past participle>`. */
export type SecurityEventType = keyof SecurityEventTypes

/** What `details` may hold: flat, JSON only, never a secret and never a body. */
export type SecurityEventDetails = Readonly<
  Record<string, string | number | boolean | null | readonly (string | number | boolean)[]>
>

/** OCSF's `severity_id` 1 to 5. @see https://schema.ocsf.io */
export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical'

/** ECS `event.outcome`. */
export type Outcome = 'success' | 'failure' | 'unknown'

/** The declaration of an event, in a plugin's `events.ts`. */
export interface SecurityEventDeclaration {
  readonly severity: Severity
  readonly outcome: Outcome
  /** One sentence for the documentation and for the reader of an alert. */
  readonly description: string
}

/** A plugin's table of events. */
export type SecurityEventTable = Readonly<
  Partial<Record<SecurityEventType, SecurityEventDeclaration>>
>

/** Who did what to what; the members of {@link RequestSource} are filled in from the request. */
export interface SecurityEventSubject extends Partial<RequestSource> {
  readonly action?: string
  readonly resourceType?: string
  readonly resourceId?: string
}

/** The argument of `emit`. */
export type SecurityEventFields<T extends SecurityEventType> = SecurityEventSubject & {
  readonly details: SecurityEventTypes[T]
  /** @default the severity of the declaration */
  readonly severity?: Severity
  /** @default the outcome of the declaration */
  readonly outcome?: Outcome
}

/** A security event. Frozen. */
export type SecurityEvent<T extends SecurityEventType = SecurityEventType> = {
  [K in T]: SecurityEventSubject & {
    /** UUIDv7. */
    readonly id: string
    /** Milliseconds since the Unix epoch. */
    readonly time: number
    readonly type: K
    readonly severity: Severity
    readonly outcome: Outcome
    readonly details: Readonly<SecurityEventTypes[K]>
  }
}[T]

/** Receives events. What it throws, or a promise it rejects, is logged and contained. */
export type SecurityEventListener<T extends SecurityEventType = SecurityEventType> = (
  event: SecurityEvent<T>,
) => unknown

/** The bus at `app.securityEvents`. */
export interface SecurityEvents {
  /**
   * Calls every listener before it returns. It never throws; without a listener for the type it costs
   * nanoseconds. An event that a listener emits is delivered after the one it received.
   *
   * @param request fills in peer, user agent, request id, route and principal.
   */
  emit<T extends SecurityEventType>(
    type: T,
    fields: SecurityEventFields<T>,
    request?: FastifyRequest,
  ): void
  /**
   * Listens to one type, or to all with `'*'`. Listeners are called in order of registration.
   *
   * @returns a function that stops listening.
   */
  on<T extends SecurityEventType>(type: T | '*', listener: SecurityEventListener<T>): () => void
  /** What the plugins registered so far can emit. */
  readonly declarations: ReadonlyMap<string, SecurityEventDeclaration>
}

declare module 'fastify' {
  interface FastifyInstance {
    securityEvents: SecurityEvents
  }
}

/** A listener that emits an event for every event would never end; the surplus is dropped and logged. */
const MAX_QUEUED = 10_000
/** Bounds the memory; later names are left out without a log line. */
const MAX_DROPPED_NAMES = 100

const SUBJECT = [
  'ip',
  'requestId',
  'route',
  'userAgent',
  'principalId',
  'sessionId',
  'actorId',
  'action',
  'resourceType',
  'resourceId',
] as const satisfies readonly (keyof SecurityEventSubject)[]

const kBus = Symbol.for('@parapet/kit:security-events@0')

/** Where the bus logs contained errors: `app.log` fits. */
export interface EventLog {
  error(fields: object, message: string): void
}

/** Inside the bus an event type is a string; the public signatures tie it to its details. */
type AnyEvent = Pick<SecurityEventDeclaration, 'severity' | 'outcome'> &
  SecurityEventSubject & {
    readonly id: string
    readonly time: number
    readonly type: string
    readonly details: object
  }
type AnyListener = (event: AnyEvent) => unknown
type AnyFields = SecurityEventSubject & {
  readonly details: object
  readonly severity?: Severity
  readonly outcome?: Outcome
}

/** The bus itself; plugins reach it through {@link useSecurityEvents}. */
export class SecurityEventBus implements SecurityEvents {
  readonly declarations = new Map<string, SecurityEventDeclaration>()
  readonly #listeners: { type: string; listener: AnyListener }[] = []
  /** Listeners by type, in order of registration, `'*'` merged in; rebuilt when the list changes. */
  readonly #audience = new Map<string, readonly AnyListener[]>()
  readonly #queue: AnyEvent[] = []
  /** Members of details that were left out and logged. */
  readonly #dropped = new Set<string>()
  readonly #log: EventLog
  readonly #now: () => number
  readonly #nextId: () => string
  #draining = false

  constructor(log: EventLog, now: () => number = systemClock.now) {
    this.#log = log
    this.#now = now
    this.#nextId = createUuidV7({ now })
  }

  emit<T extends SecurityEventType>(
    type: T,
    fields: SecurityEventFields<T>,
    request?: FastifyRequest,
  ): void {
    if (this.#listeners.length === 0 || this.#audienceOf(type).length === 0) return
    if (this.#queue.length >= MAX_QUEUED) {
      this.#log.error({ type }, 'security event dropped: too many events emitted by listeners')
      return
    }
    try {
      this.#queue.push(this.#build(type, fields, request))
    } catch (error) {
      this.#log.error({ err: error, type }, 'security event could not be built')
    }
    if (!this.#draining) this.#drain()
  }

  on<T extends SecurityEventType>(type: T | '*', listener: SecurityEventListener<T>): () => void {
    const entry = { type, listener: listener as AnyListener }
    this.#listeners.push(entry)
    this.#audience.clear()
    return () => {
      const index = this.#listeners.indexOf(entry)
      if (index !== -1) this.#listeners.splice(index, 1)
      this.#audience.clear()
    }
  }

  declare(table: SecurityEventTable): void {
    for (const [type, declaration] of Object.entries<SecurityEventDeclaration>(table)) {
      this.declarations.set(type, Object.freeze({ ...declaration }))
    }
  }

  #audienceOf(type: string): readonly AnyListener[] {
    let audience = this.#audience.get(type)
    if (audience === undefined) {
      audience = this.#listeners
        .filter((entry) => entry.type === type || entry.type === '*')
        .map((entry) => entry.listener)
      this.#audience.set(type, audience)
    }
    return audience
  }

  #build(type: string, fields: AnyFields, request: FastifyRequest | undefined): AnyEvent {
    const declaration = this.declarations.get(type)
    if (declaration === undefined) throw new TypeError(`event type "${type}" is not declared`)
    const event: Record<string, unknown> = {
      id: this.#nextId(),
      time: this.#now(),
      type,
      severity: fields.severity ?? declaration.severity,
      outcome: fields.outcome ?? declaration.outcome,
      ...(request === undefined ? undefined : requestSource(request)),
    }
    // Only known members: a spread of a user's object must not replace the stamp.
    for (const key of SUBJECT) if (fields[key] !== undefined) event[key] = fields[key]
    event['details'] = flatten(fields.details, (member) => this.#dropMember(type, member))
    return Object.freeze(event) as unknown as AnyEvent
  }

  #dropMember(type: string, key: string): void {
    const name = `${type} ${key}`
    if (this.#dropped.has(name) || this.#dropped.size >= MAX_DROPPED_NAMES) return
    this.#dropped.add(name)
    this.#log.error(
      { type, member: key },
      'a member of the details of a security event is neither a text, a number, a boolean nor a list of these; it was left out',
    )
  }

  #drain(): void {
    this.#draining = true
    for (let index = 0; index < this.#queue.length; index++) {
      const event = this.#queue[index]!
      for (const listener of this.#audienceOf(event.type)) this.#deliver(listener, event)
    }
    this.#queue.length = 0
    this.#draining = false
  }

  #deliver(listener: AnyListener, event: AnyEvent): void {
    try {
      const result = listener(event)
      if (result instanceof Promise) result.catch((error: unknown) => this.#contain(error, event))
    } catch (error) {
      this.#contain(error, event)
    }
  }

  #contain(error: unknown, event: AnyEvent): void {
    this.#log.error(
      { err: error, type: event.type, id: event.id },
      'security event listener failed',
    )
  }
}

/**
 * Adds `app.securityEvents` to the app (further calls reuse it, from any context) and declares the
 * plugin's own events.
 *
 * @param table the plugin's events; declaring one twice is harmless.
 * @returns the one bus of this server.
 */
export function useSecurityEvents(
  app: FastifyInstance,
  table: SecurityEventTable = {},
): SecurityEvents {
  // Encapsulated contexts are separate objects, but they share one server.
  const server = app.server as { [kBus]?: SecurityEventBus }
  const bus = (server[kBus] ??= new SecurityEventBus(app.log))
  bus.declare(table)
  if (!app.hasDecorator('securityEvents')) app.decorate('securityEvents', bus)
  return bus
}

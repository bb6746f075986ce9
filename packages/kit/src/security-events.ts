/**
 * Security events: what a plugin knows goes out here, and no plugin knows who listens.
 *
 * One bus per server, shared by every context of the app and by every copy of kit of one major
 * version. Delivery is synchronous and in order; nothing a listener does reaches the request.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { systemClock } from './clock.ts'
import { createUuidV7 } from './uuid.ts'

/**
 * The details of each event, by type. Every plugin adds its own by declaration merging:
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
}

/** A declared event type: `<plugin>.<past participle>`. */
export type SecurityEventType = keyof SecurityEventTypes

/** What `details` may hold: flat, JSON only, never a secret and never a body. */
export type SecurityEventDetails = Readonly<
  Record<string, string | number | boolean | null | readonly (string | number | boolean)[]>
>

/** How bad: the words of OCSF's `severity_id` 1 to 5. @see https://schema.ocsf.io */
export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical'

/** How it ended, in the words of ECS `event.outcome`. */
export type Outcome = 'success' | 'failure' | 'unknown'

/** What a plugin declares of each event it emits, in its `events.ts`. */
export interface SecurityEventDeclaration {
  readonly severity: Severity
  readonly outcome: Outcome
  /** One sentence for the README and for whoever reads the alert. */
  readonly description: string
}

/** A plugin's table of events. */
export type SecurityEventTable = Readonly<
  Partial<Record<SecurityEventType, SecurityEventDeclaration>>
>

/** Who, where and what: every member is optional, and those of the request are filled in from it. */
export interface SecurityEventSubject {
  readonly principalId?: string
  readonly sessionId?: string
  /** The peer, as Fastify's `trustProxy` has it. */
  readonly ip?: string
  /** At most 512 characters. */
  readonly userAgent?: string
  readonly requestId?: string
  /** Method and pattern: `GET /users/:id`. Never the URL, which may carry secrets. */
  readonly route?: string
  readonly action?: string
  readonly resourceType?: string
  readonly resourceId?: string
}

/** What the caller of `emit` says. */
export type SecurityEventFields<T extends SecurityEventType> = SecurityEventSubject & {
  readonly details: SecurityEventTypes[T]
  /** @default the severity of the declaration */
  readonly severity?: Severity
  /** @default the outcome of the declaration */
  readonly outcome?: Outcome
}

/** One thing that happened. Frozen. */
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

/** Hears events. What it throws, or a promise it rejects, is logged and goes no further. */
export type SecurityEventListener<T extends SecurityEventType = SecurityEventType> = (
  event: SecurityEvent<T>,
) => unknown

/** The bus at `app.securityEvents`. */
export interface SecurityEvents {
  /**
   * Tells every listener, before it returns. It never throws, and with no listener for the type it
   * costs nanoseconds. What a listener emits is delivered after the event it heard.
   *
   * @param request fills in peer, user agent, request id, route and principal.
   */
  emit<T extends SecurityEventType>(
    type: T,
    fields: SecurityEventFields<T>,
    request?: FastifyRequest,
  ): void
  /**
   * Listens to one type, or to all with `'*'`. Listeners hear an event in the order they came.
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

/** A listener that answers every event with another would never end; the surplus is dropped and logged. */
const MAX_QUEUED = 10_000
const MAX_USER_AGENT = 512
const kBus = Symbol.for('@parapet/kit:security-events@0')

/** Where the bus reports what it contained: `app.log` fits. */
export interface EventLog {
  error(fields: object, message: string): void
}

/** Inside the bus the type of an event is just text; the public signatures tie it to its details. */
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
      this.#log.error({ type }, 'security event dropped: listeners answer events with events')
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
    const { details, ...subject } = fields
    return Object.freeze({
      id: this.#nextId(),
      time: this.#now(),
      type,
      severity: declaration.severity,
      outcome: declaration.outcome,
      ...(request === undefined ? undefined : subjectOf(request)),
      ...subject,
      details: Object.freeze({ ...details }),
    })
  }

  #drain(): void {
    this.#draining = true
    for (let index = 0; index < this.#queue.length; index++) {
      const event = this.#queue[index]!
      for (const listener of this.#audienceOf(event.type)) this.#tell(listener, event)
    }
    this.#queue.length = 0
    this.#draining = false
  }

  #tell(listener: AnyListener, event: AnyEvent): void {
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

function subjectOf(request: FastifyRequest): SecurityEventSubject {
  const { method, url } = request.routeOptions
  const agent = request.headers['user-agent']
  // `principal` is absent where no plugin asked for it; a scanner's request may match no route.
  const principal = (request.principal as FastifyRequest['principal'] | undefined) ?? undefined
  return {
    ip: request.ip,
    requestId: request.id,
    ...(url === undefined ? undefined : { route: `${String(method)} ${url}` }),
    ...(agent === undefined ? undefined : { userAgent: agent.slice(0, MAX_USER_AGENT) }),
    ...(principal === undefined ? undefined : { principalId: principal.id }),
    ...(principal?.sessionId === undefined ? undefined : { sessionId: principal.sessionId }),
  }
}

/**
 * Puts `app.securityEvents` on the app, once however many plugins ask and from whichever context,
 * and declares the plugin's own events.
 *
 * @param table the plugin's events; declaring one twice is harmless.
 * @returns the one bus of this server.
 */
export function useSecurityEvents(
  app: FastifyInstance,
  table: SecurityEventTable = {},
): SecurityEvents {
  // Encapsulated contexts are separate objects; the server behind them is one.
  const server = app.server as { [kBus]?: SecurityEventBus }
  const bus = (server[kBus] ??= new SecurityEventBus(app.log))
  bus.declare(table)
  if (!app.hasDecorator('securityEvents')) app.decorate('securityEvents', bus)
  return bus
}

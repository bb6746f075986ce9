/** Records the security events of other plugins. */
import { clientKey, type SecurityEvent, type SecurityEvents } from '@parapet/kit'
import type { Audit } from '../audit.ts'
import type { AuditReceipt } from '../pipeline/writer.ts'
import { fieldsOfEvent } from './security-event.ts'

/** Refusals of one kind and one address that are counted together. */
interface Window {
  readonly endsAt: number
  count: number
  last: SecurityEvent
}

/** Anyone can cause refusals, and a record stays for years: from this number on they are counted. */
const RECORDED_SINGLY = 30
const WINDOW_MS = 60_000
const MAX_WINDOWS = 10_000
/** The one event of this plugin that is not recorded where it happens. */
const READ_REFUSED = 'audit_log.read_refused'

/** Records each event; of repeated refusals of unknown callers one record per minute has the number. */
export class EventRecorder {
  readonly #audit: Audit
  readonly #hold: (event: SecurityEvent, written: Promise<AuditReceipt>) => void
  readonly #windows = new Map<string, Window>()
  #cancelSweep: (() => void) | undefined

  /** @param hold makes the reply of the event's request wait for its record. */
  constructor(audit: Audit, hold: (event: SecurityEvent, written: Promise<AuditReceipt>) => void) {
    this.#audit = audit
    this.#hold = hold
  }

  /** @returns a function that stops it, and records what was counted */
  start(events: SecurityEvents): () => void {
    const unsubscribe = events.on('*', (event) => {
      // The plugin records its own events itself.
      if (event.type.startsWith('audit_log.') && event.type !== READ_REFUSED) return
      if (!this.#isRepeated(event)) this.#record(event)
    })
    return () => {
      unsubscribe()
      this.#cancelSweep?.()
      this.#sweep(Infinity)
    }
  }

  #record(event: SecurityEvent): void {
    const { id, time, type } = event
    const { actions, writer } = this.#audit.parts
    // Async, so that an invalid event type rejects instead of throwing into the event bus.
    const write = async () =>
      writer.record({ action: actions.getOpen(type), fields: fieldsOfEvent(event), id, time })
    const written = write()
    written.catch(() => {})
    this.#hold(event, written)
  }

  #isRepeated(event: SecurityEvent): boolean {
    const { ip, outcome, principalId, type } = event
    const isUnknown = principalId === undefined || type === READ_REFUSED
    if (outcome !== 'failure' || ip === undefined || !isUnknown) return false
    const key = `${type} ${clientKey(ip)}`
    const window = this.#windowOf(key, event)
    window.count++
    window.last = event
    return window.count > RECORDED_SINGLY
  }

  #windowOf(key: string, event: SecurityEvent): Window {
    const { clock } = this.#audit.parts.settings
    const now = clock.now()
    const known = this.#windows.get(key)
    if (known !== undefined && known.endsAt > now) return known
    this.#end(key)
    if (this.#windows.size >= MAX_WINDOWS) this.#end(this.#windows.keys().next().value!)
    const window = { endsAt: now + WINDOW_MS, count: 0, last: event }
    this.#windows.set(key, window)
    this.#plan()
    return window
  }

  #plan(): void {
    const { clock } = this.#audit.parts.settings
    this.#cancelSweep ??= clock.schedule(WINDOW_MS, () => {
      this.#cancelSweep = undefined
      this.#sweep(clock.now())
      if (this.#windows.size > 0) this.#plan()
    })
  }

  #sweep(now: number): void {
    for (const [key, { endsAt }] of this.#windows) if (endsAt <= now) this.#end(key)
  }

  /** Ends a window, and records what was only counted. */
  #end(key: string): void {
    const window = this.#windows.get(key)
    this.#windows.delete(key)
    if (window === undefined || window.count <= RECORDED_SINGLY) return
    const { actions, writer } = this.#audit.parts
    const { type, ip, severity, outcome } = window.last
    const data = { count: window.count - RECORDED_SINGLY, since: window.endsAt - WINDOW_MS }
    const fields = { ...(ip === undefined ? undefined : { ip }), severity, result: outcome, data }
    const action = { ...actions.getOpen(type), data: undefined }
    writer.record({ action, fields }).catch(() => {})
  }
}

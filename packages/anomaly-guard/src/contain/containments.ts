/**
 * Decides on containments. A measure holds on this instance at once; then one instance of the fleet claims it,
 * so that a hundred simultaneous detections cause one containment, one event and one call of a port.
 */
import { uuidV7, withDeadline, type Clock, type Store } from '@parapet/kit'
import type { ActiveContainments } from './active.ts'
import type { Allowlist } from './allowlist.ts'
import {
  formatTarget,
  slotOf,
  type Containment,
  type ContainmentKind,
  type Target,
} from './containment.ts'
import type { LadderSettings } from './ladder.ts'
import type { ContainmentPorts } from './ports.ts'
import type { ShareCap } from './share-cap.ts'
import { createLift, type SharedContainments } from './shared-containments.ts'
import { createStrikeBook, type StrikeBook } from './strikes.ts'

/** What is to be done. */
export interface ContainmentOrder {
  readonly kind: ContainmentKind
  readonly target: Target
  readonly reason: string
  /** The operator; without one the guard acts by itself, within its limits. */
  readonly by?: string | undefined
  /** @default the step of the ladder */
  readonly ttlMs?: number | undefined
  readonly factor?: number | undefined
  readonly anomalyId?: string | undefined
  /** Only says what would be done. */
  readonly dryRun?: boolean | undefined
}

/** Why an order was not carried out. */
export type Spared = 'allowlist' | 'grace' | 'cap' | 'capacity'

/** The result of an order. */
export interface ContainmentResult {
  /** What is, or in a dry run would be, in force; absent where the target is spared. */
  readonly containment?: Containment
  readonly spared?: Spared
  /** Whether this order made it. */
  readonly isNew: boolean
}

/** What happened to a containment, to be emitted as events. */
export interface ContainmentReporter {
  readonly contained: (containment: Containment) => void
  readonly lifted: (containment: Containment, by: string | null) => void
  readonly capReached: (
    order: ContainmentOrder,
    reading: { blocked: number; limit: number },
  ) => void
  readonly failed: (error: unknown, what: string) => void
}

/** See {@link createContainments}. */
export interface ContainmentsSettings {
  readonly store: Store
  readonly clock: Clock
  readonly active: ActiveContainments
  readonly shared: SharedContainments
  readonly allowlist: Allowlist
  readonly cap: ShareCap
  readonly ladder: LadderSettings
  readonly ports: ContainmentPorts
  readonly report: ContainmentReporter
  /** How many containments are kept at most. */
  readonly maxContainments: number
}

/** Makes and ends containments. */
export interface Containments {
  /** Decides at once; the shared part goes on in the background, see {@link settle}. */
  order(order: ContainmentOrder): ContainmentResult
  /** Resolves when the containment has been shared, has failed to be, or the store is too slow. */
  established(containment: Containment): Promise<void>
  /** Ends a containment. @returns `undefined` where there is none of that id. */
  lift(id: string, by: string | null, graceMs: number): Promise<Containment | undefined>
  /** Resolves when all that was ordered so far has been shared, or has failed to be. */
  settle(): Promise<void>
}

const NEW: Pick<ContainmentResult, 'isNew'> = { isNew: true }
/** Longer than a containment needs to reach the other instances. */
const CLAIM_MS = 30_000
const CAP_REPORT_MS = 60_000
const SETTLE_MS = 10_000

/** Creates the service of one instance. */
export function createContainments(settings: ContainmentsSettings): Containments {
  return new ContainmentService(settings)
}

class ContainmentService implements Containments {
  readonly #settings: ContainmentsSettings
  readonly #pending = new Map<string, Promise<void>>()
  readonly #strikes: StrikeBook

  #capReportedAt = -Infinity

  constructor(settings: ContainmentsSettings) {
    this.#settings = settings
    const { store, ladder, report } = settings
    this.#strikes = createStrikeBook({ store, ladder, onError: report.failed })
  }

  order(order: ContainmentOrder): ContainmentResult {
    const { active, clock, allowlist, shared, cap } = this.#settings
    const { kind, target, by, dryRun = false } = order
    const now = clock.now()
    if (allowlist.has(target)) return { spared: 'allowlist', isNew: false }
    const present = active.inSlot(slotOf(kind, target))
    if (by === undefined) {
      if (present !== undefined && present.until > now) {
        return { containment: present, isNew: false }
      }
      if (shared.graceOf(formatTarget(target)) > now) return { spared: 'grace', isNew: false }
    }
    if (active.size >= this.#settings.maxContainments && present === undefined) {
      return { spared: 'capacity', isNew: false }
    }
    const containment = this.#build(order, now)
    if (dryRun) return { containment, ...NEW }
    if (by === undefined && kind === 'block' && !cap.take()) {
      this.#reportCap(order, now)
      return { spared: 'cap', isNew: false }
    }
    active.put(containment)
    this.#track(containment.id, this.#establish(order, containment))
    return { containment, ...NEW }
  }

  async lift(id: string, by: string | null, graceMs: number): Promise<Containment | undefined> {
    const { active, clock, shared, store, ports, report } = this.#settings
    const now = clock.now()
    const containment = active.list(now).find((each) => each.id === id)
    if (containment === undefined) return undefined
    const task = shared.lift(createLift(containment, now, graceMs))
    await task.catch((error: unknown) => report.failed(error, 'share a lift'))
    report.lifted(containment, by)
    await store.delete(claimOf(containment)).catch(() => false)
    await ports.undo(containment).catch((error: unknown) => report.failed(error, 'undo a measure'))
    return containment
  }

  async settle(): Promise<void> {
    // What begins meanwhile is not waited for: an attack would never let it end.
    await this.#wait(Promise.all(this.#pending.values()))
  }

  async established({ id }: Containment): Promise<void> {
    await this.#wait(Promise.resolve(this.#pending.get(id)))
  }

  /** A store that hangs must hold up neither an operator nor the end of the process. */
  async #wait(task: Promise<unknown>): Promise<void> {
    const { clock, report } = this.#settings
    const late = () => new Error(`the store or a port did not answer within ${SETTLE_MS} ms`)
    await withDeadline(task, SETTLE_MS, late, clock).catch((error: unknown) =>
      report.failed(error, 'share what was ordered'),
    )
  }

  /** Once a minute: at the cap, every further detection reaches it. */
  #reportCap(order: ContainmentOrder, now: number): void {
    if (now - this.#capReportedAt < CAP_REPORT_MS) return
    this.#capReportedAt = now
    const { cap, report } = this.#settings
    report.capReached(order, cap.reading())
  }

  #track(id: string, task: Promise<void>): void {
    this.#pending.set(
      id,
      task.finally(() => this.#pending.delete(id)),
    )
  }

  #build(order: ContainmentOrder, now: number): Containment {
    const { kind, target, reason, by, ttlMs, factor, anomalyId } = order
    const step = this.#strikes.peek(slotOf(kind, target), now)
    return Object.freeze({
      id: uuidV7(),
      kind,
      target,
      createdAt: now,
      until: now + (ttlMs ?? step.ttlMs),
      reason: reason.slice(0, 200),
      by: by ?? null,
      level: step.level,
      isProvisional: true as const,
      ...(factor === undefined ? undefined : { factor }),
      ...(anomalyId === undefined ? undefined : { anomalyId }),
    })
  }

  /** The part that asks the store. It never rejects. */
  async #establish(order: ContainmentOrder, provisional: Containment): Promise<void> {
    const { shared, ports, report } = this.#settings
    try {
      if (order.by === undefined && !(await this.#claim(provisional))) return
      const containment = await this.#settleStep(order, provisional)
      if (containment === undefined) return
      report.contained(containment)
      await Promise.all([
        shared.announce(containment).catch((error: unknown) => report.failed(error, 'share')),
        ports.apply(containment).catch((error: unknown) => report.failed(error, 'use a port')),
      ])
    } catch (error) {
      report.failed(error, 'contain')
    }
  }

  /** Of concurrent instances one gets it. While the store is down, every instance acts for itself. */
  async #claim(containment: Containment): Promise<boolean> {
    const { store, report } = this.#settings
    try {
      const lastsMs = Math.max(1, containment.until - containment.createdAt)
      return await store.setIfAbsent(
        claimOf(containment),
        containment.id,
        Math.min(CLAIM_MS, lastsMs),
      )
    } catch (error) {
      report.failed(error, 'claim')
      return true
    }
  }

  /**
   * Raises the strikes of the fleet; the containment lasts as long as their level says.
   *
   * @returns `undefined` where it was lifted or replaced meanwhile: the later decision holds.
   */
  async #settleStep(
    order: ContainmentOrder,
    provisional: Containment,
  ): Promise<Containment | undefined> {
    const { createdAt: now, target } = provisional
    const step = await this.#strikes.raise(slotOf(provisional.kind, target), now)
    const until = now + (order.ttlMs ?? step.ttlMs)
    const { isProvisional: _, ...rest } = provisional
    const settled = Object.freeze({ ...rest, until, level: step.level })
    const { active } = this.#settings
    if (active.inSlot(slotOf(settled.kind, target))?.id !== settled.id) return undefined
    active.put(settled)
    return settled
  }
}

function claimOf({ kind, target }: Containment): string {
  return `anomaly-guard:claim:${slotOf(kind, target)}`
}

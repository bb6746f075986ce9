/** The containments in force, in the memory of this instance: what a request is compared with. */
import { parseBlock, type AddressBits } from './address.ts'
import { slotOf, type Containment } from './containment.ts'
import { PrefixTable } from './prefix-table.ts'

/** The containments in force. */
export interface ActiveContainments {
  /** Adds or replaces the containment of its slot. */
  put(containment: Containment): void
  /** Removes a containment, unless its slot has another one by now. @returns whether it was there. */
  remove(containment: Containment): boolean
  inSlot(slot: string): Containment | undefined
  /** The strongest containment of an address. */
  ofAddress(address: AddressBits, now: number): Containment | undefined
  /** The strongest containment of a principal. */
  ofPrincipal(id: string, now: number): Containment | undefined
  /** The strongest containment of the logins of an account. @param account its keyed hash */
  ofAccount(account: string, now: number): Containment | undefined
  /** The lockdown or read-only mode of the service. */
  ofService(now: number): Containment | undefined
  /** All that are in force. */
  list(now: number): Containment[]
  /** Drops expired ones, `steps` at most, and goes on there next time. */
  sweep(now: number, steps: number): void
  readonly hasPrincipals: boolean
  readonly size: number
}

const STRENGTH = { lockdown: 7, block: 6, 'read-only': 5, challenge: 4, tighten: 3 } as const

function strengthOf({ kind }: Containment): number {
  // What a port does elsewhere is not enforced here.
  return STRENGTH[kind as keyof typeof STRENGTH] ?? 0
}

/** Creates an empty set. */
export function createActive(): ActiveContainments {
  return new Active()
}

class Active implements ActiveContainments {
  readonly #slots = new Map<string, Containment>()
  readonly #addresses = new PrefixTable()
  /** Containments of addresses by the value in the table. */
  readonly #byNumber: (Containment | undefined)[] = [undefined]
  /** End times eight plus strength, by the same number: a lookup reads one object only, the one it returns. */
  #marks = new Float64Array(1024)
  readonly #numbers = new Map<string, number>()
  readonly #free: number[] = []
  readonly #principals = new Map<string, Containment[]>()
  readonly #accounts = new Map<string, Containment[]>()
  #service: Containment[] = []
  #sweeping: Iterator<Containment, undefined> | undefined
  #found = 0
  #strength = -1
  #now = 0

  get size(): number {
    return this.#slots.size
  }

  get hasPrincipals(): boolean {
    return this.#principals.size > 0
  }

  put(containment: Containment): void {
    const { kind, target } = containment
    const slot = slotOf(kind, target)
    const present = this.#slots.get(slot)
    this.#slots.set(slot, containment)
    if (target.type === 'address') {
      const number = this.#numbers.get(slot)
      if (number === undefined) this.#addAddress(slot, containment)
      else this.#keep(number, containment)
      return
    }
    const others = (list: readonly Containment[]) => list.filter((each) => each !== present)
    if (target.type === 'service') this.#service = [...others(this.#service), containment]
    else {
      const named = target.type === 'account' ? this.#accounts : this.#principals
      named.set(target.value, [...others(named.get(target.value) ?? []), containment])
    }
  }

  remove(containment: Containment): boolean {
    const { kind, target } = containment
    const slot = slotOf(kind, target)
    const present = this.#slots.get(slot)
    if (present?.id !== containment.id) return false
    this.#slots.delete(slot)
    if (target.type === 'address') this.#removeAddress(slot, target.value)
    else if (target.type === 'service') {
      this.#service = this.#service.filter((each) => each !== present)
    } else {
      const named = target.type === 'account' ? this.#accounts : this.#principals
      const rest = (named.get(target.value) ?? []).filter((each) => each !== present)
      if (rest.length === 0) named.delete(target.value)
      else named.set(target.value, rest)
    }
    return true
  }

  inSlot(slot: string): Containment | undefined {
    return this.#slots.get(slot)
  }

  ofAddress(address: AddressBits, now: number): Containment | undefined {
    if (this.#numbers.size === 0) return undefined
    this.#found = 0
    this.#strength = -1
    this.#now = now
    this.#addresses.some(address, this.#consider)
    return this.#byNumber[this.#found]
  }

  ofPrincipal(id: string, now: number): Containment | undefined {
    return strongest(this.#principals.get(id), now)
  }

  ofAccount(account: string, now: number): Containment | undefined {
    return strongest(this.#accounts.get(account), now)
  }

  ofService(now: number): Containment | undefined {
    return this.#service.length === 0 ? undefined : strongest(this.#service, now)
  }

  list(now: number): Containment[] {
    return [...this.#slots.values()].filter(({ until }) => until > now)
  }

  sweep(now: number, steps: number): void {
    for (let step = 0; step < steps; step++) {
      this.#sweeping ??= this.#slots.values()
      const next = this.#sweeping.next()
      if (next.done === true) {
        this.#sweeping = undefined
        return
      }
      if (next.value.until <= now) this.remove(next.value)
    }
  }

  /** One function for all lookups, so that a request allocates none. */
  readonly #consider = (number: number): boolean => {
    const mark = this.#marks[number]!
    if (mark < (this.#now + 1) * 8) return false
    const strength = mark % 8
    if (strength > this.#strength) {
      this.#strength = strength
      this.#found = number
    }
    return strength >= STRENGTH.block
  }

  #addAddress(slot: string, containment: Containment): void {
    const number = this.#free.pop() ?? this.#byNumber.length
    this.#keep(number, containment)
    this.#numbers.set(slot, number)
    this.#addresses.add(parseBlock(containment.target.value), number)
  }

  #keep(number: number, containment: Containment): void {
    if (number >= this.#marks.length) {
      const grown = new Float64Array(this.#marks.length * 2)
      grown.set(this.#marks)
      this.#marks = grown
    }
    this.#marks[number] = containment.until * 8 + strengthOf(containment)
    this.#byNumber[number] = containment
  }

  #removeAddress(slot: string, value: string): void {
    const number = this.#numbers.get(slot)!
    this.#addresses.remove(parseBlock(value), number)
    this.#numbers.delete(slot)
    this.#byNumber[number] = undefined
    this.#free.push(number)
  }
}

function strongest(list: readonly Containment[] | undefined, now: number): Containment | undefined {
  let found: Containment | undefined
  for (const each of list ?? []) {
    if (each.until <= now) continue
    if (found === undefined || strengthOf(each) > strengthOf(found)) found = each
  }
  return found
}

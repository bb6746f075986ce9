/** Limits the time in which the functions that an application passes as options must answer. */
import { withDeadline, type Clock } from '@parapet/kit'
import { PARAPET_MFA_TIMEOUT } from '../errors.ts'

/** Calls a function of an option. @throws PARAPET_MFA_TIMEOUT, and what the function throws. */
export type CallPort = <T>(option: string, call: () => T | Promise<T>) => Promise<T>

const DEADLINE_MS = 10_000

/** Creates the caller. */
export function createCallPort(clock: Clock): CallPort {
  return (option, call) => {
    const late = () => new PARAPET_MFA_TIMEOUT(option, DEADLINE_MS / 1000)
    return withDeadline((async () => call())(), DEADLINE_MS, late, clock)
  }
}

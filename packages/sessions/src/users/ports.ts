/** Questions about users and their requests that the application answers. */
import type { SessionUser } from './user.ts'

/** Says approximately where an address is: `Lyon, France`; `null`: unknown. */
export type PlaceOf = (ip: string) => Promise<string | null> | string | null

/** Whether an operator may act as a user. It must say no if the user has a right that the operator lacks. */
export type MayImpersonate = (
  operator: SessionUser,
  user: SessionUser,
) => Promise<boolean> | boolean

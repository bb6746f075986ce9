/** What the user may do here, and which optional parts the server has. */
import { Problem } from './client.ts'

let rights: ReadonlySet<string> = new Set()
let parts: ReadonlySet<string> = new Set()

/** Sets both; the page does it whenever it has asked who the user is. */
export function setRights(permissions: readonly string[], names: readonly string[]): void {
  rights = new Set(permissions)
  parts = new Set(names)
}

/** Whether the user has a permission. The server decides again; this is for what the page offers. */
export function may(permission: string): boolean {
  return rights.has(permission)
}

/** @throws Problem 404 the server does not have this part; no request is sent */
export function requirePart(name: string): void {
  if (!parts.has(name)) throw new Problem(404, 'ABSENT', `The server has no ${name}.`)
}

/** @throws Problem 403 the user lacks the permission; no request is sent that would be refused and recorded */
export function requireRight(permission: string): void {
  if (!may(permission)) {
    throw new Problem(403, 'RIGHT', `Your roles lack the permission “${permission}”.`)
  }
}

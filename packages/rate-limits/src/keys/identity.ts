/** What a limit counts by: the components of a key, and their text in the store. */
import { createHash } from 'node:crypto'
import { clientKey } from '@parapet/kit'
import { normaliseAccount } from './account.ts'

/** When the components of a key are known: before the login, after it, or after the body is parsed. */
export type Moment = 'peer' | 'principal' | 'body'

/** The moments, in the order of a request. */
export const MOMENTS: readonly Moment[] = ['peer', 'principal', 'body']

/** A component by name. `header:` is followed by the name of a header in lower case. */
export type KeyName =
  | 'ip'
  | 'principal'
  | 'tenant'
  | 'account'
  | 'apiKey'
  | 'route'
  | `header:${string}`

/** The values of a subject. A component without a value is left out. */
export interface KeyValues {
  /** A client address, as `request.ip`. */
  readonly ip?: string | undefined
  /** The id of a principal. */
  readonly principal?: string | undefined
  readonly tenant?: string | undefined
  /** The name that a login asks for. */
  readonly account?: string | undefined
  /** An API key as the client sends it. */
  readonly apiKey?: string | undefined
  /** Method and pattern, as `GET /users/:id`. */
  readonly route?: string | undefined
  /** Values of headers, by name in lower case. */
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** The components of a key, in one order however they are written. */
export interface KeySpec {
  readonly names: readonly KeyName[]
  readonly moment: Moment
}

/** The identity of a subject under a key. */
export interface Identity {
  readonly text: string
  /** Components with a value, which can be tightened. */
  readonly components: readonly string[]
  /** Whether every component of the key has a value. */
  readonly isComplete: boolean
}

const SIMPLE: Readonly<Record<string, Moment>> = {
  ip: 'peer',
  apiKey: 'peer',
  route: 'peer',
  principal: 'principal',
  tenant: 'principal',
  account: 'body',
}

/** Names that the option `key` accepts, for messages. */
export const KEY_NAMES = [...Object.keys(SIMPLE), 'header:<name>']

/** The longest value that is stored as it is. */
const MAX_PLAIN = 64
/** Characters that separate parts of a key, and those that Redis treats as a hash tag. */
const UNSAFE = /[^\w.:/@+~ -]/

/** Whether this is the name of a component. */
export function isKeyName(name: unknown): name is KeyName {
  if (typeof name !== 'string') return false
  return Object.hasOwn(SIMPLE, name) || /^header:[a-z0-9-]{1,64}$/.test(name)
}

/** Compiles the names of a key. */
export function compileKey(names: readonly KeyName[]): KeySpec {
  const moments = names.map((name) => MOMENTS.indexOf(SIMPLE[name] ?? 'peer'))
  return { names: [...new Set(names)].toSorted(), moment: MOMENTS[Math.max(...moments)]! }
}

/**
 * The identity of a subject. Where a component has no value, the address takes its place, so that a client
 * that leaves a value out is still limited.
 */
export function identify({ names }: KeySpec, values: KeyValues): Identity {
  const components: string[] = []
  let text = ''
  let isComplete = true
  for (const name of names) {
    const value = textOf(name, values)
    if (value === undefined) {
      isComplete = false
      continue
    }
    const component = `${name}=${value}`
    components.push(component)
    text += text === '' ? component : `&${component}`
  }
  if (isComplete) return { text, components, isComplete }
  if (names.includes('ip') && values.ip !== undefined) {
    return { text: `${text}?`, components, isComplete }
  }
  const address = `ip=${textOf('ip', values) ?? 'unknown'}`
  components.push(address)
  return { text: `${text}?${address}`, components, isComplete }
}

/** The component of a client address. */
export function addressComponent(ip: string): string {
  return `ip=${clientKey(ip)}`
}

/** The text of one component; `undefined`: the subject has no such value. */
function textOf(name: KeyName, values: KeyValues): string | undefined {
  switch (name) {
    case 'ip':
      return values.ip === undefined ? undefined : clientKey(values.ip)
    case 'apiKey':
      return values.apiKey === undefined ? undefined : digest(values.apiKey)
    case 'account':
      return values.account === undefined ? undefined : digest(normaliseAccount(values.account))
    case 'principal':
    case 'tenant':
    case 'route':
      return plainOrDigest(values[name])
    default:
      return plainOrDigest(values.headers?.[name.slice('header:'.length)])
  }
}

function plainOrDigest(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  return value.length <= MAX_PLAIN && !UNSAFE.test(value) ? value : `#${digest(value)}`
}

/** Account names are personal data and API keys are secrets, so only a digest is stored. */
function digest(value: string): string {
  return createHash('sha256').update(value).digest('base64url').slice(0, 22)
}

/** Whether a value can be guessed, is an example that nobody replaced, or has expired. */
import { X509Certificate } from 'node:crypto'

const PLACEHOLDER =
  /^(?:change[-_ ]?(?:me|this|it)|your[-_ ]|example|default|placeholder|dummy|sample|insert|replace|todo\b|x{4,}|<.*>$|\*{4,})|(?:change[-_ ]?me|[-_ ]here$|goes[-_ ]here)/i
const COMMON =
  /^(?:pass(?:word|wd|w0rd)?|secret|admin|root|test|guest|letmein|qwerty|welcome|monkey|dragon|abc|iloveyou|postgres|redis|vault|p@ssw0rd|s3cr3t|token|key)[\d!@#$._-]{0,6}$/i
/** Secrets of tutorials, templates and documentation, and rows of keys. */
const WELL_KNOWN =
  /super[-_ ]?secret|(?:my|your|jwt|dev|development|not[-_ ]so)[-_ ]?secret|secret[-_ ]?key[-_ ]?for|keyboard[-_ ]?cat|do[-_ ]not[-_ ]use|AKIAIOSFODNN7EXAMPLE|EXAMPLEKEY$|^(?:0123456789|1234567890|abcdefghij|qwertyuiop)/i
const GUESSED = 'is one of the first guesses of any attacker'
const LEAST_BITS = 64

/** What is wrong with a value; it continues `"NAME" …`. */
export function findWeakness(value: string): string | undefined {
  const text = passwordOf(value)
  if (text === undefined) return undefined
  if (PLACEHOLDER.test(text)) return 'is a placeholder that was not replaced'
  if (COMMON.test(text)) return GUESSED
  const bits = estimateBits(text)
  if (bits < LEAST_BITS) {
    return `can be guessed: about ${Math.floor(bits)} bits, at least ${LEAST_BITS} are needed`
  }
  return WELL_KNOWN.test(text) ? GUESSED : undefined
}

/** The part of a URL or a JSON text that must not be guessed; `undefined`: there is none. */
function passwordOf(value: string): string | undefined {
  if (value.startsWith('{') || value.startsWith('-----BEGIN ')) return undefined
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(value) || !URL.canParse(value)) return value
  const { password } = new URL(value)
  if (password === '') return undefined
  try {
    return decodeURIComponent(password)
  } catch {
    // A "%" that begins no escape: WHATWG URLs keep it.
    return password
  }
}

/**
 * An upper estimate: the length times the bits of a character from the classes that appear, at most the
 * Shannon entropy of the text with a little for its order.
 */
function estimateBits(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  const length = [...counts.values()].reduce((sum, count) => sum + count, 0)
  let entropy = 0
  for (const count of counts.values()) entropy -= (count / length) * Math.log2(count / length)
  // A text of 32 different characters has 5 bits for each by Shannon; more classes mean more.
  const classes = [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z\d]/].filter((each) => each.test(text)).length
  return length * Math.min(entropy + 0.25 * (classes - 1), Math.log2(26) + classes - 1)
}

/** When a value says that it expires, in milliseconds since the epoch: a JWT or a certificate. */
export function readExpiry(value: string): number | undefined {
  const [, payload] = /^eyJ[\w-]+\.([\w-]+)\.[\w-]*$/.exec(value) ?? []
  try {
    if (payload !== undefined) {
      const { exp } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { exp?: unknown }
      return typeof exp === 'number' ? exp * 1000 : undefined
    }
    if (!value.includes('-----BEGIN CERTIFICATE-----')) return undefined
    return Date.parse(new X509Certificate(value).validTo)
  } catch {
    return undefined
  }
}

/** Names and values of secrets: known formats, names of variables, words that anybody guesses. */

const FORMATS: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['an AWS access key', /\b(?:AKIA|ASIA)[A-Z2-7]{16}\b/],
  ['a GitHub token', /\b(?:gh[pousr]_\w{36,}|github_pat_\w{40,})\b/],
  ['a GitLab token', /\bglpat-[\w-]{20,}/],
  ['a Slack token', /\bxox[abeoprs]-[\w-]{10,}/],
  ['a Slack webhook', /hooks\.slack\.com\/services\/\w+\/\w+\/\w+/],
  ['a Stripe key', /\b[rs]k_(?:live|test)_\w{16,}/],
  ['a Google API key', /\bAIza[\w-]{35}/],
  ['an npm token', /\bnpm_[A-Za-z0-9]{36}\b/],
  ['a Vault token', /\bhv[sbr]\.[\w-]{20,}/],
  ['a SendGrid key', /\bSG\.[\w-]{16,}\.[\w-]{16,}/],
  ['a private key (PEM)', /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----[\s\\nr]*[A-Za-z0-9+/]{20}/],
  [
    'a URL with a password',
    /\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@?#]*:[^\s/@${}<>]+@(?!localhost|127\.|host\b|hostname\b|example\.|[\w.-]*\.example\b)/i,
  ],
]

/** Formats that responses must not contain, beside {@link nameFormat}. */
const HASHES: readonly (readonly [name: string, pattern: RegExp])[] = [
  ['a password hash (bcrypt)', /\$2[abxy]\$\d\d\$[./A-Za-z\d]{53}/],
  ['a password hash (argon2)', /\$argon2(?:id|i|d)\$/],
  ['a password hash (scrypt, PBKDF2)', /\$(?:scrypt|pbkdf2(?:-sha\d+)?)\$/],
]

/** Names the format of a credential in a text; `undefined`: none is known. */
export function nameFormat(text: string): string | undefined {
  return FORMATS.find(([, pattern]) => pattern.test(text))?.[0]
}

/** Names the format of a credential or of a password hash in a text. */
export function nameLeak(text: string): string | undefined {
  return nameFormat(text) ?? HASHES.find(([, pattern]) => pattern.test(text))?.[0]
}

const NAME =
  /(?:^|[a-z\d_-])(?:secret|passw(?:or)?d|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|signing[_-]?key|encryption[_-]?key|auth[_-]?token|access[_-]?token|client[_-]?secret|jwt[_-]?(?:key|secret)|cookie[_-]?secret|session[_-]?secret|master[_-]?key)s?$/i
const NOT_NAME =
  /(?:name|field|header|path|file|url|id|label|schema|regex|pattern|length|min|max|policy|type|prefix|expiry|ttl|hash)$/i

/** Whether a variable, a property or an environment variable of this name holds a secret. */
export function isSecretName(name: string): boolean {
  return (
    NAME.test(name.includes('_') || name.includes('-') ? name : `x${name}`) && !NOT_NAME.test(name)
  )
}

const KEY_NAME =
  /(?:^|[a-z\d_-])(?:session|cookie|csrf|hmac|crypto|cipher|aes|jwt|token|webhook|license)[_-]?(?:key|salt|pepper)s?$/i

/** A name that may hold a secret or the name of one, and a text that only a secret looks like. */
export function isRandomKey(name: string, text: string): boolean {
  const isRandom =
    /^[A-Za-z\d+/_=-]{16,}$/.test(text) &&
    /\d/.test(text) &&
    !/^[a-z]+(?:[-_.][a-z\d]+)*$/.test(text)
  return (isRandom || /^[\da-f]{16,}$/i.test(text)) && KEY_NAME.test(name)
}

/** Whether the value of an environment variable is a secret, by its name. */
export function isSecretVariable(name: string): boolean {
  return /(?:SECRET|PASSWORD|PASSWD|PASSPHRASE|TOKEN|API_?KEY|PRIVATE_?KEY|ACCESS_?KEY|ENCRYPTION_?KEY|SIGNING_?KEY)(?:_\d+)?$/i.test(
    name,
  )
}

/** Whether a text is a value and not a label, a placeholder for people or the name of a type. */
export function looksLikeValue(text: string): boolean {
  if (text.length < 6 || text.length > 4096 || /\s/.test(text.trim())) return false
  if (/^(?:https?:|\/|\.|#|\$\{|\{\{|<|x-|process\.env)/i.test(text)) return false
  // The name of a variable, a member, a claim or a permission.
  const isName =
    /^[A-Z][A-Z\d]*(?:_[A-Z\d]+)+$|^[a-z]+(?:[.:_-][a-z]+){1,3}$|^[a-z]+(?:[A-Z][a-z]+){1,4}$/.test(
      text,
    )
  if (isName && !WORDS.has(text.toLowerCase()) && !TUTORIAL.test(text)) return false
  // What is done with a secret, not the secret.
  if (/^(?:delete|remove|redact|encrypt|anonymi[sz]e)$/.test(text)) return false
  return !/^(?:string|password|passw(?:or)?d|secret|secrets|token|bearer|apikey|api-key|api_key|access_token|refresh_token|authorization|header|cookie|current-password|new-password|private|public|hidden|redacted|\[redacted\]|\*+|undefined|required|optional|newpassword|currentpassword|oldpassword|confirmpassword)$/i.test(
    text,
  )
}

/** Names of algorithms and versions, which look like keys. */
const ALGORITHM = /^(?:sha|md|aes|rsa|ecdsa|des|hs|rs|es|ps|utf|base|iso|oauth|http)[-_]?\d/i

/** Masks what may be a secret in the literals of a piece of source: words of letters and digits. */
export function maskTexts(code: string): string {
  return code.replaceAll(/(['"`])(?:\\.|(?!\1)[^\\])*\1/gs, (literal) =>
    literal.replaceAll(/\$\{[^}]*\}|[^\s'"`(){}<>=,;:/]{6,}/g, (word) => {
      const isKey = /[a-z]/i.test(word) && /\d/.test(word) && !ALGORITHM.test(word)
      return isKey && !word.startsWith('${') ? '…' : word
    }),
  )
}

/** Words that anybody guesses first, as keys of tokens and as passwords. */
export const guessedWords: readonly string[] = Object.freeze([
  'secret',
  'supersecret',
  'super-secret',
  'super_secret',
  'supersecretkey',
  'super-secret-key',
  'superSecret',
  'mysecret',
  'my-secret',
  'my_secret',
  'mysecretkey',
  'my-secret-key',
  'your-secret-key',
  'your_secret_key',
  'your-256-bit-secret',
  'your_jwt_secret',
  'jwtsecret',
  'jwt-secret',
  'jwt_secret',
  'secretkey',
  'secret-key',
  'secret_key',
  'changeme',
  'change-me',
  'change_me',
  'changeit',
  'password',
  'passw0rd',
  'admin',
  'test',
  'testing',
  'dev',
  'dev-secret',
  'development',
  'default',
  'key',
  'private',
  'token',
  'qwerty',
  '123456',
  '12345678',
  '1234567890',
  'keyboard cat',
  'keyboardcat',
  'shhhhh',
  'shhh',
  'foobar',
  'fastify',
  'node',
  'example',
  'verysecret',
  'very-secret',
  'topsecret',
  'top-secret',
  's3cr3t',
  'abc123',
  'letmein',
  'please-change-me',
  'thisisasecret',
  'this-is-a-secret',
])

/** Guessed words are values, whatever they look like. */
const WORDS: ReadonlySet<string> = new Set(guessedWords)

const PLACEHOLDER =
  /^(?:change[-_ ]?(?:me|this|it)|your[-_ ]|example|placeholder|dummy|sample|insert[-_ ]|replace|todo\b|x{4,}|<.*>$|\*{4,})|change[-_ ]?me|[-_ ]here$/i
const TUTORIAL =
  /super[-_ ]?secret|(?:my|your|jwt|dev|development|not[-_ ]so)[-_ ]?secret|keyboard[-_ ]?cat|do[-_ ]not[-_ ]use|EXAMPLEKEY$/i

/** What is wrong with the value of a secret; it continues `JWT_SECRET …`. */
export function findWeakness(value: string): string | undefined {
  const text = passwordOf(value)
  if (text === undefined || text === '') return undefined
  if (guessedWords.some((word) => word.toLowerCase() === text.toLowerCase())) {
    return 'is one of the first guesses of any attacker'
  }
  if (PLACEHOLDER.test(text) || TUTORIAL.test(text)) return 'was copied from an example'
  if (
    /^(?:pass(?:word)?|secret|admin|root|test|guest|postgres|redis|token|key)[\d!@#$._-]{0,6}$/i.test(
      text,
    )
  ) {
    return 'is one of the first guesses of any attacker'
  }
  const bits = estimateBits(text)
  return bits < 64
    ? `can be guessed: about ${Math.floor(bits)} bits, at least 64 are needed`
    : undefined
}

/** The part of an address that must not be guessed; `undefined`: there is none. */
function passwordOf(value: string): string | undefined {
  if (value.startsWith('{') || value.startsWith('-----BEGIN ')) return undefined
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) return value
  if (!URL.canParse(value)) return undefined
  const { password } = new URL(value)
  return password === '' ? undefined : password
}

/** An upper estimate: the length times the Shannon entropy of a character. */
function estimateBits(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  const length = [...counts.values()].reduce((sum, count) => sum + count, 0)
  let entropy = 0
  for (const count of counts.values()) entropy -= (count / length) * Math.log2(count / length)
  const classes = [/[a-z]/, /[A-Z]/, /\d/, /[^A-Za-z\d]/].filter((each) => each.test(text)).length
  return length * Math.min(entropy + 0.25 * (classes - 1), Math.log2(26) + classes - 1)
}

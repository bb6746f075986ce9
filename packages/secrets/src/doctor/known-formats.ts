/** Formats of credentials that can be recognized wherever they appear. */

interface KnownFormat {
  readonly name: string
  readonly pattern: RegExp
}

const FORMATS: readonly KnownFormat[] = [
  { name: 'an AWS access key', pattern: /\b(?:AKIA|ASIA)[A-Z2-7]{16}\b/ },
  { name: 'a GitHub token', pattern: /\b(?:gh[pousr]_\w{36,}|github_pat_\w{40,})\b/ },
  { name: 'a GitLab token', pattern: /\bglpat-[\w-]{20,}/ },
  { name: 'a Slack token', pattern: /\bxox[abeoprs]-[\w-]{10,}/ },
  { name: 'a Slack webhook', pattern: /hooks\.slack\.com\/services\/\w+\/\w+\/\w+/ },
  { name: 'a Stripe key', pattern: /\b[rs]k_(?:live|test)_\w{16,}/ },
  { name: 'a Google API key', pattern: /\bAIza[\w-]{35}/ },
  { name: 'an npm token', pattern: /\bnpm_[A-Za-z0-9]{36}\b/ },
  { name: 'a Vault token', pattern: /\bhv[sbr]\.[\w-]{20,}/ },
  { name: 'a SendGrid key', pattern: /\bSG\.[\w-]{16,}\.[\w-]{16,}/ },
  { name: 'a private key (PEM)', pattern: /-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY-----/ },
  { name: 'a JWT', pattern: /\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+/ },
  { name: 'a URL with a password', pattern: /\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*:[^\s/@]+@/i },
]

/** Names the format of a credential in a text; `undefined`: none is known. */
export function nameKnownFormat(text: string): string | undefined {
  return FORMATS.find(({ pattern }) => pattern.test(text))?.name
}

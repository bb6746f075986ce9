/** The rules of the lint: what each one means, and how to mend it. */

/** A rule as `app.securityHeaders.rules` and the messages tell it. */
export interface Rule {
  readonly reason: string
  readonly fix: string
}

/** Rules of the library csp_evaluator carry its names. */
const evaluatorRules = {
  'CSP-MISSING-SEMICOLON': [
    'a directive stands among the sources of another',
    'end each directive',
  ],
  'CSP-UNKNOWN-DIRECTIVE': ['browsers ignore a directive they do not know', 'correct its name'],
  'CSP-INVALID-KEYWORD': [
    'browsers ignore a keyword they do not know',
    'correct it; keywords carry quotes',
  ],
  'CSP-NONCE-CHARSET': [
    'a nonce has characters that browsers refuse',
    'write "\'nonce\'" and read reply.cspNonce.script',
  ],
  'CSP-MISSING-DIRECTIVES': [
    'a directive is missing that nothing else stands in for',
    'set it, at best to none',
  ],
  'CSP-SCRIPT-UNSAFE-INLINE': ['injected inline scripts run', 'use "\'nonce\'" or hashes'],
  'CSP-SCRIPT-UNSAFE-EVAL': ['text is run as code', 'use code without eval'],
  'CSP-PLAIN-URL-SCHEMES': [
    'anything of that scheme is allowed, also what an attacker wrote',
    'name origins',
  ],
  'CSP-PLAIN-WILDCARD': ['every origin is allowed', 'name origins'],
  'CSP-SCRIPT-ALLOWLIST-BYPASS': [
    'an allowed host may serve a script that runs anything',
    "use \"'nonce'\" and 'strict-dynamic'",
  ],
  'CSP-OBJECT-ALLOWLIST-BYPASS': [
    'an allowed host may serve a plug-in that runs scripts',
    "set object-src to 'none'",
  ],
  'CSP-NONCE-LENGTH': [
    'a short nonce can be guessed',
    'write "\'nonce\'" and read reply.cspNonce.script',
  ],
  'CSP-IP-SOURCE': ['browsers ignore an address as a source', 'name the host'],
  'CSP-DEPRECATED-DIRECTIVE': ['browsers have dropped the directive', 'leave it out'],
  'CSP-SRC-HTTP': ['what is loaded over http can be changed on the way', 'use https'],
  'CSP-SRC-NO-PROTOCOL': ['reports go out over http too', 'write https'],
  'CSP-EXPERIMENTAL': ['the directive is an experiment', 'leave it out'],
  'CSP-WILDCARD-URL': ['a reporting address with a wildcard is ignored', 'name the host'],
  'CSP-X-FRAME-OPTIONS-OBSOLETED': [
    'frame-ancestors overrules X-Frame-Options',
    'let both say the same',
  ],
  'CSP-STATIC-NONCE': ['a nonce that never changes protects from nothing', 'write "\'nonce\'"'],
  'CSP-SCRIPT-UNSAFE-HASHES': [
    'hashed code may run as an event handler anywhere',
    'use addEventListener',
  ],
} as const

const cspRules = {
  'CSP-RELAXED': [
    'no Content-Security-Policy is sent',
    'keep the header; relax directives instead',
  ],
  'CSP-STYLE-UNSAFE-INLINE': [
    'injected styles can read and cover the page',
    'use "\'nonce\'" or hashes',
  ],
  'CSP-FRAME-ANCESTORS': [
    'anyone may frame the page and have clicks stolen',
    "set frame-ancestors to 'none', 'self' or origins",
  ],
  'CSP-FORM-ACTION': [
    'an injected form may send what is typed to anyone',
    "set form-action to 'none', 'self' or origins",
  ],
  'CSP-OPEN-CONNECT': [
    'an injected script may send what it finds to anyone',
    'name the origins in connect-src',
  ],
  'CSP-OPEN-FRAMES': ['any page may be framed', 'name the origins in frame-src'],
  'CSP-MIXED-NONE': ["'none' beside other sources is ignored", 'leave it out'],
  'CSP-SOURCE-FORM': ['browsers ignore a source that is no host', 'write https://cdn.example.com'],
  'CSP-LITERAL-NONCE': ['a nonce in the configuration never changes', 'write "\'nonce\'"'],
  'CSP-BAD-HASH': [
    'a hash that is no base64 of its length matches nothing',
    'copy it whole, with quotes',
  ],
} as const

const headerRules = {
  'HSTS-SHORT': [
    'browsers forget in less than a year',
    'set hsts.maxAgeSeconds to at least 31536000',
  ],
  'HSTS-PRELOAD': [
    'the preload list takes only a year or more with subdomains',
    'set both, or leave preload out',
  ],
  'HSTS-SUBDOMAINS': [
    'a subdomain over http can set cookies for this host',
    'set hsts.includeSubDomains',
  ],
  'HSTS-RELAXED': ['the first request of every visit may go over http', 'keep the header'],
  'HEADER-NOSNIFF': [
    'browsers guess types and run what was meant as data',
    'keep X-Content-Type-Options',
  ],
  'HEADER-REFERRER': [
    'paths and queries reach other origins',
    'use strict-origin-when-cross-origin or stricter',
  ],
  'HEADER-OPENER': [
    'pages of others keep a handle on the window',
    'use same-origin or same-origin-allow-popups',
  ],
  'HEADER-EMBEDDER': [
    'the page shares a process with what it embeds',
    'use require-corp or credentialless',
  ],
  'HEADER-RESOURCE': [
    'any site may embed the reply and measure it',
    'use same-origin or same-site',
  ],
  'HEADER-FRAME-MISMATCH': [
    'X-Frame-Options and frame-ancestors differ, so browsers do too',
    'let both say the same',
  ],
  'PERMISSION-WILDCARD': ['every frame may use the feature', "name origins, or 'self'"],
  'PERMISSION-HTTP': ['an origin over http can be impersonated', 'use https'],
  'CACHE-HANDLER': [
    'replies for one person may be kept for another',
    "use 'authenticated' or 'no-store'",
  ],
} as const

const corsRules = {
  'CORS-WILDCARD-CREDENTIALS': [
    'every site could act as the person who is signed in',
    'name the origins',
  ],
  'CORS-REFLECT': ['every origin would be answered as if it were trusted', 'name the origins'],
  'CORS-REGEXP': [
    'a pattern that is not anchored lets https://example.com.evil.test in',
    'write https://*.example.com',
  ],
  'CORS-NULL': ['sandboxed frames and files all have the origin null', 'leave it out'],
  'CORS-ORIGIN-FORM': [
    'browsers send scheme, host and port only, so it would never match',
    'write https://app.example.com',
  ],
  'CORS-INSECURE-ORIGIN': [
    'an origin over http can be impersonated by whoever is on the way',
    'use https',
  ],
  'CORS-PATTERN': [
    'a wildcard stands for whole labels in front of a domain',
    'write https://*.example.com',
  ],
  'CORS-PUBLIC-SUFFIX': ['anyone can register a name under that suffix', 'name the origins'],
  'CORS-ANY-METHOD': ['every method would be allowed, also those added later', 'name the methods'],
  'CORS-METHOD-FORM': [
    'methods are compared letter by letter, and some are forbidden',
    'write GET, POST, PUT, PATCH or DELETE',
  ],
  'CORS-ANY-HEADER': ['every request header would be allowed', 'name the headers'],
  'CORS-FORBIDDEN-HEADER': ['browsers let no page set that header', 'leave it out'],
  'CORS-EXPOSE-ANY': ['every header of the reply could be read', 'name the headers'],
  'CORS-EXPOSE-COOKIE': ['Set-Cookie cannot be exposed', 'leave it out'],
  'CORS-MAX-AGE': [
    'no browser keeps a preflight longer than a day',
    'set maxAgeSeconds to at most 86400',
  ],
  'CORS-PRIVATE-NETWORK': [
    'any site of the internet could reach this service inside its network',
    'name the origins',
  ],
  'CORS-NOBODY': [
    'no origin is allowed, so CORS does nothing',
    'name the origins, or leave cors out',
  ],
} as const

const appRules = {
  'ISOLATION-TRUST': ['only exact https origins can be trusted', 'write https://app.example.com'],
  'ISOLATION-OPEN': ['requests of every site come in on every route', 'open single routes instead'],
  'COOKIE-READABLE-SESSION': [
    'a script could read what looks like a session',
    'choose another cookie for scripts',
  ],
  'COOKIE-AUDIT-OFF': ['weak cookies go unseen', "use 'report' or 'strict'"],
  'HTTPS-HOST': [
    'a redirect goes to plain host names only',
    'write example.com or example.com:8443',
  ],
  'TXT-EXPIRED': ['security.txt is out of date', 'review it and set a new date'],
  'TXT-TOO-FAR': ['security.txt should be reviewed within a year', 'set a nearer date'],
  'TXT-CONTACT': ['a contact is a mailto:, https: or tel: address', 'correct it'],
  'TXT-LINK': ['links of security.txt use https', 'correct it'],
  'WAIVER-EXPIRED': ['the end date has passed', 'mend what it waived, or decide again'],
  'WAIVER-TOO-LONG': ['a waiver holds for a year at most', 'set a nearer date'],
  'WAIVER-UNKNOWN': ['there is no such rule', 'correct its id'],
  'WAIVER-VAGUE': ['a reason has ten characters or more', 'say why'],
} as const

type RuleText = readonly [reason: string, fix: string]

const table = { ...evaluatorRules, ...cspRules, ...headerRules, ...corsRules, ...appRules }

/** The id of a rule. */
export type RuleId = keyof typeof table

/** Every rule by its id. */
export const rules: Readonly<Record<RuleId, Rule>> = Object.freeze(
  Object.fromEntries(
    Object.entries<RuleText>(table).map(([id, [reason, fix]]) => [
      id,
      Object.freeze({ reason, fix }),
    ]),
  ) as Record<RuleId, Rule>,
)

/** One weak spot. */
export interface Finding {
  readonly rule: RuleId
  /** Where: an option, or a route. */
  readonly where: string
  /** What exactly was found there. */
  readonly found: string
}

/** A finding as a line for whoever has to mend it. */
export function describeFinding({ rule, where, found }: Finding): string {
  const { reason, fix } = rules[rule]
  return `  ${rule} at ${where}: ${found}: ${reason}. Fix: ${fix}.`
}

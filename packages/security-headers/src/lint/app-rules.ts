/** The lint rules for settings of the whole app. */
import type { RuleTexts } from './rule-texts.ts'

const corsRules = {
  'CORS-WILDCARD-CREDENTIALS': [
    'every site could act as the authenticated user',
    'list the allowed origins',
  ],
  'CORS-REFLECT': ['every origin would be allowed', 'list the allowed origins'],
  'CORS-REGEXP': [
    'a regular expression without anchors also matches https://example.com.evil.test',
    'write https://*.example.com',
  ],
  'CORS-NULL': [
    'all sandboxed frames and local files have the origin null',
    'remove it from the list',
  ],
  'CORS-ORIGIN-FORM': [
    'browsers send only scheme, host and port, so this origin never matches',
    'write https://app.example.com',
  ],
  'CORS-INSECURE-ORIGIN': [
    'an origin over http can be impersonated by an attacker on the network',
    'use https',
  ],
  'CORS-PATTERN': [
    'a wildcard must replace complete labels in front of a domain',
    'write https://*.example.com',
  ],
  'CORS-PUBLIC-SUFFIX': [
    'anyone can register a name under this suffix',
    'list the allowed origins',
  ],
  'CORS-ANY-METHOD': [
    'every method would be allowed, also methods that are added later',
    'list the methods',
  ],
  'CORS-METHOD-FORM': [
    'methods are case-sensitive, and some are forbidden',
    'write GET, POST, PUT, PATCH or DELETE',
  ],
  'CORS-ANY-HEADER': ['every request header would be allowed', 'list the headers'],
  'CORS-FORBIDDEN-HEADER': ['browsers do not let pages set this header', 'remove it from the list'],
  'CORS-EXPOSE-ANY': ['pages could read every response header', 'list the headers'],
  'CORS-EXPOSE-COOKIE': ['browsers never expose Set-Cookie', 'remove it from the list'],
  'CORS-MAX-AGE': [
    'no browser keeps a preflight response longer than a day',
    'set maxAgeSeconds to at most 86400',
  ],
  'CORS-PRIVATE-NETWORK': [
    'any public site could reach this service in its private network',
    'list the allowed origins',
  ],
  'CORS-NOBODY': [
    'no origin is allowed, so CORS has no effect',
    'list the allowed origins, or remove the option cors',
  ],
} as const satisfies RuleTexts

const securityTxtRules = {
  'TXT-DATE': [
    'the date of security.txt does not exist',
    'write a time such as 2027-06-30T00:00:00Z',
  ],
  'TXT-TOO-FAR': ['security.txt must be reviewed once a year', 'set a date within a year'],
  'TXT-CONTACT': ['a contact must be a mailto:, https: or tel: URL', 'correct the URL'],
  'TXT-LINK': ['links in security.txt must use https', 'correct the URL'],
} as const satisfies RuleTexts

const waiverRules = {
  'WAIVER-EXPIRED': [
    'the last day of the waiver has passed 30 days ago',
    'fix what it waived, or set a new date',
  ],
  'WAIVER-TOO-LONG': ['a waiver is valid for one year at most', 'set an earlier date'],
  'WAIVER-UNKNOWN': ['no rule has this id', 'correct the id'],
  'WAIVER-VAGUE': ['a reason must have at least 10 characters', 'explain why the rule is broken'],
} as const satisfies RuleTexts

/** Every rule for CORS, isolation, cookies, https, security.txt and waivers. */
export const appRules = {
  ...corsRules,
  'ISOLATION-TRUST': ['only exact https origins can be trusted', 'write https://app.example.com'],
  'ISOLATION-OPEN': [
    'every route accepts requests from every site',
    'open single routes in their config instead',
  ],
  'COOKIE-READABLE-SESSION': [
    'scripts could read a cookie that looks like a session',
    'use another cookie for scripts',
  ],
  'COOKIE-AUDIT-OFF': ['weak cookies are not detected', "use 'report' or 'strict'"],
  'HTTPS-HOST': [
    'a redirect needs a plain host name with an optional port',
    'write example.com or example.com:8443',
  ],
  ...securityTxtRules,
  ...waiverRules,
} as const satisfies RuleTexts

/** The lint rules for Content-Security-Policy: why each one exists and how to fix a finding. */
import type { RuleTexts } from './rule-texts.ts'

/** The rules of the library csp_evaluator, under its own names. */
const evaluatorRules = {
  'CSP-MISSING-SEMICOLON': [
    'the sources of a directive contain the name of another directive',
    'end each directive with a semicolon',
  ],
  'CSP-UNKNOWN-DIRECTIVE': ['browsers ignore an unknown directive', 'correct its name'],
  'CSP-INVALID-KEYWORD': [
    'browsers ignore an unknown keyword',
    'correct the keyword and write it in quotes',
  ],
  'CSP-NONCE-CHARSET': [
    'browsers ignore a nonce with these characters',
    'write "\'nonce\'" and read reply.cspNonce.script',
  ],
  'CSP-MISSING-DIRECTIVES': [
    'a directive is missing and default-src does not replace it',
    "set the directive, preferably to 'none'",
  ],
  'CSP-SCRIPT-UNSAFE-INLINE': ['injected inline scripts run', 'use "\'nonce\'" or hashes'],
  'CSP-SCRIPT-UNSAFE-EVAL': ['strings can run as code', 'use code without eval'],
  'CSP-PLAIN-URL-SCHEMES': [
    'every URL of this scheme is allowed, also one from an attacker',
    'list origins',
  ],
  'CSP-PLAIN-WILDCARD': ['every origin is allowed', 'list origins'],
  'CSP-SCRIPT-ALLOWLIST-BYPASS': [
    'an allowed host may serve a script that can run any code',
    "use \"'nonce'\" and 'strict-dynamic'",
  ],
  'CSP-OBJECT-ALLOWLIST-BYPASS': [
    'an allowed host may serve a plug-in that can run scripts',
    "set object-src to 'none'",
  ],
  'CSP-NONCE-LENGTH': [
    'a short nonce can be guessed',
    'write "\'nonce\'" and read reply.cspNonce.script',
  ],
  'CSP-IP-SOURCE': ['browsers ignore an IP address as a source', 'use a host name'],
  'CSP-DEPRECATED-DIRECTIVE': ['browsers no longer support this directive', 'remove it'],
  'CSP-SRC-HTTP': ['content loaded over http can be changed on the network', 'use https'],
  'CSP-SRC-NO-PROTOCOL': ['reports may be sent over http', 'write a URL with https'],
  'CSP-EXPERIMENTAL': ['the directive is experimental', 'remove it'],
  'CSP-WILDCARD-URL': ['browsers ignore a report URL with a wildcard', 'use a full host name'],
  'CSP-X-FRAME-OPTIONS-OBSOLETED': [
    'frame-ancestors overrides X-Frame-Options',
    'give both the same meaning',
  ],
  'CSP-STATIC-NONCE': [
    'an attacker can copy a nonce that never changes',
    'write "\'nonce\'" and read reply.cspNonce.script',
  ],
  'CSP-SCRIPT-UNSAFE-HASHES': [
    'the hashed code may run as an injected event handler',
    'use addEventListener',
  ],
} as const satisfies RuleTexts

/** What csp_evaluator does not check. */
const furtherRules = {
  'CSP-RELAXED': [
    'no Content-Security-Policy is sent',
    'keep the header and relax single directives',
  ],
  'CSP-STYLE-UNSAFE-INLINE': [
    'injected styles can read and cover the page',
    'use "\'nonce\'" or hashes',
  ],
  'CSP-FRAME-ANCESTORS': [
    'any site can frame the page and capture clicks',
    "set frame-ancestors to 'none', 'self' or origins",
  ],
  'CSP-FORM-ACTION': [
    'an injected form can send what users type to any site',
    "set form-action to 'none', 'self' or origins",
  ],
  'CSP-OPEN-CONNECT': [
    'an injected script can send data to any site',
    'list the origins in connect-src',
  ],
  'CSP-OPEN-FRAMES': ['any page can be framed', 'list the origins in frame-src'],
  'CSP-MIXED-NONE': ["browsers ignore 'none' beside other sources", "remove 'none'"],
  'CSP-SOURCE-FORM': [
    'browsers ignore a source that is not a valid host',
    'write https://cdn.example.com',
  ],
  'CSP-LITERAL-NONCE': [
    'a nonce in the configuration never changes',
    'write "\'nonce\'" and read reply.cspNonce.script',
  ],
  'CSP-REPORT-GROUP': [
    'no header defines this group, so browsers send no reports',
    "set reports and write 'default', or remove report-to",
  ],
  'CSP-WORKER-TRUSTED-TYPES': [
    'the URL of a worker must be trusted, but no Trusted Types policy may be created',
    "name the policy in trusted-types, or set worker-src to 'none'",
  ],
  'CSP-EXTERNAL-SCRIPT': [
    'no source allows a script file that the page in hashFiles loads',
    "use the preset 'spa' with the option build, or add an integrity attribute to the page",
  ],
  'CSP-BAD-HASH': [
    'a hash that is not base64 of the right length matches no code',
    'copy the complete hash with its quotes',
  ],
} as const satisfies RuleTexts

/** Every rule for Content-Security-Policy. */
export const cspRules = { ...evaluatorRules, ...furtherRules }

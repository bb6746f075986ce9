/** The lines on cookies, CORS, CSRF and cross-site scripting. */
import type { Section } from '../line.ts'

/** Attributes of cookies. */
export const cookies: Section = {
  name: 'cookies',
  about: 'Attributes of the cookies that responses and the source set.',
  lines: {
    'COO-01': {
      title: 'Every cookie is Secure',
      severity: 'high',
      checkedBy: ['requests', 'source'],
      fix: 'Set "secure: true". Behind a proxy that ends TLS, set trustProxy to its address as well.',
      asvs: ['V3.3.1'],
    },
    'COO-02': {
      title: 'Scripts cannot read session cookies',
      severity: 'high',
      checkedBy: ['requests', 'source'],
      fix: 'Set "httpOnly: true" on every cookie that identifies a session or carries a token.',
      asvs: ['V3.3.4'],
    },
    'COO-03': {
      title: 'Every cookie has SameSite=Lax or Strict',
      severity: 'medium',
      checkedBy: ['requests', 'source'],
      fix: 'Set "sameSite: \'lax\'" or "\'strict\'"; "none" only where other sites embed the app.',
      asvs: ['V3.3.2'],
    },
    'COO-04': {
      title: 'Session cookies have the prefix __Host- or __Secure-',
      severity: 'low',
      checkedBy: ['requests', 'source'],
      fix: 'Name the cookie "__Host-…", with Secure, path "/" and without a domain.',
      asvs: ['V3.3.1', 'V3.3.3'],
    },
  },
}

/** Which other origins may read responses. */
export const cors: Section = {
  name: 'CORS',
  about: 'Which other origins may read responses.',
  lines: {
    'COR-01': {
      title: 'An unknown origin is not allowed to read responses',
      severity: 'high',
      checkedBy: ['requests'],
      fix: 'List the allowed origins by name; never reflect the Origin header, and compare whole strings.',
      asvs: ['V3.4.2'],
    },
    'COR-02': {
      title: 'Credentials are never allowed together with any origin or with "null"',
      severity: 'critical',
      checkedBy: ['requests'],
      fix: 'Send Access-Control-Allow-Credentials only for origins from a list, and never allow "null".',
      asvs: ['V3.4.2'],
    },
    'COR-03': {
      title: 'A preflight of an unknown origin allows nothing',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: 'Answer preflights of unknown origins without any Access-Control-Allow header.',
      asvs: ['V3.5.2'],
    },
  },
}

/** Requests that other sites make the browser send. */
export const csrf: Section = {
  name: 'CSRF',
  about: 'Requests that other sites make the browser send.',
  lines: {
    'CSR-01': {
      title: 'State-changing requests with a cookie are protected from other sites',
      severity: 'high',
      checkedBy: ['app', 'source', 'requests'],
      fix: 'Check Sec-Fetch-Site or Origin on unsafe methods, or require a CSRF token.',
      asvs: ['V3.5.1'],
    },
    'CSR-02': {
      title: 'GET and HEAD change nothing',
      severity: 'high',
      checkedBy: ['app', 'source'],
      fix: 'Declare what changes state as POST, PUT, PATCH or DELETE.',
      asvs: ['V3.5.3'],
    },
    'CSR-03': {
      title: 'A request cannot change its own method',
      severity: 'medium',
      checkedBy: ['source'],
      fix: 'Remove the override of methods by header, query or body.',
      asvs: ['V4.1.4'],
    },
  },
}

/** Markup that runs in the browser of another user. */
export const xss: Section = {
  name: 'XSS',
  about: 'Markup that runs in the browser of another user.',
  lines: {
    'XSS-01': {
      title: 'Responses do not repeat markup of the request',
      severity: 'high',
      checkedBy: ['requests', 'source'],
      fix: 'Escape values for their place in HTML with a template engine that escapes by default, or answer with JSON.',
      asvs: ['V1.2.1', 'V3.2.1'],
    },
    'XSS-02': {
      title: 'JSON is sent as JSON, and not as a script',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: 'Return objects and let Fastify set the content type; remove JSONP and text/html from data.',
      asvs: ['V3.2.1', 'V3.5.6'],
    },
    'XSS-03': {
      title: 'Rich text of users is sanitized with a maintained library',
      severity: 'medium',
      checkedBy: ['person'],
      fix: 'Sanitize rich text on the server with an allowlist of elements, and encode all other text on output.',
      asvs: ['V1.3.1'],
    },
  },
}

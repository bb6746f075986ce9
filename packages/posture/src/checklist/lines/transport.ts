/** The lines on dependencies, headers and TLS. */
import type { Section } from '../line.ts'

/** What is installed, and whether it is maintained. */
export const dependencies: Section = {
  name: 'dependencies',
  about: 'What is installed, from where, and whether it is maintained.',
  lines: {
    'DEP-01': {
      title: 'A lockfile pins every dependency',
      severity: 'high',
      checkedBy: ['project'],
      fix: 'Commit the lockfile of the package manager, and install with "npm ci" or "--frozen-lockfile".',
      asvs: ['V15.2.4'],
    },
    'DEP-02': {
      title:
        'Every dependency has a version range, and none comes from a branch or over plain HTTP',
      severity: 'medium',
      checkedBy: ['project'],
      fix: 'Replace "*", "latest", branches and http:// addresses by versions from a registry.',
      asvs: ['V15.2.4'],
    },
    'DEP-03': {
      title: 'No production dependency has a known vulnerability',
      severity: 'high',
      checkedBy: ['project', 'person'],
      fix: 'Run the command with --audit, or "npm audit --omit=dev" in CI; update or replace what it names.',
      asvs: ['V15.2.1'],
    },
    'DEP-04': {
      title: 'The running versions of Node.js and Fastify receive security fixes',
      severity: 'high',
      checkedBy: ['app'],
      fix: 'Move to a Node.js release in active or maintenance support, and to the newest major of Fastify.',
      asvs: ['V15.2.1'],
    },
    'DEP-05': {
      title: 'An inventory of components exists, and updates have a time limit',
      severity: 'low',
      checkedBy: ['person'],
      fix: 'Publish an SBOM (CycloneDX or SPDX) with each release, and write down the time limits for updates.',
      asvs: ['V15.1.1', 'V15.1.2'],
    },
  },
}

/** What responses tell browsers. */
export const headers: Section = {
  name: 'headers',
  about: 'What responses tell browsers, and what they reveal.',
  lines: {
    'HDR-01': {
      title: 'Responses carry a Content-Security-Policy',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: "Send Content-Security-Policy on every response; for an API \"default-src 'none'; frame-ancestors 'none'\".",
      asvs: ['V3.4.3'],
    },
    'HDR-02': {
      title: 'The Content-Security-Policy allows no inline script, no eval and no wildcard',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: "Use nonces or hashes for scripts, set object-src and base-uri to 'none', and list hosts by name.",
      asvs: ['V3.4.3'],
    },
    'HDR-03': {
      title: 'Responses carry X-Content-Type-Options: nosniff',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: 'Send "X-Content-Type-Options: nosniff" on every response, errors included.',
      asvs: ['V3.4.4'],
    },
    'HDR-04': {
      title: 'Other sites cannot frame the responses',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: 'Add "frame-ancestors \'none\'" (or the sites that may) to the Content-Security-Policy.',
      asvs: ['V3.4.6'],
    },
    'HDR-05': {
      title: 'A Referrer-Policy keeps paths and queries from other sites',
      severity: 'low',
      checkedBy: ['requests'],
      fix: 'Send "Referrer-Policy: no-referrer", "same-origin" or "strict-origin-when-cross-origin".',
      asvs: ['V3.4.5'],
    },
    'HDR-06': {
      title: 'Responses do not reveal the software',
      severity: 'low',
      checkedBy: ['requests'],
      fix: 'Remove X-Powered-By, and any Server header that names a product or a version.',
      asvs: ['V13.4.6'],
    },
    'HDR-07': {
      title: 'No response turns on the XSS filter of old browsers',
      severity: 'low',
      checkedBy: ['requests'],
      fix: 'Send no X-XSS-Protection (or "0"): the filter itself leaks data in the browsers that have it.',
      asvs: [],
    },
    'HDR-08': {
      title: 'Documents are isolated from other origins',
      severity: 'low',
      checkedBy: ['requests'],
      fix: 'Send "Cross-Origin-Opener-Policy: same-origin" on HTML, and "Cross-Origin-Resource-Policy: same-origin".',
      asvs: ['V3.4.8', 'V3.5.8'],
    },
    'HDR-09': {
      title: 'Error responses carry the same security headers',
      severity: 'low',
      checkedBy: ['requests'],
      fix: 'Set the headers in onRequest or onSend of the root instance, so that 404 and errors carry them, too.',
      asvs: ['V3.4.4'],
    },
    'HDR-10': {
      title: 'Text responses name their content type and charset',
      severity: 'low',
      checkedBy: ['requests'],
      fix: 'Set the content type of each reply, with "; charset=utf-8" for text and HTML.',
      asvs: ['V4.1.1'],
    },
    'HDR-11': {
      title: 'Private responses are not cached',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: 'Send "Cache-Control: no-store" on responses that need a login, set a cookie or carry a token.',
      asvs: ['V14.3.2'],
    },
  },
}

/** Encryption on the wire. */
export const tls: Section = {
  name: 'TLS',
  about: 'Encryption on the wire, to clients and to the services behind the app.',
  lines: {
    'TLS-01': {
      title: 'Strict-Transport-Security holds for at least a year',
      severity: 'medium',
      checkedBy: ['requests'],
      fix: 'Send "Strict-Transport-Security: max-age=31536000; includeSubDomains" on every response.',
      asvs: ['V3.4.1'],
    },
    'TLS-02': {
      title: 'Connections use TLS 1.2 or newer',
      severity: 'high',
      checkedBy: ['requests', 'app', 'person'],
      fix: 'Set minVersion to "TLSv1.2" or "TLSv1.3" where TLS ends (the app, the proxy or the load balancer).',
      asvs: ['V12.1.1'],
    },
    'TLS-03': {
      title: 'The certificate is valid, trusted, and not about to expire',
      severity: 'high',
      checkedBy: ['requests', 'person'],
      fix: 'Renew the certificate automatically, and alert 21 days before it expires.',
      asvs: ['V12.2.2'],
    },
    'TLS-04': {
      title: 'Plain HTTP is redirected or refused',
      severity: 'medium',
      checkedBy: ['requests', 'person'],
      fix: 'Answer port 80 with a redirect to https for pages, and not at all for an API.',
      asvs: ['V12.2.1', 'V4.1.2'],
    },
    'TLS-05': {
      title: 'The app verifies the certificates of the services that it calls',
      severity: 'critical',
      checkedBy: ['source', 'environment'],
      fix: 'Remove "rejectUnauthorized: false" and NODE_TLS_REJECT_UNAUTHORIZED=0; give the CA in "ca" or NODE_EXTRA_CA_CERTS.',
      asvs: ['V12.3.2'],
    },
    'TLS-06': {
      title: 'Connections to databases and caches on other hosts are encrypted',
      severity: 'high',
      checkedBy: ['environment'],
      fix: 'Use sslmode=verify-full (PostgreSQL), rediss:// (Redis), tls=true (MongoDB) for hosts other than this one.',
      asvs: ['V12.3.1'],
    },
    'TLS-07': {
      title: 'The source calls no service by plain HTTP',
      severity: 'medium',
      checkedBy: ['source'],
      fix: 'Call other services by https; keep http:// for addresses of this machine.',
      asvs: ['V12.3.1'],
    },
  },
}

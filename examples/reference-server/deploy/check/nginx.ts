/** The rules of nginx, on the configuration with its includes. */
import { createReport, type Finding, type Report } from './finding.ts'
import { findDirectives, parseNginx, type Directive } from './nginx-syntax.ts'

/** Which variant allows which protocols. */
const PROTOCOLS: Readonly<Record<string, string>> = {
  'modern.conf': 'TLSv1.3',
  'intermediate.conf': 'TLSv1.2 TLSv1.3',
}
/** Forward secrecy and authenticated encryption. */
const SUITE = /^ECDHE-(?:ECDSA|RSA)-(?:AES(?:128|256)-GCM-SHA(?:256|384)|CHACHA20-POLY1305)$/

const SETTINGS: readonly [name: string, value: string, rule: string][] = [
  ['server_tokens', 'off', 'version'],
  ['ssl_session_tickets', 'off', 'tickets'],
  ['ssl_early_data', 'off', 'replay'],
  ['ssl_reject_handshake', 'on', 'unknown-name'],
  ['proxy_intercept_errors', 'off', 'headers'],
]

/** What is written anew, so that no client can choose it. */
const OVERWRITTEN: Readonly<Record<string, string>> = {
  'X-Forwarded-For': '$remote_addr',
  'X-Forwarded-Proto': '$scheme',
  'X-Forwarded-Host': '$host',
  Forwarded: '',
  'X-Real-IP': '',
  // WebSocket only, by a map; as the client sent it, it may be h2c.
  Upgrade: '$upgrade',
  Proxy: '',
}

/** Checks one variant. @param read the text of an included file. */
export function checkNginx(file: string, read: (include: string) => string): Finding[] {
  const report = createReport(file)
  const variant = file.split('/').at(-1)!
  const directives = expand(parseNginx(read(variant)), read)
  const valueOf = (name: string): string =>
    findDirectives(directives, name)
      .map(({ values }) => values.join(' '))
      .join(', ')
  report.expect(
    valueOf('ssl_protocols') === PROTOCOLS[variant],
    'protocols',
    `ssl_protocols must be ${PROTOCOLS[variant] ?? 'those of a known variant'}`,
  )
  for (const suite of valueOf('ssl_ciphers')
    .split(':')
    .filter((each) => each !== '')) {
    report.expect(SUITE.test(suite), 'ciphers', `${suite}: no forward secrecy or no authentication`)
  }
  for (const [name, value, rule] of SETTINGS) {
    report.expect(valueOf(name) === value, rule, `${name} ${value}`)
  }
  for (const name of [
    'client_header_timeout',
    'client_body_timeout',
    'client_max_body_size',
    'limit_conn',
  ]) {
    report.expect(valueOf(name) !== '', 'limits', `${name} is missing`)
  }
  const format = valueOf('log_format')
  report.expect(
    !/\$(?:request_uri|request|args|query_string|http_(?:authorization|cookie|referer))\b/.test(
      format,
    ),
    'log',
    'the log must have no query string',
  )
  const unknown = findDirectives(directives, 'server').filter(
    ({ block = [] }) => findDirectives(block, 'ssl_reject_handshake').length > 0,
  )
  const isRefused = unknown.every(({ block = [] }) =>
    findDirectives(block, 'return').some(({ values }) => values[0] === '421'),
  )
  report.expect(isRefused, 'unknown-name', 'a Host header of another name must get 421')
  checkProxy(report, directives)
  return report.findings
}

function expand(directives: readonly Directive[], read: (include: string) => string): Directive[] {
  return directives.flatMap((each) => {
    if (each.name === 'include') return expand(parseNginx(read(each.values[0] ?? '')), read)
    return each.block === undefined ? [each] : [{ ...each, block: expand(each.block, read) }]
  })
}

function checkProxy(report: Report, directives: readonly Directive[]): void {
  const locations = findDirectives(directives, 'location')
  const proxied = locations.filter(
    ({ block = [] }) => findDirectives(block, 'proxy_pass').length > 0,
  )
  report.expect(proxied.length > 0, 'proxy', 'no location passes requests on')
  for (const { block = [] } of proxied) {
    const headers = new Map(
      findDirectives(block, 'proxy_set_header').map(({ values }) => [values[0]!, values[1] ?? '']),
    )
    for (const [name, value] of Object.entries(OVERWRITTEN)) {
      report.expect(headers.get(name) === value, 'forwarded', `proxy_set_header ${name} "${value}"`)
    }
    const [, path = ''] =
      /^https?:\/\/[^/]+(.*)$/.exec(findDirectives(block, 'proxy_pass')[0]!.values[0]!) ?? []
    report.expect(path === '', 'path', 'proxy_pass must have no path')
    const retries = findDirectives(block, 'proxy_next_upstream').flatMap(({ values }) => values)
    report.expect(!retries.includes('non_idempotent'), 'retry', 'a change must not be sent twice')
  }
  const own = locations.filter((location) => location.values[0]?.startsWith('@') === true)
  const added = findDirectives(directives, 'add_header').length
  const addedByOwn = own.flatMap(({ block = [] }) => findDirectives(block, 'add_header')).length
  report.expect(added === addedByOwn, 'headers', 'headers are left to the server')
  for (const name of ['proxy_hide_header', 'more_set_headers', 'proxy_ignore_headers']) {
    report.expect(
      findDirectives(directives, name).length === 0,
      'headers',
      `${name}: left to the server`,
    )
  }
}

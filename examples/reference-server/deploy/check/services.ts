/** The rules of the settings of Redis and Vault, and of the shell scripts. */
import { parseHcl } from './hcl.ts'
import { createReport, itemsOf, membersOf, textsOf, type Finding } from './finding.ts'

const REDIS: Readonly<Record<string, string>> = {
  port: '0',
  'tls-port': '6379',
  'protected-mode': 'yes',
  'tls-protocols': '"TLSv1.3"',
  aclfile: '/run/secrets/redis-users.acl',
  appendonly: 'yes',
  'maxmemory-policy': 'noeviction',
  'enable-debug-command': 'no',
  'enable-module-command': 'no',
}

/** Checks redis.conf. */
export function checkRedisConf(file: string, text: string): Finding[] {
  const report = createReport(file)
  const settings = new Map(
    [...text.matchAll(/^([a-z-]+)\s+(.+)$/gm)].map(([, name, value]) => [name!, value!.trim()]),
  )
  for (const [name, value] of Object.entries(REDIS)) {
    report.expect(settings.get(name) === value, name, `${name} ${value}`)
  }
  report.expect(settings.has('maxmemory'), 'limits', 'maxmemory')
  report.expect(!settings.has('requirepass'), 'no-secret', 'users are in the ACL file')
  return report.findings
}

/** Checks the users of Redis. */
export function checkRedisUsers(file: string, text: string): Finding[] {
  const report = createReport(file)
  const users = text.split('\n').filter((line) => line.startsWith('user '))
  report.expect(users.includes('user default off'), 'default', 'the default user is off')
  for (const line of users.filter((each) => each !== 'user default off')) {
    const [, name = '', ...rules] = line.split(' ')
    report.expect(rules.includes('-@all'), 'commands', `${name}: starts from no command`)
    report.expect(
      !rules.some((rule) => /^(?:\+@all|allcommands|nopass|\+@admin|\+@dangerous)$/.test(rule)),
      'commands',
      `${name}: too much`,
    )
    report.expect(
      rules.some((rule) => rule.startsWith('#')),
      'password',
      `${name}: the digest of a password`,
    )
  }
  return report.findings
}

/** Checks a file of Vault. */
export async function checkVault(file: string, text: string): Promise<Finding[]> {
  const report = createReport(file)
  const body = membersOf(await parseHcl(file, text))
  if (file.endsWith('vault.hcl')) {
    const listeners = itemsOf(membersOf(body['listener'])['tcp']).map(membersOf)
    const isTls = listeners.every(
      (each) => each['tls_min_version'] === 'tls13' && each['tls_disable'] === undefined,
    )
    report.expect(listeners.length > 0 && isTls, 'tls', 'tls_min_version = "tls13"')
    report.expect(body['ui'] === false, 'ui', 'ui = false')
  }
  if (file.endsWith('-policy.hcl')) {
    for (const [path, rules] of Object.entries(membersOf(body['path']))) {
      const capabilities = itemsOf(rules).flatMap((rule) =>
        textsOf(membersOf(rule)['capabilities']),
      )
      const isReadOnly = capabilities.every((each) => each === 'read') && !path.includes('*')
      report.expect(isReadOnly, 'least-privilege', `${path}: only "read", without a wildcard`)
    }
  }
  if (file.endsWith('agent.hcl')) {
    const vaults = itemsOf(body['vault']).map(membersOf)
    const isTls = vaults.every(
      (each) => String(each['address']).startsWith('https://') && 'ca_cert' in each,
    )
    report.expect(vaults.length > 0 && isTls, 'tls', 'https and ca_cert')
    for (const template of itemsOf(body['template']).map(membersOf)) {
      const name = String(template['destination'])
      report.expect(template['perms'] === '0400', 'secret-mode', `${name}: perms = "0400"`)
      report.expect(
        template['error_on_missing_key'] === true,
        'missing',
        `${name}: error_on_missing_key`,
      )
    }
  }
  return report.findings
}

/** Checks a shell script. `bash -n` checks its syntax. */
export function checkScript(file: string, text: string): Finding[] {
  const report = createReport(file)
  const isSourced = !text.startsWith('#!')
  report.expect(
    isSourced || text.startsWith('#!/usr/bin/env bash\n'),
    'bash',
    '#!/usr/bin/env bash',
  )
  const isStrict =
    text.includes('set -Eeuo pipefail') ||
    text.includes('/settings.sh"') ||
    file.endsWith('verify.sh')
  report.expect(isStrict, 'strict', 'set -Eeuo pipefail')
  const isPrivate =
    text.includes('umask 077') || text.includes('/settings.sh"') || file.endsWith('verify.sh')
  report.expect(isPrivate, 'umask', 'umask 077')
  const code = text.replaceAll(/^\s*#.*$/gm, '')
  // Every user of the machine can read the arguments of a process.
  const leak =
    /--pass(?:word|phrase)?[= ]|PGPASSWORD=|redis-cli[^\n|]* -a |postgres:\/\/[^/\s"]*:/.exec(code)
  report.expect(leak === null, 'no-secret', `a password on a command line: ${leak?.[0] ?? ''}`)
  report.expect(
    !/\beval\b|curl[^\n]*\|\s*(?:ba)?sh/.test(code),
    'eval',
    'neither eval nor curl | sh',
  )
  return report.findings
}

/** The rules of the settings, roles and grants of PostgreSQL. Tests also run them on a server. */
import { createReport, type Finding } from './finding.ts'

const POSTGRES: Readonly<Record<string, string>> = {
  ssl: 'on',
  ssl_min_protocol_version: 'TLSv1.3',
  password_encryption: 'scram-sha-256',
  fsync: 'on',
  full_page_writes: 'on',
  synchronous_commit: 'on',
  log_connections: 'on',
  log_statement: 'ddl',
  log_parameter_max_length: '0',
  log_parameter_max_length_on_error: '0',
  row_security: 'on',
}

/** Checks postgresql.conf. */
export function checkPostgresqlConf(file: string, text: string): Finding[] {
  const report = createReport(file)
  const settings = new Map(
    [...text.matchAll(/^\s*(\w+)\s*=\s*'?([^'#\n]*?)'?\s*$/gm)].map(([, name, value]) => [
      name!,
      value!,
    ]),
  )
  for (const [name, value] of Object.entries(POSTGRES)) {
    report.expect(
      settings.get(name) === value,
      name,
      `${name} = ${value}, not ${settings.get(name) ?? 'unset'}`,
    )
  }
  for (const name of ['statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout']) {
    report.expect(/^[1-9]/.test(settings.get(name) ?? ''), 'deadline', `${name} must be set`)
  }
  return report.findings
}

/** Checks pg_hba.conf. */
export function checkPgHba(file: string, text: string): Finding[] {
  const report = createReport(file)
  const lines = text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((line) => line.split(/\s+/))
  for (const [type = '', database = '', user = '', ...rest] of lines) {
    const method = rest.at(-1)!
    const line = `${type} ${database} ${user} ${method}`
    if (method === 'reject') continue
    report.expect(
      !['trust', 'password', 'md5', 'ident'].includes(method),
      'method',
      `${line}: not ${method}`,
    )
    report.expect(type === 'local' || type === 'hostssl', 'tls', `${line}: hostssl`)
    report.expect(
      type === 'local' || method === 'scram-sha-256',
      'method',
      `${line}: scram-sha-256`,
    )
    report.expect(user !== 'all', 'roles', `${line}: names its role`)
    report.expect(
      type === 'local' || user !== 'postgres',
      'superuser',
      `${line}: only from the machine`,
    )
    report.expect(
      !rest.includes('all') && !rest.includes('0.0.0.0/0'),
      'address',
      `${line}: any address`,
    )
  }
  report.expect(
    lines.at(-1)?.join(' ') === 'host all all all reject',
    'reject',
    'the last line refuses the rest',
  )
  return report.findings
}

/** Checks the SQL of roles and grants. Tests run it on a server. */
export function checkSql(file: string, text: string): Finding[] {
  const report = createReport(file)
  const code = text
    .replaceAll(/--[^\n]*/g, '')
    // Row-level security binds parapet_rows and the auditors; these roles see whole tables.
    .replaceAll(/^ALTER ROLE parapet_(?:app|migrator|backup|drill) BYPASSRLS;$/gm, '')
  for (const attribute of ['SUPERUSER', 'BYPASSRLS', 'REPLICATION', 'CREATEROLE']) {
    report.expect(
      !new RegExp(`(?<!NO)\\b${attribute}\\b`).test(code),
      'attribute',
      `no role has ${attribute}`,
    )
  }
  report.expect(!/PASSWORD\s+'/i.test(code), 'no-secret', 'no password in a file')
  report.expect(!/GRANT[^;]+TO\s+PUBLIC/i.test(code), 'public', 'no right for everyone')
  report.expect(!/GRANT\s+ALL/i.test(code), 'all', 'name the rights')
  if (file.endsWith('roles.sql')) {
    report.expect(
      /REVOKE ALL ON SCHEMA public FROM PUBLIC/.test(code),
      'public',
      'revoke from PUBLIC',
    )
  }
  return report.findings
}

/** What is stored and who may read it: encryption, backups, buckets, keys, rights, the firewall. */
import { createReport, itemsOf, membersOf, textsOf, type Finding, type Report } from '../finding.ts'
import { nested, type Block, type Configuration } from './read.ts'

/** Checks the data. */
export function checkData(configuration: Configuration): Finding[] {
  const { blocks, files } = configuration
  const findings = blocks.flatMap((block) => {
    const report = createReport(block.file)
    rules[block.type]?.(report, `${block.type}.${block.name}`, block.body)
    if (block.type === 'aws_s3_bucket') checkBucket(report, block, blocks)
    return report.findings
  })
  return [...findings, ...checkFirewall(blocks), ...checkVariables(files)]
}

type Rule = (report: Report, at: string, body: Block['body']) => void

/** Attributes with the values that they must have. */
const must =
  (rule: string, expected: Readonly<Record<string, unknown>>): Rule =>
  (report, at, body) => {
    for (const [name, value] of Object.entries(expected)) {
      const isRight =
        value === 'a reference' ? String(body[name]).startsWith('${') : body[name] === value
      report.expect(isRight, rule, `${at}: ${name} must be ${String(value)}`)
    }
  }

const rules: Readonly<Record<string, Rule>> = {
  aws_kms_key: must('rotation', { enable_key_rotation: true }),
  aws_cloudwatch_log_group: must('encryption', { kms_key_id: 'a reference' }),
  aws_db_instance: (report, at, body) => {
    must('encryption', { storage_encrypted: true, kms_key_id: 'a reference' })(report, at, body)
    must('public', { publicly_accessible: false })(report, at, body)
    must('durability', { multi_az: true, deletion_protection: true, skip_final_snapshot: false })(
      report,
      at,
      body,
    )
    const { backup_retention_period: days } = body
    report.expect(typeof days === 'number' && days >= 30, 'retention', `${at}: 30 days of backups`)
    report.expect(!('password' in body), 'no-secret', `${at}: manage_master_user_password`)
  },
  aws_db_parameter_group: (report, at, body) => {
    const forced = nested(body, 'parameter').some(
      ({ name, value }) => name === 'rds.force_ssl' && value === '1',
    )
    report.expect(forced, 'tls', `${at}: rds.force_ssl = 1`)
  },
  aws_elasticache_replication_group: (report, at, body) => {
    must('encryption', {
      at_rest_encryption_enabled: true,
      transit_encryption_enabled: true,
      transit_encryption_mode: 'required',
      kms_key_id: 'a reference',
    })(report, at, body)
    must('auth', { auth_token: 'a reference' })(report, at, body)
  },
  aws_launch_template: (report, at, body) => {
    for (const { ebs } of nested(body, 'block_device_mappings')) {
      const isEncrypted = itemsOf(ebs).every((each) => membersOf(each)['encrypted'] === true)
      report.expect(isEncrypted, 'encryption', `${at}: ebs.encrypted = true`)
    }
  },
  aws_s3_account_public_access_block: blockPublic,
  aws_s3_bucket_public_access_block: blockPublic,
  aws_s3_bucket_object_lock_configuration: (report, at, body) => {
    const [retention = {}] = nested(nested(body, 'rule')[0] ?? {}, 'default_retention')
    const isLocked = retention['mode'] === 'COMPLIANCE' && Number(retention['days']) >= 30
    report.expect(isLocked, 'retention', `${at}: COMPLIANCE, 30 days`)
  },
  aws_iam_policy_document: (report, at, body) => {
    for (const statement of nested(body, 'statement')) {
      if (statement['effect'] === 'Deny') continue
      const actions = textsOf(statement['actions'])
      const isWild = actions.some((action) => action === '*' || /^[a-z0-9]+:\*$/.test(action))
      // In the policy of a key, "*" is the key itself.
      const isOfKey =
        actions.every((action) => action.startsWith('kms:')) && 'principals' in statement
      report.expect(!isWild || isOfKey, 'rights', `${at}: every action`)
      const isEvery = textsOf(statement['resources']).includes('*')
      report.expect(!isEvery || isOfKey, 'rights', `${at}: every resource`)
      for (const principal of nested(statement, 'principals')) {
        const isAnyone = textsOf(principal['identifiers']).includes('*')
        report.expect(!isAnyone, 'rights', `${at}: everyone`)
      }
    }
  },
}

function blockPublic(report: Report, at: string, body: Block['body']): void {
  must('public', {
    block_public_acls: true,
    block_public_policy: true,
    ignore_public_acls: true,
    restrict_public_buckets: true,
  })(report, at, body)
}

/** What each bucket needs beside itself. */
function checkBucket(report: Report, { name }: Block, blocks: readonly Block[]): void {
  const companions = [
    'aws_s3_bucket_public_access_block',
    'aws_s3_bucket_server_side_encryption_configuration',
    'aws_s3_bucket_policy',
    'aws_s3_bucket_lifecycle_configuration',
  ]
  for (const type of companions) {
    const found = blocks.some(
      (block) =>
        block.type === type && String(block.body['bucket']).includes(`aws_s3_bucket.${name}.`),
    )
    report.expect(found, 'bucket', `aws_s3_bucket.${name}: ${type} is missing`)
  }
  const document = blocks.find(({ kind, name: other }) => kind === 'data' && other === name)
  const isTlsOnly = nested(document?.body ?? {}, 'statement').some(
    (statement) =>
      statement['effect'] === 'Deny' &&
      nested(statement, 'condition').some(({ variable }) => variable === 'aws:SecureTransport'),
  )
  report.expect(
    isTlsOnly,
    'tls',
    `aws_s3_bucket.${name}: its policy must refuse requests without TLS`,
  )
}

function checkFirewall(blocks: readonly Block[]): Finding[] {
  const report = createReport('terraform/')
  const acl = blocks.find(({ type }) => type === 'aws_wafv2_web_acl')
  const text = JSON.stringify(acl?.body ?? {})
  for (const part of [
    'AWSManagedRulesSQLiRuleSet',
    'xss_match_statement',
    'rate_based_statement',
    'geo_match_statement',
  ]) {
    report.expect(text.includes(part), 'waf', `the web ACL has no ${part}`)
  }
  report.expect(
    blocks.some(({ type }) => type === 'aws_wafv2_web_acl_logging_configuration'),
    'waf',
    'the web ACL has no log',
  )
  return report.findings
}

/** A secret comes from outside, and a rate limit is one. */
function checkVariables(files: Configuration['files']): Finding[] {
  return [...files].flatMap(([file, body]) => {
    const report = createReport(file)
    for (const [name, declarations] of Object.entries(membersOf(body['variable']))) {
      const [declaration = {}] = itemsOf(declarations).map(membersOf)
      const isSecret = /(?:secret|token|password|key)$/.test(name)
      report.expect(
        !isSecret || (declaration['sensitive'] === true && !('default' in declaration)),
        'no-secret',
        `var.${name}: sensitive = true, without a default`,
      )
      const isBounded = name !== 'requests_per_five_minutes' || declaration['default'] === 2000
      report.expect(isBounded, 'waf', `var.${name}: 2000`)
    }
    return report.findings
  })
}

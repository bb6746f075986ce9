/** The files of deploy pass their checks; each of them is broken on purpose, and the check finds it. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { findExecutable } from '@parapet/testing'
import t from 'tap'
import { checkDeploy, deployFolder, readDeployFiles } from '../../deploy/check/all.ts'
import { keyMembers } from '../../src/config/required-keys.ts'
import { environment } from '../../src/config/variables.ts'

const run = promisify(execFile)
const files = readDeployFiles()

/** One mistake: in a file, this text becomes that one, and the rule finds it. */
type Mistake = readonly [file: string, from: string, to: string, rule: string]

const mistakes: readonly Mistake[] = [
  ['Dockerfile', '@sha256:2356', '@sha256:235', 'pinned-image'],
  ['Dockerfile', 'deploy --prod --legacy', 'deploy --legacy', 'no-dev'],
  ['Dockerfile', 'src/build-console.ts', 'src/main.ts', 'console'],
  ['Dockerfile', 'STOPSIGNAL SIGTERM', 'USER 0:0', 'non-root'],
  ['Dockerfile', 'NODE_ENV=production', 'SIGNING_KEY=abc NODE_ENV=production', 'no-secret'],
  ['Dockerfile', 'VOLUME /var/lib/parapet', 'ADD https://example.com/a /a', 'no-add'],
  ['Dockerfile', '["node", "src/main.ts"]', 'node src/main.ts', 'exec-form'],
  [
    'Dockerfile',
    'COPY --from=build --chown=0:0 /app /app',
    'COPY --from=build /app /app',
    'root-owned',
  ],
  ['Dockerfile.dockerignore', '**/*.pem', '**/*.pen', 'context'],
  ['healthcheck.mjs', 'AbortSignal.timeout(2000)', 'undefined', 'deadline'],
  ['compose.yaml', 'redis:8-trixie@sha256:8', 'redis:8-trixie # ', 'pinned-image'],
  ['compose.yaml', 'cap_drop: [ALL]', 'cap_drop: []', 'capabilities'],
  ['compose.yaml', 'read_only: true', 'read_only: false', 'read-only'],
  ['compose.yaml', '  back:\n    internal: true', '  back:\n    internal: false', 'networks'],
  ['compose.yaml', 'networks: [front, back, out]', 'networks: [front, back, edge]', 'networks'],
  ['compose.yaml', '    networks: [back]', '    networks: [back, out]', 'networks'],
  ['compose.yaml', '    shm_size: 256m', "    ports: ['5432:5432']", 'ports'],
  ['compose.yaml', 'initdb.d/10-roles.sql', 'initdb.d/roles.sql', 'order'],
  ['compose.yaml', 'initdb.d/20-passwords.sql', 'initdb.d/05-passwords.sql', 'order'],
  ['compose.yaml', 'SECRETS_DIR: /run/vault\n', 'SESSION_SECRET: abc\n', 'no-secret'],
  ['compose.yaml', 'SECRETS_DIR: /run/vault\n', 'SMTP_URL: abc\n', 'no-secret'],
  ['compose.yaml', 'SECRETS_DIR: /run/vault\n', 'PRIVACY_KEYS: abc\n', 'no-secret'],
  ['kubernetes/kustomization.yaml', '  - ingress.yaml\n', '', 'kustomization'],
  ['kubernetes/namespace.yaml', 'enforce: restricted', 'enforce: baseline', 'restricted'],
  [
    'kubernetes/network-policies.yaml',
    'policyTypes: [Ingress, Egress]',
    'policyTypes: [Ingress]',
    'default-deny',
  ],
  ['kubernetes/network-policies.yaml', 'cidr: 10.40.32.0/24', 'cidr: 0.0.0.0/0', 'peers'],
  ['kubernetes/network-policies.yaml', 'port: 5432', 'port: 443', 'egress'],
  ['kubernetes/network-policies.yaml', 'port: 465', 'port: 25', 'egress'],
  ['kubernetes/network-policies.yaml', 'cidr: 203.0.113.0/24', 'cidr: 203.0.0.0/8', 'peers'],
  ['kubernetes/network-policies.yaml', 'name: to-webhook', 'name: to-elsewhere', 'egress'],
  ['kubernetes/configuration.yaml', 'kind: ConfigMap', 'kind: Secret', 'no-secret'],
  [
    'kubernetes/server.yaml',
    'readOnlyRootFilesystem: true',
    'readOnlyRootFilesystem: false',
    'read-only',
  ],
  ['kubernetes/server.yaml', 'drop: [ALL]', 'drop: [NET_RAW]', 'restricted'],
  ['kubernetes/server.yaml', 'type: RuntimeDefault', 'type: Unconfined', 'restricted'],
  ['kubernetes/server.yaml', 'minAvailable: 2', 'minAvailable: 3', 'scaling'],
  ['kubernetes/server.yaml', 'topology.kubernetes.io/zone', 'kubernetes.io/hostname', 'spread'],
  ['kubernetes/server.yaml', 'readinessProbe:', 'lifeProbe:', 'probes'],
  ['kubernetes/server.yaml', 'replicas: 3', 'replicas: three', 'schema'],
  [
    'kubernetes/server.yaml',
    'terminationGracePeriodSeconds: 40',
    'terminationGracePeriodSecs: 40',
    'unknown',
  ],
  ['kubernetes/migration.yaml', 'backoffLimit: 3', 'backOffLimit: 3', 'unknown'],
  ['kubernetes/backup.yaml', 'timeZone: Etc/UTC', 'timezone: Etc/UTC', 'unknown'],
  ['kubernetes/ingress.yaml', 'pathType: Prefix', 'pathKind: Prefix', 'schema'],
  [
    'kubernetes/migration.yaml',
    'allowPrivilegeEscalation: false',
    'allowPrivilegeEscalation: true',
    'restricted',
  ],
  [
    'kubernetes/backup.yaml',
    'automountServiceAccountToken: false',
    'automountServiceAccountToken: true',
    'token',
  ],
  ['kubernetes/backup.yaml', 'name: restore-drill\nspec', 'name: drill\nspec', 'schedule'],
  ['nginx/modern.conf', 'ssl_protocols TLSv1.3', 'ssl_protocols TLSv1.2 TLSv1.3', 'protocols'],
  ['nginx/intermediate.conf', 'ECDHE-RSA-CHACHA20-POLY1305', 'AES128-SHA', 'ciphers'],
  [
    'nginx/parts/main.conf',
    'worker_processes auto;',
    'worker_processes auto; http { server_tokens on; }',
    'version',
  ],
  ['nginx/parts/http.conf', '"path":"$uri"', '"path":"$request_uri"', 'log'],
  [
    'nginx/parts/server.conf',
    'X-Forwarded-For $remote_addr',
    'X-Forwarded-For $proxy_add_x_forwarded_for',
    'forwarded',
  ],
  ['nginx/parts/server.conf', 'return 421;', '', 'unknown-name'],
  ['nginx/parts/server.conf', 'Upgrade $upgrade;', 'Upgrade $http_upgrade;', 'forwarded'],
  [
    'nginx/parts/server.conf',
    'proxy_http_version 1.1;',
    'add_header X-Frame-Options DENY;',
    'headers',
  ],
  ['postgresql/postgresql.conf', 'ssl = on', 'ssl = off', 'ssl'],
  ['postgresql/postgresql.conf', 'lock_timeout = 10s', 'lock_timeout = 0', 'deadline'],
  [
    'postgresql/pg_hba.conf',
    'hostssl  parapet   parapet_app',
    'host     parapet   parapet_app',
    'tls',
  ],
  [
    'postgresql/pg_hba.conf',
    'samenet       scram-sha-256\nhostssl  parapet   parapet_app',
    'samenet  trust\nhostssl  parapet   parapet_app',
    'method',
  ],
  ['postgresql/roles.sql', 'NOBYPASSRLS', 'BYPASSRLS', 'attribute'],
  ['postgresql/roles.sql', 'parapet_backup BYPASSRLS', 'parapet_auditor BYPASSRLS', 'attribute'],
  [
    'postgresql/grants.sql',
    'GRANT INSERT ON audit_log_inbox TO',
    'GRANT ALL ON audit_log_inbox TO',
    'all',
  ],
  [
    'redis/redis.conf',
    'maxmemory-policy noeviction',
    'maxmemory-policy allkeys-lru',
    'maxmemory-policy',
  ],
  ['redis/users.acl.example', 'user default off', 'user default on', 'default'],
  ['vault/vault.hcl', '"tls13"', '"tls12"', 'tls'],
  ['vault/agent.hcl', '"0400"', '"0444"', 'secret-mode'],
  ['vault/server-policy.hcl', '["read"]', '["read", "list"]', 'least-privilege'],
  ['prepare.sh', 'umask 077', 'umask 022', 'umask'],
  ['backup/settings.sh', 'set -Eeuo pipefail', 'set -e', 'strict'],
  ['backup/backup.sh', 'redis-cli -h', 'redis-cli --pass "$REDISCLI_AUTH" -h', 'no-secret'],
  ['backup/verify.sh', 'decrypt() {', 'decrypt() { eval "$2";', 'eval'],
  ['backup/restore.sh', '#!/usr/bin/env bash', '#!/bin/sh', 'bash'],
  ['backup/restore-drill.sh', '"postgres:///$drill"', '"postgres://u:p@h/$drill"', 'no-secret'],
  ['terraform/versions.tf', 'region = var.region', 'region = var.place', 'reference'],
  ['terraform/variables.tf', 'default     = 2000', 'default     = 20000', 'waf'],
  ['terraform/variables.tf', '  sensitive   = true\n', '', 'no-secret'],
  [
    'terraform/network.tf',
    'traffic_type             = "ALL"',
    'traffic_type             = "REJECT"',
    'flow-log',
  ],
  [
    'terraform/network.tf',
    'map_public_ip_on_launch = false',
    'map_public_ip_on_launch = true',
    'public-address',
  ],
  [
    'terraform/network.tf',
    'cidr_block           = var.network',
    'cidr_range           = var.network',
    'attribute',
  ],
  [
    'terraform/security-groups.tf',
    'referenced_security_group_id = aws_security_group.database.id',
    'cidr_ipv4 = "0.0.0.0/0"',
    'open-egress',
  ],
  [
    'terraform/security-groups.tf',
    'referenced_security_group_id = aws_security_group.load_balancer.id',
    'cidr_ipv4 = "0.0.0.0/0"',
    'open-ingress',
  ],
  [
    'terraform/network-acls.tf',
    'subnet_ids = aws_subnet.database[*].id',
    'subnet_ids = []',
    'network-acl',
  ],
  ['terraform/waf.tf', 'AWSManagedRulesSQLiRuleSet', 'AWSManagedRulesUnixRuleSet', 'waf'],
  ['terraform/edge.tf', '"redirect-to-https"', '"allow-all"', 'tls'],
  [
    'terraform/kms.tf',
    'enable_key_rotation     = true',
    'enable_key_rotation     = false',
    'rotation',
  ],
  [
    'terraform/database.tf',
    'storage_encrypted     = true',
    'storage_encrypted     = false',
    'encryption',
  ],
  [
    'terraform/database.tf',
    'transit_encryption_enabled = true',
    'transit_encryption_enabled = false',
    'encryption',
  ],
  ['terraform/database.tf', 'name  = "rds.force_ssl"', 'name  = "rds.forces_ssl"', 'tls'],
  [
    'terraform/storage.tf',
    'restrict_public_buckets = true',
    'restrict_public_buckets = false',
    'public',
  ],
  ['terraform/storage.tf', 'mode = "COMPLIANCE"', 'mode = "GOVERNANCE"', 'retention'],
  [
    'terraform/ssm.tf',
    'http_tokens                 = "required"',
    'http_tokens                 = "optional"',
    'imds',
  ],
  ['terraform/ssm.tf', '"s3:PutObject"', '"s3:*"', 'rights'],
  [
    'terraform/outputs.tf',
    'aws_db_instance.main.endpoint',
    'aws_db_instance.other.endpoint',
    'reference',
  ],
]

await t.test('the files of deploy pass their checks', async (t) => {
  t.ok(files.size > 30, 'the files were read')
  t.same(await checkDeploy(files), [])
})

await t.test('each mistake in a file is found by its rule', async (t) => {
  for (const [file, from, to, rule] of mistakes) {
    const text = files.get(file)
    t.ok(text?.includes(from), `${file} has: ${from}`)
    const broken = new Map([...files, [file, text!.replace(from, to)]])
    const rules = (await checkDeploy(broken)).map((finding) => finding.rule)
    t.ok(rules.includes(rule), `${file}: ${from} → ${to}: ${rules.join(', ')}`)
  }
})

await t.test('every file has a mistake that is found', async (t) => {
  const broken = new Set(mistakes.map(([file]) => file))
  t.same(
    [...files.keys()].filter((file) => !broken.has(file) && file !== 'README.md'),
    [],
    'add a mistake in this file to the list above',
  )
})

/** Lists the secrets that Vault Agent writes to a folder. */
const written = (folder: string): string[] =>
  [...files.get('vault/agent.hcl')!.matchAll(/destination += "\/run\/vault\/([\w/]+)"/g)]
    .map(([, path]) => path!)
    .filter((path) => path.startsWith(folder))
    .map((path) => path.slice(folder.length))
    .filter((path) => !path.includes('/'))
    .toSorted()

await t.test('Vault Agent writes every secret of the service', async (t) => {
  // The first administrator is made by hand, and Vault needs no passphrase around a key.
  const notInVault = ['ADMIN_PASSWORD', 'SIGNING_KEY_PASSPHRASE']
  const secrets = Object.entries(environment.schema.properties)
    .filter(([, variable]) => (variable as { readonly secret?: boolean }).secret === true)
    .map(([name]) => name)
  t.same(written(''), secrets.filter((name) => !notInVault.includes(name)).toSorted())
  t.same(written('migration/'), ['DATABASE_URL', ...Object.keys(keyMembers)].toSorted())
})

await t.test('a syntax error is an error', async (t) => {
  for (const [file, text] of [
    ['terraform/kms.tf', 'resource "aws_kms_key" {'],
    ['kubernetes/server.yaml', 'kind: A\nkind: B'],
    ['nginx/modern.conf', 'http { server {'],
  ] as const) {
    await t.rejects(checkDeploy(new Map([...files, [file, text]])), Error, file)
  }
})

await t.test('the README has at most 1200 words', async (t) => {
  const words = files
    .get('README.md')!
    .split(/\s+/)
    .filter((word) => word !== '')
  t.ok(words.length <= 1200, `it has ${words.length}`)
})

await t.test('bash reads the scripts', async (t) => {
  const scripts = [...files.keys()].filter((file) => file.endsWith('.sh'))
  t.ok(scripts.length >= 5)
  for (const script of scripts)
    await t.resolves(run('bash', ['-n', `${deployFolder}/${script}`]), script)
})

await t.test('shellcheck finds nothing in the scripts, where it is installed', async (t) => {
  const scripts = [...files.keys()].filter((file) => file.endsWith('.sh'))
  const args = ['--external-sources', '--source-path=SCRIPTDIR', ...scripts]
  if (findExecutable('shellcheck') === null) t.pass('', { skip: 'shellcheck is not installed' })
  else await t.resolves(run('shellcheck', args, { cwd: deployFolder }))
})

await t.test('terraform fmt and kustomize agree, where they are installed', async (t) => {
  for (const [program, args] of [
    ['terraform', ['fmt', '-check', '-recursive', `${deployFolder}/terraform`]],
    ['kubectl', ['kustomize', `${deployFolder}/kubernetes`]],
  ] as const) {
    if (findExecutable(program) === null) t.pass(program, { skip: `${program} is not installed` })
    else await t.resolves(run(program, args, { maxBuffer: 1 << 24 }), program)
  }
})

/** Makes the keys and certificates of deploy, and runs its programs. */
import { execFile } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { plainNode } from '@parapet/testing'
import { deployFolder } from '../../deploy/check/all.ts'

const execute = promisify(execFile)

interface TestScope {
  after(handler: () => Promise<void>): unknown
}

/** A folder that every user can enter, removed after the test. */
export function createOpenFolder(t: TestScope): string {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-deploy-'))
  chmodSync(folder, 0o755)
  t.after(async () => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** What prepare.sh has made. */
export interface Secrets {
  readonly folder: string
  /** The private CA, as PEM. */
  readonly ca: string
  read(name: string): string
}

/** Runs prepare.sh. @param host the name of the server. */
export async function prepareSecrets(t: TestScope, host: string): Promise<Secrets> {
  const folder = join(createOpenFolder(t), 'secrets')
  await execute(join(deployFolder, 'prepare.sh'), [folder, host])
  chmodSync(folder, 0o755)
  const read = (name: string): string => readFileSync(join(folder, name), 'utf8')
  return { folder, ca: read('ca.crt'), read }
}

/** Gives a file to the owner of another one, readable by nobody else. */
export function giveTo(file: string, like: string): void {
  const { uid, gid } = statSync(like)
  if (process.getuid?.() === 0) chownSync(file, uid, gid)
  chmodSync(file, 0o600)
}

/** The result of a program that may fail. */
export interface Finished {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program, whatever its exit code. @param env is all that it gets, beside PATH. */
export async function runProgram(
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Finished> {
  const path = [process.env['PATH'], '/usr/sbin', ...postgresFolders()].join(':')
  try {
    const { stdout, stderr } = await execute(file, args, {
      env: { PATH: path, HOME: tmpdir(), ...env },
      maxBuffer: 1 << 26,
    })
    return { code: 0, stdout, stderr }
  } catch (error) {
    const { code, stdout = '', stderr = '' } = error as Partial<Finished>
    return { code: typeof code === 'number' ? code : -1, stdout, stderr }
  }
}

/** Debian's pg_dump on PATH chooses a version by itself; other systems have the programs in a folder. */
function postgresFolders(): string[] {
  return ['/usr/pgsql/bin', '/opt/homebrew/opt/libpq/bin'].filter((folder) => existsSync(folder))
}

/** Makes a pair of OpenPGP keys. @returns the files with the public and the private half. */
export async function makeKey(folder: string, name: string, usage: 'encr' | 'sign') {
  const home = join(folder, `gnupg-${name}`)
  mkdirSync(home, { mode: 0o700 })
  const gpg = [
    '--homedir',
    home,
    '--batch',
    '--quiet',
    '--passphrase',
    '',
    '--pinentry-mode',
    'loopback',
  ]
  const algorithm = usage === 'encr' ? ['cv25519', 'encr'] : ['ed25519', 'sign']
  const made = await runProgram('gpg', [
    ...gpg,
    '--quick-generate-key',
    `${name} <${name}@example.com>`,
    'ed25519',
    'sign',
    '0',
  ])
  if (made.code !== 0) throw new Error(made.stderr)
  if (usage === 'encr') {
    const { stdout } = await runProgram('gpg', [...gpg, '--with-colons', '--list-keys'])
    const fingerprint = /^fpr:+([0-9A-F]{40}):/m.exec(stdout)![1]!
    await runProgram('gpg', [...gpg, '--quick-add-key', fingerprint, ...algorithm, '0'])
  }
  const [publicKey, privateKey] = [join(folder, `${name}.pub`), join(folder, `${name}.key`)]
  await runProgram('gpg', [...gpg, '--output', publicKey, '--export'])
  await runProgram('gpg', [...gpg, '--output', privateKey, '--export-secret-keys'])
  await runProgram('gpgconf', ['--homedir', home, '--kill', 'all'])
  return { publicKey, privateKey }
}

/** Writes a program that runs the verifier of the audit log, from its sources. */
export function writeVerifier(file: string): void {
  const source = import.meta.resolve('../../../../packages/audit-log/src/command/cli.ts')
  const [node, args] = plainNode([fileURLToPath(source)])
  const command = [node, ...args].map((each) => `'${each.replaceAll("'", "'\\''")}'`).join(' ')
  writeFileSync(file, `#!/bin/sh\nexec ${command} "$@"\n`, { mode: 0o755 })
}

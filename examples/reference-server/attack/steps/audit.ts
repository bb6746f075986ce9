/** An attacker with full rights on the database. */
import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { plainNode } from '@parapet/testing'
import { must, type Step } from '../step.ts'
import { tokenOf, type Target } from '../target.ts'

const require = createRequire(import.meta.url)
const manifest = '@parapet/audit-log/package.json'
const { bin } = require(manifest) as { readonly bin: Readonly<Record<string, string>> }
// The command's source, so that the attack runs without a build.
const source = bin['audit-log']!.replace('dist/', 'src/').replace(/\.js$/, '.ts')
const command = join(require.resolve(manifest), '..', source)

/** Verifies an export of the log with its public key alone, as an auditor does. @returns the exit code */
async function verify(target: Target, folder: string): Promise<number> {
  const token = await tokenOf(target, 'admin')
  const client = target.nextClient()
  const exported = await client.send('GET', '/api/v1/audit/export?proofs=true', { token })
  must(exported.status === 200, `the log could not be exported: ${exported.status}`)
  const key = await client.send('GET', '/api/v1/audit/key', { token })
  await writeFile(join(folder, 'log.ndjson'), exported.text)
  await writeFile(join(folder, 'log.pub'), key.text)
  const args = ['verify', '--export', join(folder, 'log.ndjson'), '--key', join(folder, 'log.pub')]
  const [node, given] = plainNode([command, ...args])
  return new Promise((resolve) => {
    const child = execFile(node, given, () => resolve(child.exitCode ?? 1))
  })
}

export const editedRecord: Step = {
  name: 'Edited audit record',
  tries: 'a database administrator turns a refused login in the log into a successful one',
  seenIn: 'console › audit trail: the badge "verified" turns into "tampered"',
  needsDatabase: true,
  async run(target) {
    const folder = await mkdtemp(join(tmpdir(), 'parapet-audit-'))
    try {
      must((await verify(target, folder)) === 0, 'the log is not valid before the attack')
      const edit = `UPDATE audit_log_events SET result = 'success',
        leaf = replace(leaf, '"result":"failure"', '"result":"success"')
        WHERE index = (SELECT max(index) FROM audit_log_events WHERE result = 'failure')`
      const { rowCount } = await target.sql!.query(edit)
      must(rowCount === 1, 'there is no record to edit')
      const code = await verify(target, folder)
      must(code === 1, `the verifier ended with ${code} instead of 1`)
      return 'the verifier names the record: tampered'
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
}

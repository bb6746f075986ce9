/** The keys of a server on its own database. */
import { readFile, stat, writeFile } from 'node:fs/promises'
import t from 'tap'
import { readConfig } from '../src/config.ts'
import { withKeptKeys } from '../src/kept-keys.ts'

await t.test('keys are made once, for this user alone, and found again', async (t) => {
  const DATA_DIR = t.testdir()
  const made = await withKeptKeys(readConfig({ DATA_DIR }))
  t.match(made, { fieldKeyset: /^\{/, mfaKeys: /^\d+:/, auditDir: `${DATA_DIR}/audit` })
  t.equal((await stat(`${DATA_DIR}/keys.json`)).mode & 0o777, 0o600)
  t.same(await withKeptKeys(readConfig({ DATA_DIR })), made)
  const other = await withKeptKeys(readConfig({ DATA_DIR: t.testdir({ other: {} }) }))
  t.not(other.mfaKeys, made.mfaKeys)
})

await t.test('what the environment says goes first', async (t) => {
  const DATA_DIR = t.testdir()
  const { mfaKeys, fieldKeyset } = await withKeptKeys(readConfig({ DATA_DIR }))
  const MFA_KEYS = `7:${'A'.repeat(43)}`
  const own = await withKeptKeys(readConfig({ DATA_DIR, MFA_KEYS, AUDIT_DIR: '/srv/audit' }))
  t.match(own, { mfaKeys: MFA_KEYS, auditDir: '/srv/audit', fieldKeyset })
  t.equal((await withKeptKeys(readConfig({ DATA_DIR }))).mfaKeys, mfaKeys, 'and changes nothing')
})

await t.test('a damaged file stops the start and is left as it is', async (t) => {
  const DATA_DIR = t.testdir()
  const file = `${DATA_DIR}/keys.json`
  const read = () => withKeptKeys(readConfig({ DATA_DIR }))
  await writeFile(file, '{"MFA_KEYS":"hunter2')
  await t.rejects(read(), { code: 'PARAPET_REFERENCE_KEYS_UNREADABLE', message: file })
  await writeFile(file, '{"MFA_KEYS":"hunter2"}')
  await t.rejects(read(), {
    code: 'PARAPET_REFERENCE_INVALID_ENVIRONMENT',
    message: /^(?!.*hunter2).*MFA_KEYS/s,
  })
  t.equal(await readFile(file, 'utf8'), '{"MFA_KEYS":"hunter2"}')
})

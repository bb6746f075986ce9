/** The saved keys of a server with an embedded database. */
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import t from 'tap'
import { readConfig } from '../src/config/environment.ts'
import { withSavedKeys } from '../src/config/saved-keys.ts'

await t.test(
  'keys are generated once, readable by this user only, and read at the next start',
  async (t) => {
    const DATA_DIR = t.testdir()
    const made = await withSavedKeys(readConfig({ DATA_DIR }))
    t.match(made, { fieldKeyset: /^\{/, mfaKeys: /^\d+:/, auditDir: `${DATA_DIR}/audit` })
    t.equal((await stat(`${DATA_DIR}/keys.json`)).mode & 0o777, 0o600)
    t.same(await withSavedKeys(readConfig({ DATA_DIR })), made)
    const other = await withSavedKeys(readConfig({ DATA_DIR: t.testdir({ other: {} }) }))
    t.not(other.mfaKeys, made.mfaKeys)
  },
)

await t.test('the environment takes precedence over the saved keys', async (t) => {
  const DATA_DIR = t.testdir()
  const { mfaKeys, fieldKeyset } = await withSavedKeys(readConfig({ DATA_DIR }))
  const MFA_KEYS = `7:${'A'.repeat(43)}`
  const own = await withSavedKeys(readConfig({ DATA_DIR, MFA_KEYS, AUDIT_DIR: '/srv/audit' }))
  t.match(own, { mfaKeys: MFA_KEYS, auditDir: '/srv/audit', fieldKeyset })
  t.equal(
    (await withSavedKeys(readConfig({ DATA_DIR }))).mfaKeys,
    mfaKeys,
    'the saved keys are unchanged',
  )
})

await t.test('a file of an older version gets the keys that it lacks', async (t) => {
  const DATA_DIR = t.testdir()
  const MFA_KEYS = `7:${'A'.repeat(43)}`
  await writeFile(`${DATA_DIR}/keys.json`, JSON.stringify({ MFA_KEYS }))
  const made = await withSavedKeys(readConfig({ DATA_DIR }))
  t.match(made, { mfaKeys: MFA_KEYS, privacyKeys: /^\d+:/, privacySecret: /^[\w-]{43}$/ })
  t.match(made.sessionSecrets, [/^[\w-]{43}$/])
  t.equal(made.privacyLedgerDir, `${DATA_DIR}/ledger`)
  t.same(await withSavedKeys(readConfig({ DATA_DIR })), made)
})

await t.test('a lost key file stops the start, unless the environment has all keys', async (t) => {
  const DATA_DIR = t.testdir({ audit: {} })
  const read = (env = {}) => withSavedKeys(readConfig({ DATA_DIR, ...env }))
  await t.rejects(read(), { code: 'PARAPET_REFERENCE_KEYS_UNREADABLE' })
  t.same(await readdir(DATA_DIR), ['audit'], 'no new keys')
  const other = t.testdir({ other: {} })
  await withSavedKeys(readConfig({ DATA_DIR: other }))
  const keys = JSON.parse(await readFile(`${other}/keys.json`, 'utf8')) as object
  await t.resolves(read(keys))
})

await t.test('a damaged key file stops the start and is not replaced', async (t) => {
  const DATA_DIR = t.testdir()
  const file = `${DATA_DIR}/keys.json`
  const read = () => withSavedKeys(readConfig({ DATA_DIR }))
  await writeFile(file, '{"MFA_KEYS":"hunter2')
  await t.rejects(read(), { code: 'PARAPET_REFERENCE_KEYS_UNREADABLE', message: file })
  t.equal(await readFile(file, 'utf8'), '{"MFA_KEYS":"hunter2')
  await writeFile(file, '{"MFA_KEYS":"hunter2"}')
  await t.rejects(read(), {
    code: 'PARAPET_SECRETS_INVALID_ENVIRONMENT',
    message: /^(?!.*hunter2).*MFA_KEYS/s,
  })
  t.equal(await readFile(file, 'utf8'), '{"MFA_KEYS":"hunter2"}')
})

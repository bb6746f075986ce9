import { exportKeyset, generateKeyset, lockKeyset, parseKeyset } from '@parapet/field-encryption'
import t from 'tap'
import { decodeKeyset, encodeKeyset } from '../src/crypto/keyset-protobuf.ts'
import { decodeBase64, hasDuplicateNames } from '../src/crypto/strict-json.ts'
import { unlockKeyset } from '../src/providers/passphrase.ts'
import { code } from './fixtures.ts'

const refused = code('INVALID_KEYSET')
const json = exportKeyset(generateKeyset())

await t.test('a keyset that two readers may read differently is refused', async (t) => {
  t.doesNotThrow(() => parseKeyset(json))
  const cases: Record<string, string> = {
    'two lists of keys': json.replace('"key":', '"key":[],"key":'),
    'two primary ids': json.replace('"primaryKeyId":', '"primaryKeyId":1,"primaryKeyId":'),
    'the same name, escaped': json.replace(
      '"primaryKeyId":',
      '"primary\\u004beyId":1,"primaryKeyId":',
    ),
    'two statuses of a key': json.replace('"status":', '"status":"DISABLED","status":'),
    'no material type': json.replace(',"keyMaterialType":"SYMMETRIC"', ''),
    'remote material': json.replace('SYMMETRIC', 'REMOTE'),
    'a public key': json.replace('SYMMETRIC', 'ASYMMETRIC_PUBLIC'),
    'white space in base64': json.replace('"value":"', '"value":"\\n'),
    'foreign characters in base64': json.replace('"value":"', '"value":"!*'),
    base64url: json.replace(/"value":"[^"]+"/, '"value":"GiD_-w"'),
    'no padding': json.replace(/=+","keyMaterialType/, '","keyMaterialType'),
  }
  for (const [name, text] of Object.entries(cases)) {
    if (name === 'no padding' && text === json) continue
    t.not(text, json, name)
    t.throws(() => parseKeyset(text), refused, name)
  }
})

await t.test('names are compared within their object only', (t) => {
  const single = ['{}', '{"a":{"a":1},"b":[{"a":1},{"a":2}]}', '{"a":"b","b":"a:{"}', '"a"', '[]']
  for (const text of single) t.equal(hasDuplicateNames(text), false, text)
  for (const text of ['{"a":1,"a":2}', '[{"b":{"a":{},"c":[],"a":1}}]', '{"a\\"":1,"a\\"":1}']) {
    t.equal(hasDuplicateNames(text), true, text)
  }
  for (const text of ['AA=', 'AB==', 'A', '====', 'AA ==', 'AA==\n']) {
    t.equal(decodeBase64(text), undefined, JSON.stringify(text))
  }
  t.same(decodeBase64('AAE='), Buffer.from([0, 1]))
  t.end()
})

await t.test('locked and binary keysets are read as strictly', async (t) => {
  const passphrase = 'correct horse battery staple'
  const locked = await lockKeyset(json, passphrase)
  t.equal(exportKeyset(await unlockKeyset(locked, passphrase)), json)
  const doubled = locked.replace('"kdf":', '"kdf":{},"kdf":')
  await t.rejects(unlockKeyset(doubled, passphrase), refused)
  const spaced = locked.replace('"encryptedKeyset":"', '"encryptedKeyset":" ')
  await t.rejects(unlockKeyset(spaced, passphrase), refused)
  const bytes = encodeKeyset(parseKeyset(json))
  const material = bytes.indexOf(Buffer.from([0x18, 0x01, 0x10, 0x01]))
  t.ok(material > 0)
  bytes[material + 1] = 4
  t.throws(() => decodeKeyset(bytes), refused, 'remote material')
})

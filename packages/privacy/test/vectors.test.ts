import { readFileSync } from 'node:fs'
import { verifyReceipt, type PrivacyReceipt, type ReceiptKey } from '@parapet/privacy'
import t from 'tap'
import { createPseudonyms } from '../src/identity/pseudonyms.ts'
import { readEntry, writeEntry, type LedgerEntry } from '../src/ledger/ledger.ts'

function read(name: string): unknown {
  const url = new URL(`../../../docs/spec/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8'))
}

await t.test('the vectors of the receipt', (t) => {
  const vectors = read('privacy-receipt') as {
    readonly key: ReceiptKey
    readonly receipt: string
    readonly content: PrivacyReceipt
    readonly refused: readonly { fault: string; receipt: string }[]
  }
  t.same(verifyReceipt(vectors.receipt, [vectors.key]), vectors.content)
  for (const { fault, receipt } of vectors.refused) {
    t.equal(verifyReceipt(receipt, [vectors.key]), null, fault)
  }
  t.equal(verifyReceipt(vectors.receipt, []), null)
  t.equal(verifyReceipt(7 as never, [vectors.key]), null)
  t.equal(verifyReceipt(vectors.receipt, [{ ...vectors.key, crv: 'X25519' }]), null)
  t.end()
})

await t.test('the vectors of the ledger', (t) => {
  const vectors = read('erasure-ledger') as {
    readonly secret: string
    readonly subject: string
    readonly entry: LedgerEntry
    readonly line: string
    readonly refused: readonly { fault: string; line: string }[]
  }
  const pseudonyms = createPseudonyms(Buffer.from(vectors.secret, 'base64url'))
  t.equal(pseudonyms.referenceOf(vectors.subject), vectors.entry.reference)
  t.equal(writeEntry(vectors.entry, pseudonyms), vectors.line)
  t.same(readEntry(vectors.line, pseudonyms), vectors.entry)
  for (const { fault, line } of vectors.refused) {
    t.throws(() => readEntry(line, pseudonyms), { code: 'PARAPET_PRIVACY_LEDGER_DAMAGED' }, fault)
  }
  t.end()
})

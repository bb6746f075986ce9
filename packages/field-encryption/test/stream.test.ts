import { createSecretKey, randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { readVectors, runs } from '@parapet/testing'
import t from 'tap'
import {
  headerBytes,
  plainSize,
  sealedSize,
  type StreamParameters,
} from '../src/files/stream-layout.ts'
import { openStream, sealStream } from '../src/files/stream.ts'
import { collect, none, openFailed, type TinkVectors } from './fixtures.ts'

/** Cuts bytes into pieces of different lengths. */
function pieces(bytes: Buffer, sizes = [1, 7, 64, 3]): Readable {
  const cut: Buffer[] = []
  for (let at = 0, i = 0; at < bytes.length; at += sizes[i++ % sizes.length]!) {
    cut.push(bytes.subarray(at, at + sizes[i % sizes.length]!))
  }
  return Readable.from(cut)
}

const small: StreamParameters = { hash: 'sha256', derivedKeyBytes: 32, segmentBytes: 128 }

await t.test("Tink's AES-GCM-HKDF streams open, and damaged ones are refused", async (t) => {
  const file = readVectors<TinkVectors>(t, 'crypto/tink-vectors.json')
  if (file === null) return
  t.equal(file.aesGcmHkdfStreaming.length, 8)
  for (const vector of file.aesGcmHkdfStreaming) {
    const key = createSecretKey(Buffer.from(vector.key, 'hex'))
    const aad = Buffer.from(vector.aad, 'hex')
    const sealed = Buffer.from(vector.ciphertext, 'hex')
    const parameters = {
      hash: vector.hkdf.toLowerCase() as 'sha1' | 'sha256',
      derivedKeyBytes: vector.derivedKeySize,
      segmentBytes: vector.segmentSize,
    }
    const open = (bytes: Buffer) =>
      collect(openStream(Readable.from([bytes]), key, aad, parameters))
    t.equal((await open(sealed)).toString(), vector.plaintextUtf8, `vector ${vector.id}`)
    t.equal(plainSize(sealed.length, parameters), Buffer.byteLength(vector.plaintextUtf8))
    const again = await collect(
      sealStream(Readable.from([Buffer.from(vector.plaintextUtf8)]), key, aad, parameters),
    )
    t.equal(again.length, sealed.length)
    t.equal((await open(again)).toString(), vector.plaintextUtf8)
    for (const cut of [0, 1, headerBytes(parameters), sealed.length - 1]) {
      await t.rejects(open(sealed.subarray(0, cut)), openFailed, `cut to ${cut}`)
    }
    await t.rejects(open(Buffer.concat([sealed, Buffer.alloc(16)])), openFailed, 'extended')
  }
})

await t.test('a stream of any length opens again, whatever the size of its pieces', async (t) => {
  const key = createSecretKey(randomBytes(32))
  for (let length = 0; length < runs(300, 2000); length++) {
    const plain = randomBytes(length)
    const sealed = await collect(sealStream(pieces(plain), key, none, small))
    if (sealed.length !== sealedSize(length, small)) t.fail(`${length}: sealed size`)
    if (plainSize(sealed.length, small) !== length) t.fail(`${length}: plain size`)
    const opened = await collect(openStream(pieces(sealed), key, none, small))
    if (!opened.equals(plain)) t.fail(`${length}: the plaintext differs`)
  }
  t.pass('all lengths opened again')
  t.equal(plainSize(55, small), undefined, 'shorter than a header and a tag')
})

await t.test('single bytes from a slow client are joined to larger pieces', async (t) => {
  const key = createSecretKey(randomBytes(32))
  const plain = randomBytes(70_000)
  const parameters = { ...small, segmentBytes: 65_536 }
  const crumbs = Array.from(plain, (_, at) => plain.subarray(at, at + 1))
  let count = 0
  const counted = async function* (source: AsyncIterable<Buffer>) {
    for await (const piece of source) {
      count++
      yield piece
    }
  }
  const sealed = await collect(counted(sealStream(Readable.from(crumbs), key, none, parameters)))
  t.ok(count < 70_000 / 256 + 2 * 256 + 8, `${count} pieces`)
  const opened = await collect(openStream(Readable.from([sealed]), key, none, parameters))
  t.ok(opened.equals(plain))
})

await t.test('a damaged segment is refused before any of its bytes is emitted', async (t) => {
  const key = createSecretKey(randomBytes(32))
  const plain = randomBytes(400)
  const sealed = await collect(sealStream(Readable.from([plain]), key, none, small))
  const segments = Array.from({ length: Math.ceil(sealed.length / 128) }, (_, index) =>
    sealed.subarray(index * 128, (index + 1) * 128),
  )
  t.ok(segments.length >= 4)
  const [first, second, third, ...rest] = segments as [Buffer, Buffer, Buffer, ...Buffer[]]
  const flipped = Buffer.from(third)
  flipped[5]! ^= 1
  const damaged: Record<string, [bytes: Buffer[], mayLeave: number]> = {
    reordered: [[first, third, second, ...rest], 128 - 40 - 16],
    dropped: [[first, third, ...rest], 128 - 40 - 16],
    repeated: [[first, second, second, third, ...rest], 2 * 128 - 40 - 32],
    'cut at a segment': [[first, second], 128 - 40 - 16],
    flipped: [[first, second, flipped, ...rest], 2 * 128 - 40 - 32],
    extended: [[...segments, Buffer.alloc(128)], 3 * 128 - 40 - 48 + 112],
  }
  for (const [name, [bytes, mayLeave]] of Object.entries(damaged)) {
    let left = 0
    await t.rejects(
      async () => {
        for await (const piece of openStream(Readable.from(bytes), key, none, small)) {
          t.ok(
            plain.subarray(left, left + piece.length).equals(piece),
            `${name}: every emitted byte is correct`,
          )
          left += piece.length
        }
      },
      openFailed,
      name,
    )
    t.ok(left <= mayLeave, `${name}: ${left} bytes emitted, at most ${mayLeave} expected`)
  }
  await t.rejects(
    collect(openStream(Readable.from([sealed]), key, Buffer.from('x'), small)),
    openFailed,
    'another context',
  )
})

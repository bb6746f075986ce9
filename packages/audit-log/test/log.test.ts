import { createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { readVectors, runs } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { CompactRange } from '../src/log/compact-range.ts'
import { formatCheckpoint, parseCheckpoint } from '../src/log/checkpoint.ts'
import {
  consistencyProof,
  inclusionProof,
  verifyConsistency,
  verifyInclusion,
} from '../src/log/merkle-proofs.ts'
import { leafHash, leafHashBinary } from '../src/log/merkle-tree.ts'
import {
  createNoteKey,
  formatVerifierKey,
  openNote,
  parseVerifierKey,
  signNote,
} from '../src/log/signed-note.ts'
import { createSigner } from '../src/log/signing-key.ts'
import {
  decodeBundle,
  encodeBundle,
  parseTilePath,
  subtreesOf,
  tilePath,
} from '../src/log/tiles.ts'
import { TreeEdge } from '../src/log/tree-edge.ts'
import { canonicalize, decodeText, encodeText, toJson } from '../src/record/canonical-json.ts'
import { decodeFrame } from '../src/wal/frames.ts'
import { useFolder } from './support.ts'

interface ProofCase {
  readonly name: string
  readonly wantErr: boolean
  readonly proof: readonly string[] | null
}
interface ProofVectors {
  readonly inclusion: readonly (ProofCase & {
    readonly leafIdx: number
    readonly treeSize: number
    readonly root: string
    readonly leafHash: string
  })[]
  readonly consistency: readonly (ProofCase & {
    readonly size1: number
    readonly size2: number
    readonly root1: string
    readonly root2: string
  })[]
}

const bytes = (text: string | undefined | null) => Buffer.from(text ?? '', 'base64')

await t.test('canonical JSON matches the vectors of RFC 8785', async (t) => {
  const vectors = readVectors<{ cases: { name: string; input: string; output: string }[] }>(
    t,
    'audit/jcs.json',
  )
  for (const { name, input, output } of vectors?.cases ?? []) {
    t.equal(canonicalize(toJson(JSON.parse(input))), output, name)
  }
  t.throws(() => canonicalize('\ud800'), TypeError)
  t.throws(() => canonicalize(Number.NaN), TypeError)
  t.equal(canonicalize(-0), '0')
})

await t.test('any value converts to JSON, and text is restored exactly', async (t) => {
  fc.assert(
    fc.property(
      fc.anything({ withDate: true, withMap: true, withSet: true, withBigInt: true }),
      (value) => {
        JSON.parse(canonicalize(toJson(value)))
      },
    ),
    { numRuns: runs(300, 20_000) },
  )
  const anyText = fc
    .array(fc.integer({ min: 0, max: 0xffff }))
    .map((units) => String.fromCharCode(...units))
  fc.assert(
    fc.property(anyText, (text) => {
      const encoded = encodeText(text)
      return encoded.isWellFormed() && decodeText(encoded) === text
    }),
  )
  t.equal(decodeText(encodeText('$utf16:AAA')), '$utf16:AAA', 'text with the prefix is encoded too')
  const cycle: Record<string, unknown> = { list: [] }
  cycle['self'] = cycle
  t.same(JSON.parse(canonicalize(toJson(cycle))), { list: [], self: '[circular]' })
  t.same(
    toJson({
      get bad() {
        throw new Error('no')
      },
    }),
    { bad: '[unreadable]' },
  )
})

await t.test('proofs are accepted and refused as the published vectors say', async (t) => {
  const vectors = readVectors<ProofVectors>(t, 'audit/merkle-proofs.json')
  if (vectors === null) return
  let checked = 0
  for (const c of vectors.inclusion) {
    const proof = (c.proof ?? []).map(bytes)
    const holds = verifyInclusion(bytes(c.leafHash), c.leafIdx, c.treeSize, proof, bytes(c.root))
    if (holds === c.wantErr) t.fail(c.name)
    checked++
  }
  for (const c of vectors.consistency) {
    const proof = (c.proof ?? []).map(bytes)
    const holds = verifyConsistency(c.size1, c.size2, bytes(c.root1), bytes(c.root2), proof)
    if (holds === c.wantErr) t.fail(c.name)
    checked++
  }
  t.equal(checked, 196)
})

await t.test('every proof of the log verifies, and proofs for other indexes do not', async (t) => {
  const edge = new TreeEdge()
  const range = new CompactRange()
  const tiles = new Map<string, Buffer>()
  const size = runs(600, 70_000)
  const steps = size > 1000 ? [1, 255, 256, 257, 25_900, 65_535, 65_536, 65_537, size] : []
  const kept = new Map<number, Buffer>()
  for (let i = 0; i < size; i++) {
    for (const tile of edge.append([`leaf ${i}`]))
      tiles.set(`${tile.level}/${tile.index}`, tile.hashes)
    range.append(leafHashBinary(`leaf ${i}`))
    if (steps.length > 0 && !steps.includes(i + 1)) continue
    kept.set(i + 1, edge.root())
    if (!range.root().equals(edge.root()))
      t.fail(`the roots of TreeEdge and CompactRange differ at size ${i + 1}`)
  }
  let checked = 0
  const sizes = steps.length > 0 ? steps : [1, 2, 3, 255, 256, 257, 300, 511, 512, 513, 600]
  for (const at of sizes) {
    const read = subtreesOf(async (level, index) => tiles.get(`${level}/${index}`)!, at)
    for (const index of [0, 1, 127, 255, 256, 299, at - 1].filter((i) => i < at)) {
      const leaf = leafHash(Buffer.from(`leaf ${index}`))
      const proof = await inclusionProof(read, index, at)
      t.ok(verifyInclusion(leaf, index, at, proof, kept.get(at)!), `${index} in ${at}`)
      t.notOk(verifyInclusion(leaf, index + 1, at, proof, kept.get(at)!), `${index + 1} is not`)
      checked++
    }
    for (const old of sizes.filter((other) => other <= at)) {
      const proof = await consistencyProof(read, old, at)
      t.ok(verifyConsistency(old, at, kept.get(old)!, kept.get(at)!, proof), `${old} to ${at}`)
    }
  }
  t.ok(checked > 20)
})

await t.test('notes are parsed strictly, and only trusted signatures are accepted', async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  const key = createNoteKey('example.org/log', publicKey)
  const text = formatCheckpoint({ origin: 'example.org/log', size: 7, root: Buffer.alloc(32, 5) })
  const note = await signNote(text, key, (body) => sign(null, body, privateKey))
  t.same(openNote(note, [key]), { text })
  t.match(parseCheckpoint(text), { origin: 'example.org/log', size: 7 })
  t.equal(openNote(note, []), 'unsigned')
  const parsed = parseVerifierKey(formatVerifierKey(key))
  t.match(parsed, { name: key.name, id: key.id })
  t.same(openNote(note, [parsed!]), { text })
  const raw = Buffer.from(note)
  let trusted = 0
  for (let at = 0; at < raw.length; at++) {
    const mangled = Buffer.from(raw)
    mangled[at]! ^= 1
    if (typeof openNote(mangled.toString(), [key]) === 'object') trusted++
    if (typeof openNote(raw.subarray(0, at).toString(), [key]) === 'object') trusted++
  }
  t.equal(trusted, 0, 'no changed byte and no truncated note is trusted')
  for (const bad of [
    '',
    'x',
    'a+00000000+AAAA',
    formatVerifierKey(key).replace('+', '+0'),
    'a b+1+',
  ]) {
    t.equal(parseVerifierKey(bad), undefined, bad)
  }
  for (const bad of ['', 'o\n1\n', 'o\n01\nAAAA\n', `o\n1\n${'A'.repeat(43)}\n`, 'o\n-1\nAA==\n']) {
    t.equal(parseCheckpoint(bad), undefined, JSON.stringify(bad))
  }
})

await t.test(
  'the signing key can be a PEM (encrypted or not), a KeyObject or a remote signer',
  async (t) => {
    const folder = useFolder(t)
    const { privateKey, publicKey } = generateKeyPairSync('ed25519')
    const plain = privateKey.export({ format: 'pem', type: 'pkcs8' }) as string
    const locked = privateKey.export({
      format: 'pem',
      type: 'pkcs8',
      cipher: 'aes-256-cbc',
      passphrase: 'open',
    }) as string
    const file = join(folder, 'key.pem')
    writeFileSync(file, locked, { mode: 0o600 })
    const port = { publicKey, sign: async (body: Uint8Array) => sign(null, body, privateKey) }
    for (const source of [{ pem: plain }, { file, passphrase: 'open' }, privateKey, port]) {
      const signer = await createSigner('o', source)
      const note = await signNote('text\n', signer.key, signer.sign)
      t.same(openNote(note, [createNoteKey('o', createPublicKey(privateKey))]), { text: 'text\n' })
    }
    const open = join(folder, 'open.pem')
    writeFileSync(open, plain, { mode: 0o644 })
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
    const refused = [
      { file: open },
      { file: join(folder, 'none') },
      { file, passphrase: 'wrong' },
      { pem: 'no' },
      {},
      ec,
      publicKey,
    ]
    for (const source of refused) {
      await t.rejects(createSigner('o', source), {
        code: 'PARAPET_AUDIT_LOG_KEY_UNUSABLE',
        statusCode: 500,
      })
    }
    const invalid = await createSigner('o', { publicKey, sign: async () => new Uint8Array(3) })
    await t.rejects(invalid.sign(Buffer.from('x')), {
      code: 'PARAPET_AUDIT_LOG_KEY_UNUSABLE',
      statusCode: 500,
    })
  },
)

await t.test('tile paths and bundles are parsed strictly', async (t) => {
  t.equal(tilePath(0, 0, 256), 'tile/0/000')
  t.equal(tilePath('entries', 1_234_067, 8), 'tile/entries/x001/x234/067.p/8')
  for (const index of [0, 5, 999, 1000, 1001, 1_234_567, 999_999_999]) {
    t.same(parseTilePath(tilePath(2, index, 256)), { level: 2, index, width: 256 })
  }
  for (const bad of [
    'tile/0/0',
    'tile/00/000',
    'tile/0/x000/001',
    'tile/0/001.p/256',
    'tile/0/001.p/0',
    'tile/64/000',
    'tile/0/../0',
    'tile/0/x01/001',
  ]) {
    t.equal(parseTilePath(bad), undefined, bad)
  }
  const leaves = ['', 'a', 'ü'.repeat(300)]
  t.same(decodeBundle(encodeBundle(leaves)), leaves)
  t.equal(decodeBundle(encodeBundle(leaves).subarray(0, -1)), undefined)
  t.equal(decodeBundle(Buffer.of(0)), undefined)
})

await t.test(
  'the vectors of the specification are accepted and refused as documented',
  async (t) => {
    const file = new URL('../../../docs/spec/vectors/audit-log.json', import.meta.url)
    const vectors = JSON.parse(readFileSync(file, 'utf8')) as {
      entries: string[]
      leafHashes: string[]
      root: string
      verifierKey: string
      note: string
      refusedNotes: { why: string; note: string }[]
      frame: string
      refusedFrames: { why: string; frame: string }[]
    }
    const edge = new TreeEdge()
    edge.append(vectors.entries)
    t.equal(edge.root().toString('hex'), vectors.root)
    for (const [at, entry] of vectors.entries.entries()) {
      t.equal(leafHash(Buffer.from(entry)).toString('hex'), vectors.leafHashes[at])
      t.equal(canonicalize(toJson(JSON.parse(entry))), entry)
    }
    const key = parseVerifierKey(vectors.verifierKey)!
    const opened = openNote(vectors.note, [key]) as { text: string }
    t.match(parseCheckpoint(opened.text), { size: 3, root: Buffer.from(vectors.root, 'hex') })
    for (const { why, note } of vectors.refusedNotes) t.type(openNote(note, [key]), 'string', why)
    const frame = decodeFrame(Buffer.from(vectors.frame, 'hex'), 0, 'w')
    t.match(frame, { kind: 'frame', records: vectors.entries.map((leaf, seq) => ({ leaf, seq })) })
    for (const { why, frame: bad } of vectors.refusedFrames) {
      t.not(decodeFrame(Buffer.from(bad, 'hex'), 0, 'w').kind, 'frame', why)
    }
  },
)

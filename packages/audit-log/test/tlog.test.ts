/** Logs and proofs of other programs, made by the public texts only, through the command. */
import { execFile } from 'node:child_process'
import { createHash, generateKeyPairSync, randomBytes, sign } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { toTlogProof } from '@parapet/audit-log'
import { plainNode } from '@parapet/testing'
import t, { type Test } from 'tap'
import { formatTlogProof, parseTlogProof } from '../src/log/tlog-proof.ts'
import { parseWitnessKey } from '../src/log/cosignature.ts'
import { parseVerifierKey } from '../src/log/signed-note.ts'
import { folderReader } from '../src/mirror/readers.ts'
import { TileLog } from '../src/mirror/tile-log.ts'
import { verifyProof } from '../src/verify/verify-export.ts'
import { verifyLog } from '../src/verify/verify-log.ts'
import { createApp, named, useFolder } from './support.ts'
import { idOf, rawOf, startWitness, vkeyOf } from './witness-server.ts'

const CLI = new URL('../src/command/cli.ts', import.meta.url).pathname
const NAME = 'log.example/binary'
const SIZE = 600
const run = promisify(execFile)
const now = () => 0

async function cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const [file, all] = plainNode([CLI, ...args])
  return run(file, all).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

const sha256 = (...parts: Buffer[]) => createHash('sha256').update(Buffer.concat(parts)).digest()

/** @see RFC 6962, section 2.1 */
function rootOf(leaves: readonly Buffer[]): Buffer {
  if (leaves.length === 1) return leaves[0]!
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return sha256(Buffer.of(1), rootOf(leaves.slice(0, k)), rootOf(leaves.slice(k)))
}

/** @see RFC 6962, section 2.1.1 */
function pathOf(index: number, leaves: readonly Buffer[]): Buffer[] {
  if (leaves.length === 1) return []
  let k = 1
  while (k * 2 < leaves.length) k *= 2
  return index < k
    ? [...pathOf(index, leaves.slice(0, k)), rootOf(leaves.slice(k))]
    : [...pathOf(index - k, leaves.slice(k)), rootOf(leaves.slice(0, k))]
}

/** A signed checkpoint of entries that are no text, with a signature of an unknown type beside. */
function makeLog() {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const raw = rawOf(publicKey)
  const entries = Array.from({ length: SIZE }, (_, index) => randomBytes(1 + (index % 90)))
  const leaves = entries.map((entry) => sha256(Buffer.of(0), entry))
  const text = `${NAME}\n${SIZE}\n${rootOf(leaves).toString('base64')}\nan extension\n`
  const own = Buffer.concat([idOf(NAME, 1, raw), sign(null, Buffer.from(text), privateKey)])
  const lines = [
    `other.example ${randomBytes(75).toString('base64')}`,
    `${NAME} ${own.toString('base64')}`,
  ]
  const note = `${text}\n${lines.map((line) => `\u2014 ${line}\n`).join('')}`
  return { key: vkeyOf(NAME, 1, raw), entries, leaves, note }
}

const lengthOf = (entry: Buffer) => Buffer.of(entry.length >> 8, entry.length & 255)

/** @see https://c2sp.org/tlog-tiles */
function writeTiles(folder: string, entries: readonly Buffer[], leaves: readonly Buffer[]): void {
  const put = (path: string, bytes: Buffer) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), bytes)
  }
  const tiles = [0, 1, 2].map((tile) => leaves.slice(tile * 256, tile * 256 + 256))
  tiles.forEach((tile, at) => {
    const name = `${String(at).padStart(3, '0')}${tile.length < 256 ? `.p/${tile.length}` : ''}`
    put(`tile/0/${name}`, Buffer.concat(tile))
    const bundle = entries.slice(at * 256, at * 256 + 256)
    put(`tile/entries/${name}`, Buffer.concat(bundle.flatMap((entry) => [lengthOf(entry), entry])))
  })
  put('tile/1/000.p/2', Buffer.concat(tiles.slice(0, 2).map(rootOf)))
}

async function cosign(t: Test, key: string, note: string) {
  const witness = await startWitness(t, () => key)
  const body = `old 0\n\n${note}`
  const answer = await fetch(`${witness.url}/add-checkpoint`, { method: 'POST', body })
  return { witness, cosigned: note + (await answer.text()) }
}

await t.test('a tiled log of another program is verified, in a folder and over HTTP', async (t) => {
  const { key, entries, leaves, note } = makeLog()
  const { witness, cosigned } = await cosign(t, key, note)
  const folder = useFolder(t)
  writeTiles(folder, entries, leaves)
  writeFileSync(join(folder, 'checkpoint'), cosigned)
  const keys = ['--key', key, '--witness', witness.key, '--foreign']
  const sound = await cli('verify', '--directory', folder, ...keys)
  t.equal(sound.code, 0, sound.stdout + sound.stderr)
  t.match(sound.stdout, /600 hashed[^]*witness\.example\/w1 cosigned 600 entries/)
  const server = createServer((request, response) => {
    try {
      response.end(readFileSync(join(folder, request.url!.slice(1))))
    } catch {
      response.writeHead(404).end()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  t.after(() => server.close())
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const asked = ['--witness-url', witness.url]
  const served = await cli('verify', '--url', url, ...keys, ...asked)
  t.equal(served.code, 0, served.stdout + served.stderr)
  const bundle = readFileSync(join(folder, 'tile/entries/001'))
  bundle[bundle.length - 1]! ^= 1
  writeFileSync(join(folder, 'tile/entries/001'), bundle)
  const again = () =>
    verifyLog({
      store: new TileLog(folderReader(folder), 'latin1'),
      keys: [parseVerifierKey(key)!],
      witnesses: [parseWitnessKey(witness.key)!],
      isForeign: true,
      now: () => 0,
    })
  t.same(named(await again()), ['edited 511'])
  bundle[bundle.length - 1]! ^= 1
  writeFileSync(join(folder, 'tile/entries/001'), bundle)
  writeFileSync(join(folder, 'checkpoint'), note)
  t.same(named(await again()), ['witness'], 'it is not cosigned')
})

await t.test('a proof of another program is verified with its entry', async (t) => {
  const { key, entries, leaves, note } = makeLog()
  const { witness, cosigned } = await cosign(t, key, note)
  const folder = useFolder(t)
  const [proof, entry] = [join(folder, 'a.tlog-proof'), join(folder, 'entry')]
  const hashes = pathOf(577, leaves).map((hash) => `${hash.toString('base64')}\n`)
  const text = `c2sp.org/tlog-proof@v1\nindex 577\n${hashes.join('')}\n${cosigned}`
  writeFileSync(proof, text)
  writeFileSync(entry, entries[577]!)
  const args = ['verify', '--proof', proof, '--key', key, '--witness', witness.key]
  const sound = await cli(...args, '--entry', entry)
  t.equal(sound.code, 0, sound.stdout + sound.stderr)
  const check = (bytes?: Buffer) =>
    named(verifyProof(text, [parseVerifierKey(key)!], now, [], bytes))
  t.same(check(entries[577]), [])
  t.same(check(), ['malformed'], 'the proof has no entry')
  t.same(check(entries[576]), ['edited 577'], 'another entry')
  t.same(formatTlogProof(parseTlogProof(text)!), text)
})

await t.test('an own proof needs the key of the log and of the witness only', async (t) => {
  let verifierKey = ''
  const witness = await startWitness(t, () => verifierKey)
  const { url, key } = witness
  const app = await createApp(t, { witness: { url, key }, alerts: [] })
  ;({ verifierKey } = app.audit)
  const { id } = await app.audit.record('thing.act', { resourceId: 'straße' })
  await app.audit.flush()
  witness.close()
  await app.audit.record('thing.act', {})
  await app.audit.flush()
  const proof = join(app.folder, 'record.tlog-proof')
  const text = toTlogProof(await app.audit.prove(id))
  writeFileSync(proof, text)
  const args = ['verify', '--proof', proof, '--key', verifierKey]
  const sound = await cli(...args, '--witness', key, '--json')
  t.equal(sound.code, 0, sound.stdout + sound.stderr)
  t.match(JSON.parse(sound.stdout), { entries: 1, witnesses: [{ name: 'witness.example/w1' }] })
  const cut = text.replace(`${text.split('\n').at(-2)!}\n`, '')
  const keys = [parseVerifierKey(verifierKey)!]
  t.same(named(verifyProof(cut, keys, now)), [])
  t.same(named(verifyProof(cut, keys, now, [parseWitnessKey(key)!])), ['witness'])
})

await t.test('a malformed proof is refused', (t) => {
  const hash = Buffer.alloc(32).toString('base64')
  const sound = `c2sp.org/tlog-proof@v1\nextra AAAA\nindex 5\n${hash}\n\nlog\n5\nx\n\n\u2014 a b\n`
  t.match(parseTlogProof(sound), { index: 5, proof: [hash] })
  t.match(parseTlogProof(sound.replace(`\n${hash}`, '')), { proof: [] })
  const broken: [from: string, to: string][] = [
    ['@v1', '@v2'],
    ['index 5', 'index 05'],
    ['index 5', 'index -1'],
    ['index 5', 'index 9007199254740993'],
    ['index 5', 'index 5 '],
    ['index 5\n', ''],
    ['extra AAAA', 'extra AAA'],
    ['extra', 'Extra'],
    [hash, hash.slice(4)],
    [hash, `${hash}\r`],
    [hash, Array.from({ length: 65 }, () => hash).join('\n')],
    ['\n\nlog', '\nlog'],
  ]
  for (const [from, to] of broken) t.equal(parseTlogProof(sound.replace(from, to)), undefined, to)
  t.end()
})

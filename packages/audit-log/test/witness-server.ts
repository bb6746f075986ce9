/**
 * A witness over HTTP, written from the public texts only (C2SP tlog-witness, tlog-cosignature,
 * signed-note and RFC 6962): it shares no code with the package.
 */
import { createHash, generateKeyPairSync, sign, verify, type KeyObject } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

const sha256 = (...parts: (Buffer | string)[]) => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
const node = (left: Buffer, right: Buffer) => sha256(Buffer.of(1), left, right)

/** Ed25519 keys as 32 bytes. */
export const rawOf = (key: KeyObject) => Buffer.from(key.export({ format: 'jwk' }).x!, 'base64url')
export const idOf = (name: string, type: number, raw: Buffer) =>
  sha256(`${name}\n`, Buffer.of(type), raw).subarray(0, 4)
export const vkeyOf = (name: string, type: number, raw: Buffer) =>
  `${name}+${idOf(name, type, raw).toString('hex')}+${Buffer.concat([Buffer.of(type), raw]).toString('base64')}`

/** The roots of both trees by the proof's own recursion. @see RFC 6962, section 2.1.2 */
function roots(m: number, n: number, proof: Buffer[], oldRoot: Buffer, isWhole = true): Buffer[] {
  if (m === n) {
    if (isWhole) return [oldRoot, oldRoot]
    const hash = proof.shift()!
    return [hash, hash]
  }
  let k = 1
  while (k * 2 < n) k *= 2
  // The last hash of the proof belongs to the upper levels.
  const side = proof.pop()
  if (side === undefined) throw new Error('the proof is too short')
  if (m <= k) {
    const [old, now] = roots(m, k, proof, oldRoot, isWhole)
    return [old!, node(now!, side)]
  }
  const [old, now] = roots(m - k, n - k, proof, oldRoot, false)
  return [node(side, old!), node(side, now!)]
}

function isConsistent(m: number, n: number, proof: Buffer[], oldRoot: Buffer, newRoot: Buffer) {
  if (m === 0) return proof.length === 0
  if (m === n) return proof.length === 0 && oldRoot.equals(newRoot)
  try {
    const rest = [...proof]
    const [old, now] = roots(m, n, rest, oldRoot)
    return rest.length === 0 && old!.equals(oldRoot) && now!.equals(newRoot)
  } catch {
    return false
  }
}

interface Known {
  readonly size: number
  readonly root: Buffer
  readonly note: string
}

/** What a test sees of its witness. */
export interface TestWitness {
  readonly url: string
  /** The verifier key. */
  readonly key: string
  readonly answers: number[]
  /** What the witness cosigned last. */
  known: Known | undefined
  /** Replaces the answer of the witness. */
  answer: ((body: string) => { status: number; body: string } | 'never') | undefined
  close(): void
}

/** Starts a witness that trusts one key of one log. @param trusts a verifier key of type 0x01 */
export async function startWitness(t: Test, trusts: () => string): Promise<TestWitness> {
  const name = 'witness.example/w1'
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const raw = rawOf(publicKey)
  const cosign = (text: string) => {
    const seconds = Math.floor(Date.now() / 1000)
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(seconds))
    const signature = sign(
      null,
      Buffer.from(`cosignature/v1\ntime ${seconds}\n${text}`),
      privateKey,
    )
    const bytes = Buffer.concat([idOf(name, 4, raw), time, signature])
    return `\u2014 ${name} ${bytes.toString('base64')}\n`
  }
  const answerTo = (body: string): { status: number; body: string } => {
    const [head = '', ...rest] = body.split('\n\n')
    const note = rest.join('\n\n')
    const text = `${rest[0]}\n`
    const [origin, size, root] = text.split('\n')
    const [key] = [trusts()].map((vkey) => vkey.split('+'))
    if (origin !== key![0]) return { status: 404, body: '' }
    const encoded = Buffer.from(key!.slice(2).join('+'), 'base64').subarray(1)
    const jwk = { kty: 'OKP', crv: 'Ed25519', x: encoded.toString('base64url') }
    const isSigned = note.split('\n').some((line) => {
      const [, by, signature] = /^\u2014 (\S+) (\S+)$/.exec(line) ?? []
      const bytes = Buffer.from(signature ?? '', 'base64')
      if (by !== origin || bytes.subarray(0, 4).toString('hex') !== key![1]) return false
      return verify(null, Buffer.from(text), { key: jwk, format: 'jwk' }, bytes.subarray(4))
    })
    if (!isSigned) return { status: 403, body: '' }
    const [old, ...proof] = head.split('\n')
    const oldSize = Number(/^old (0|[1-9]\d*)$/.exec(old ?? '')?.[1] ?? NaN)
    if (!(oldSize <= Number(size)) || proof.length > 63) return { status: 400, body: '' }
    const known = witness.known ?? { size: 0, root: sha256('') }
    if (oldSize !== known.size) return { status: 409, body: `${known.size}\n` }
    const newRoot = Buffer.from(root!, 'base64')
    const hashes = proof.map((line) => Buffer.from(line, 'base64'))
    if (!isConsistent(oldSize, Number(size), hashes, known.root, newRoot)) {
      return { status: 422, body: '' }
    }
    const line = cosign(text)
    witness.known = { size: Number(size), root: newRoot, note: `${note}${line}` }
    return { status: 200, body: `\u2014 other.example AAAAAAAA\n${line}` }
  }
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { pathname } = new URL(request.url!, 'http://x')
    let body = ''
    for await (const chunk of request) body += String(chunk)
    if (request.method === 'POST' && pathname === '/w/add-checkpoint') {
      const answer = witness.answer?.(body) ?? answerTo(body)
      if (answer === 'never') return
      witness.answers.push(answer.status)
      const isSize = answer.status === 409
      response.writeHead(answer.status, isSize ? { 'content-type': 'text/x.tlog.size' } : {})
      response.end(answer.body)
      return
    }
    const origin = witness.known?.note.split('\n', 1)[0] ?? ''
    const isKnown = pathname === `/w/${sha256(origin).toString('hex')}/checkpoint`
    response.writeHead(isKnown ? 200 : 404)
    response.end(isKnown ? witness.known!.note : '')
  }
  const server = createServer((request, response) => void serve(request, response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const close = () => {
    server.closeAllConnections()
    server.close()
  }
  t.after(close)
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/w`
  const witness: TestWitness = {
    url,
    key: vkeyOf(name, 4, raw),
    answers: [],
    known: undefined,
    answer: undefined,
    close,
  }
  return witness
}

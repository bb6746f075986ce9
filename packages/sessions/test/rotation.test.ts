/** Keys change hands while requests come in. */
import { createMemoryStore } from '@parapet/kit'
import { createJwsGate, generateKey, type KeyInput } from '@parapet/sessions'
import { runs } from '@parapet/testing'
import t, { type Test } from 'tap'
import { build, key, passphrase } from './build.ts'

/** A service that is told the keys by the well-known address, and asks again for one it does not know. */
function createStranger(url: string): (token: string) => Promise<boolean> {
  let gate = createJwsGate([])
  return async (token) => {
    if (gate(token) !== null) return true
    const reply = await fetch(`${url}/.well-known/jwks.json`)
    gate = createJwsGate(((await reply.json()) as { keys: never[] }).keys)
    return gate(token) !== null
  }
}

interface Fleet {
  readonly rotate: (instance: number, keys: { current: KeyInput; next?: KeyInput }) => void
  /** Asks every way there is, with tokens of now and of before, so many times. @returns the failures */
  readonly load: (requests: number) => Promise<string[]>
}

/** Two instances that share a store and listen on loopback, and somebody who only has their keys. */
async function startFleet(t: Test): Promise<Fleet> {
  const store = createMemoryStore({ maxBytes: 2 ** 30 })
  const options = { store, prefix: '/auth' }
  const apps = [(await build(t, options)).app, (await build(t, options)).app]
  const urls = await Promise.all(apps.map((app) => app.listen({ host: '127.0.0.1', port: 0 })))
  const strangers = urls.map(createStranger)
  const tokens: string[] = []
  const failures: string[] = []
  async function request(n: number): Promise<void> {
    const maker = n % 2
    const { accessToken, refreshToken } = await apps[maker]!.sessions.start({
      id: `user-${n}`,
      roles: [],
    })
    tokens.push(accessToken)
    // Made by one instance and asked of the other, whichever of them has rotated.
    const payload = JSON.stringify({ refreshToken })
    const headers = { 'content-type': 'application/json' }
    const reply = await fetch(`${urls[1 - maker]}/auth/refresh`, {
      method: 'POST',
      headers,
      body: payload,
    })
    const { access_token: renewed } = (await reply.json()) as { access_token: string }
    const oldest = tokens[(n * 7919) % tokens.length]!
    for (const [name, token] of Object.entries({ accessToken, renewed, oldest })) {
      const authorization = `Bearer ${token}`
      for (const url of urls) {
        const reply = await fetch(`${url}/private`, { headers: { authorization } })
        // Read, or the connection stays with a reply that nobody wants.
        const text = await reply.text()
        if (reply.status !== 200) failures.push(`${name}: ${reply.status} ${text}`)
      }
      for (const believes of strangers) {
        if (!(await believes(token))) failures.push(`${name}: a stranger refused it`)
      }
    }
  }
  return {
    rotate: (instance, keys) => apps[instance]!.sessions.rotateKeys(keys),
    async load(requests) {
      let next = 0
      const caller = async (): Promise<void> => {
        while (next < requests) await request(next++)
      }
      await Promise.all(Array.from({ length: 10 }, caller))
      return failures
    },
  }
}

await t.test('a rotation on two instances under load fails no request', async (t) => {
  const fleet = await startFleet(t)
  const each = runs(10, 200)
  const algorithms = ['EdDSA', 'ES256'] as const
  let current = key
  for (const algorithm of algorithms) {
    const next = generateKey(passphrase, algorithm)
    for (const keys of [{ current, next }, { current: next }]) {
      for (const instance of [0, 1]) {
        const loaded = fleet.load(each)
        fleet.rotate(instance, keys)
        t.same(await loaded, [], `${algorithm}: instance ${instance}`)
      }
    }
    current = next
  }
  t.comment(`${each * algorithms.length * 4 * 13} requests while keys changed`)
})

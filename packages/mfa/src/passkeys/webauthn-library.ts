/** Loads the library that verifies passkeys. It takes longer to load than all the rest. */
import type * as server from '@simplewebauthn/server'
import type * as helpers from '@simplewebauthn/server/helpers'

let library: Promise<typeof server & typeof helpers> | undefined

/** The library; loaded by the first call, which is made at boot if passkeys are configured. */
export function loadWebauthn(): Promise<typeof server & typeof helpers> {
  return (library ??= load())
}

async function load(): Promise<typeof server & typeof helpers> {
  const [main, more] = await Promise.all([
    import('@simplewebauthn/server'),
    import('@simplewebauthn/server/helpers'),
  ])
  return { ...main, ...more }
}

/** Forged and malformed access tokens, by name. */
import { createPublicKey, sign, type JsonWebKey } from 'node:crypto'
import { generateKey } from '@parapet/sessions'
import { thumbprintOf } from '../src/keys/jwk.ts'
import { audience, issuer, key, passphrase } from './build.ts'
import {
  claimsAt,
  mint,
  mintHmac,
  randomName,
  respell,
  segment,
  signWith,
  type Json,
} from './forge.ts'

/** The public key of the service. */
export const jwk = publicOf(key.pem)
export const kid = thumbprintOf(jwk)
/** The header of a valid token. */
export const header: Json = { alg: 'ES256', typ: 'at+jwt', kid }
/** A key that the service does not trust. */
export const foreignKey = generateKey(passphrase)

/** Every attack. Most tokens are signed with the key of the service, so the parser must refuse them. */
export function attacksAt(now: number): Record<string, string> {
  const claims = claimsAt(now)
  return {
    ...shapesOf(claims),
    ...algorithmsOf(claims),
    ...headersOf(claims),
    ...missingClaimsOf(claims),
    ...claimValuesOf(claims, Math.floor(now / 1000)),
    ...duplicatesOf(claims),
    ...signaturesOf(claims, now),
  }
}

/** A signed token with this text as its payload. */
function withPayload(text: string): string {
  return mint(key, header, Buffer.from(text))
}

function shapesOf(claims: Json): Record<string, string> {
  const good = mint(key, header, claims)
  const [h, p, s] = good.split('.') as [string, string, string]
  const input = `${h}.${p}`
  const json = JSON.stringify(claims)
  return {
    'an empty token': '',
    'one segment': h,
    'two segments': input,
    'four segments': `${good}.${s}`,
    'no header': `.${p}.${s}`,
    'no payload': `${h}..${signWith(key, `${h}.`)}`,
    'no signature': `${input}.`,
    'a header that is not JSON': mint(key, 'hello', claims),
    'a header that is an array': mint(key, '["ES256"]', claims),
    'a payload that is not JSON': withPayload('hello'),
    'a payload that is a string': withPayload('"hello"'),
    'a payload that is an array': withPayload('[]'),
    'a payload that is null': withPayload('null'),
    'a payload that is a number': withPayload('1'),
    'a payload that is not UTF-8': mint(
      key,
      header,
      Buffer.from(json.replace('reader', 'r\xff'), 'latin1'),
    ),
    'a token of 100 000 characters': mint(key, header, { ...claims, pad: 'x'.repeat(75_000) }),
    'a refresh token': randomName() + randomName() + randomName(),
  }
}

function algorithmsOf(claims: Json): Record<string, string> {
  const publicPem = createPublicKey({ key: jwk, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  })
  const payload = segment(claims)
  const withHeader = (more: Json) => mint(key, { ...header, ...more }, claims)
  return {
    'alg none, unsigned': `${segment({ ...header, alg: 'none' })}.${payload}.`,
    'alg none, with a signature': withHeader({ alg: 'none' }),
    'alg None': withHeader({ alg: 'None' }),
    'alg HS256 keyed with the public PEM': mintHmac(
      String(publicPem),
      { ...header, alg: 'HS256' },
      claims,
    ),
    'alg HS256 keyed with the JWK': mintHmac(
      JSON.stringify(jwk),
      { ...header, alg: 'HS256' },
      claims,
    ),
    'alg HS256 keyed with nothing': mintHmac('', { ...header, alg: 'HS256' }, claims),
    'alg RS256 for a P-256 key': withHeader({ alg: 'RS256' }),
    'alg ES384': withHeader({ alg: 'ES384' }),
    'alg in lower case': withHeader({ alg: 'es256' }),
    'alg as an array': withHeader({ alg: ['ES256'] }),
    'no alg': mint(key, { typ: 'at+jwt', kid }, claims),
  }
}

function headersOf(claims: Json): Record<string, string> {
  const withHeader = (more: Json) => mint(key, { ...header, ...more }, claims)
  return {
    'another key under our kid': mint(foreignKey, header, claims),
    'an unknown kid': withHeader({ kid: randomName() }),
    'no kid': mint(key, { alg: 'ES256', typ: 'at+jwt' }, claims),
    'kid as a path': withHeader({ kid: '../../dev/null' }),
    'kid of the prototype chain': withHeader({ kid: '__proto__' }),
    'an embedded jwk': mint(foreignKey, { ...header, jwk: publicOf(foreignKey.pem) }, claims),
    'our own jwk embedded': withHeader({ jwk }),
    jku: withHeader({ jku: 'https://evil.example/keys' }),
    x5u: withHeader({ x5u: 'https://evil.example/cert' }),
    x5c: withHeader({ x5c: ['MIIB'] }),
    crit: withHeader({ crit: ['exp'] }),
    'b64 false': withHeader({ b64: false, crit: ['b64'] }),
    zip: withHeader({ zip: 'DEF' }),
    'typ JWT': withHeader({ typ: 'JWT' }),
    'typ of another token': withHeader({ typ: 'logout+jwt' }),
    'no typ': mint(key, { alg: 'ES256', kid }, claims),
    'a nested token': withHeader({ cty: 'JWT' }),
  }
}

function missingClaimsOf(claims: Json): Record<string, string> {
  const required = [
    'iss',
    'aud',
    'sub',
    'sid',
    'jti',
    'iat',
    'exp',
    'auth_time',
    'amr',
    'roles',
    'epochs',
  ]
  const without = (name: string) => {
    const { [name]: _, ...rest } = claims
    return mint(key, header, rest)
  }
  return Object.fromEntries(required.map((name) => [`no ${name}`, without(name)]))
}

function claimValuesOf(claims: Json, seconds: number): Record<string, string> {
  const json = JSON.stringify(claims)
  const withClaims = (more: Json) => mint(key, header, { ...claims, ...more })
  return {
    'another issuer': withClaims({ iss: `${issuer}.evil.example` }),
    'another audience': withClaims({ aud: 'other' }),
    'several audiences': withClaims({ aud: [audience, 'other'] }),
    expired: withClaims({ iat: seconds - 900, exp: seconds, auth_time: seconds - 900 }),
    'valid for 31 years': withClaims({ exp: seconds + 31 * 31_536_000 }),
    'valid for one second too long': withClaims({ exp: seconds + 901 }),
    'issued in the future': withClaims({ iat: seconds + 60, exp: seconds + 900 }),
    'not valid yet': withClaims({ nbf: seconds + 60 }),
    'nbf as a string': withClaims({ nbf: 'now' }),
    'exp as a string': withClaims({ exp: String(seconds + 900) }),
    'exp as a fraction': withClaims({ exp: seconds + 0.5 }),
    'exp that overflows': withPayload(json.replace(/"exp":\d+/, '"exp":1e308')),
    'iat below zero': withClaims({ iat: -1 }),
    'auth_time after iat': withClaims({ auth_time: seconds + 1 }),
    'roles as a string': withClaims({ roles: 'admin' }),
    'a role that is an object': withClaims({ roles: [{ toString: 'admin' }] }),
    'an empty amr': withClaims({ amr: [] }),
    'sub as a number': withClaims({ sub: 1 }),
    'an empty sub': withClaims({ sub: '' }),
    'a sub that is not well-formed Unicode': withPayload(
      json.replace('"user-1"', String.raw`"\ud800"`),
    ),
    'a jti of another form': withClaims({ jti: 'x' }),
    'a sid that is an object': withClaims({ sid: {} }),
    'permissions as a string': withClaims({ permissions: 'all' }),
    'a tenant that is a number': withClaims({ tenant: 1 }),
    'a negative epoch': withClaims({ epochs: [-1, 0] }),
    'epochs as an object': withClaims({ epochs: { 0: 0, 1: 0, length: 2 } }),
  }
}

function duplicatesOf(claims: Json): Record<string, string> {
  const json = JSON.stringify(claims)
  return {
    'sub twice': withPayload(json.replace('{', '{"sub":"admin",')),
    'sub twice, once escaped': withPayload(json.replace('{', String.raw`{"\u0073ub":"admin",`)),
    'roles twice': withPayload(json.replace(/\}$/, ',"roles":["admin"]}')),
    'alg twice': mint(key, Buffer.from(`{"alg":"none",${JSON.stringify(header).slice(1)}`), claims),
  }
}

function signaturesOf(claims: Json, now: number): Record<string, string> {
  const good = mint(key, header, claims)
  const [h, p, s] = good.split('.') as [string, string, string]
  const input = `${h}.${p}`
  const der = sign('sha256', Buffer.from(input), { key: key.pem, passphrase })
  return {
    'a non-canonical signature': `${input}.${respell(s)}`,
    'a padded signature': `${good}==`,
    'a padded header': `${h}=.${p}.${signWith(key, `${h}=.${p}`)}`,
    'standard base64': good.replaceAll('-', '+').replaceAll('_', '/') + '+',
    'a space in the signature': `${input}.${s.slice(0, 10)} ${s.slice(10)}`,
    'a signature of zeros': `${input}.${Buffer.alloc(64).toString('base64url')}`,
    'a signature in DER': `${input}.${der.toString('base64url')}`,
    'a truncated signature': `${input}.${s.slice(0, -4)}`,
    'an extended signature': `${input}.${s}AAAA`,
    'a signature of another token': `${input}.${mint(key, header, claimsAt(now)).split('.')[2]!}`,
    'a payload changed after signing': `${h}.${segment({ ...claims, roles: ['admin'] })}.${s}`,
    'a header changed after signing': `${segment({ typ: 'at+jwt', ...header })}.${p}.${s}`,
  }
}

function publicOf(pem: string): JsonWebKey {
  return createPublicKey({ key: pem, passphrase } as never).export({ format: 'jwk' })
}

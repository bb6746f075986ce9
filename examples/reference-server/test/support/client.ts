/** Sends requests to a server process over HTTP. */
import { readFile } from 'node:fs/promises'
import type { Test } from 'tap'
import { assertRefused, type Refusal } from './test-app.ts'

/** A response; `body` is `{}` if the response has none. */
export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Readonly<Record<string, unknown>>
}

/** A server, and the session of its client. */
export interface Client {
  readonly url: string
  readonly authorization?: string
}

/** Logs in as the first administrator, whose password is in `env` or in the data folder. */
export async function logIn(
  { url }: Client,
  { ADMIN_EMAIL, ADMIN_PASSWORD, DATA_DIR }: Readonly<Record<string, string>>,
): Promise<Client & { readonly authorization: string }> {
  const login = ADMIN_EMAIL ?? 'admin@server.localhost'
  const file = `${DATA_DIR}/admin-password`
  const password = ADMIN_PASSWORD ?? (await readFile(file, 'utf8')).trim()
  const { body } = await send({ url }, 'POST', '/api/v1/auth/login', { login, password })
  return { url, authorization: `Bearer ${String(body['access_token'])}` }
}

/** Sends a request; a body is sent as JSON. */
export async function send(
  { url, authorization }: Client,
  method: string,
  path: string,
  body?: object,
  given: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  const headers = { ...given, ...(authorization === undefined ? undefined : { authorization }) }
  const response = await fetch(url + path, {
    method,
    headers: body === undefined ? headers : { 'content-type': 'application/json', ...headers },
    ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  return {
    status: response.status,
    headers: response.headers,
    body: text === '' ? {} : (JSON.parse(text) as Answer['body']),
  }
}

/** Asserts that `client` is refused; `admin` reads all resources before and after the request. */
export async function refuse(
  t: Test,
  { client, admin }: { readonly client: Client; readonly admin: Client },
  refusal: Refusal,
  ...[method, path, body, headers]: [string, string, object?, Record<string, string>?]
): Promise<Answer> {
  const readAll = async () => {
    const lists = ['/api/v1/users', '/api/v1/content', '/api/v1/artists'].map(
      (url) => `${url}?limit=100`,
    )
    return Promise.all(lists.map(async (url) => (await send(admin, 'GET', url)).body))
  }
  const request = () => send(client, method, path, body, headers)
  return assertRefused(t, request, refusal, readAll, `${method} ${path}`)
}

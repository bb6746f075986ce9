/** Several instances of the server behind nginx, which asks them in turn. */
import { spawn } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as sendRequest } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { generateCipherKey } from '@parapet/kit'
import { generateKey, generateSecret } from '@parapet/sessions'
import type { Test } from 'tap'
import { startServer, type RunningServer } from './server-process.ts'
import { createDataFolder } from './test-app.ts'

/** The keys that all instances share. */
export function createKeys(): Record<string, string> {
  const { privateKey } = generateKeyPairSync('ed25519')
  return {
    FIELD_KEYSET: exportKeyset(generateKeyset()),
    MFA_KEYS: generateCipherKey(),
    AUDIT_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    SIGNING_KEY: generateKey(null).pem,
    SESSION_SECRET: generateSecret(),
  }
}

/** Returns how an instance is started: each has folders of its own, and finds them when it starts again. */
export function createInstances(
  t: Test,
  env: Readonly<Record<string, string>>,
): (index: number) => Promise<RunningServer> {
  const FILES_DIR = createDataFolder(t)
  return (index) =>
    startServer(t, {
      ...env,
      FILES_DIR,
      DATA_DIR: `${FILES_DIR}/instance-${index}`,
      AUDIT_DIR: `${FILES_DIR}/spool-${index}`,
      TRUST_PROXY: '127.0.0.1/32',
    })
}

async function findPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

function configure(folder: string, port: number, instances: readonly RunningServer[]): string {
  const servers = instances
    .map(({ port: each }) => `server 127.0.0.1:${each} max_fails=1 fail_timeout=2s;`)
    .join('\n    ')
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi']
    .map((name) => `${name}_temp_path ${folder}/${name};`)
    .join('\n  ')
  return `worker_processes 1;
pid ${folder}/nginx.pid;
error_log ${folder}/error.log;
events { worker_connections 512; }
http {
  access_log off;
  ${temporary}
  upstream instances {
    ${servers}
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://instances;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $remote_addr;
      add_header X-Instance $upstream_addr always;
    }
  }
}
`
}

/** Starts nginx in front of the instances. @returns its port; `null`: it is not installed. */
export async function startProxy(
  t: Test,
  instances: readonly RunningServer[],
): Promise<number | null> {
  const folder = mkdtempSync(join(tmpdir(), 'parapet-nginx-'))
  const port = await findPort()
  writeFileSync(join(folder, 'nginx.conf'), configure(folder, port, instances))
  const child = spawn(
    'nginx',
    ['-p', folder, '-c', join(folder, 'nginx.conf'), '-g', 'daemon off; user root;'],
    { stdio: 'ignore' },
  )
  const failed = new Promise<'missing'>((resolve) => child.once('error', () => resolve('missing')))
  const exited = once(child, 'exit').then(
    () => 'exited' as const,
    () => 'exited' as const,
  )
  t.after(async () => {
    if (child.exitCode === null) child.kill('SIGTERM')
    await Promise.race([exited, failed])
    rmSync(folder, { recursive: true, force: true })
  })
  for (;;) {
    const state = await Promise.race([failed, exited, answers(port)])
    if (state === 'missing') return null
    if (state === 'exited') throw new Error('nginx did not start')
    if (state) return port
  }
}

async function answers(port: number): Promise<boolean> {
  try {
    return (await ask(port, 'GET', '/health')).status === 200
  } catch {
    await new Promise((resolve) => setTimeout(resolve, 20))
    return false
  }
}

/** A response of the fleet. */
export interface FleetAnswer {
  readonly status: number
  /** Which instances nginx has asked, the last one answered. */
  readonly instance: string
  readonly body: Readonly<Record<string, unknown>>
}

/** How a request is sent. */
export interface FleetRequest {
  readonly body?: object
  readonly token?: string
  /** Where the client is: an address of the loopback network. @default 127.0.0.1 */
  readonly from?: string
}

/** Sends a request on a connection of its own. Rejects if the connection breaks. */
export function ask(
  port: number,
  method: string,
  path: string,
  { body, token, from }: FleetRequest = {},
): Promise<FleetAnswer> {
  return new Promise((resolve, reject) => {
    const payload = body === undefined ? undefined : JSON.stringify(body)
    const request = sendRequest({
      host: '127.0.0.1',
      port,
      method,
      path,
      agent: false,
      ...(from === undefined ? undefined : { localAddress: from }),
      headers: {
        ...(payload === undefined
          ? undefined
          : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) }),
        ...(token === undefined ? undefined : { authorization: `Bearer ${token}` }),
      },
    })
    request.on('error', reject)
    request.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('error', reject)
      response.on('end', () =>
        resolve({
          status: response.statusCode!,
          instance: String(response.headers['x-instance'] ?? ''),
          body: parse(text),
        }),
      )
    })
    request.end(payload)
  })
}

/** nginx answers 502 with a page. */
function parse(text: string): FleetAnswer['body'] {
  return text.startsWith('{') ? (JSON.parse(text) as FleetAnswer['body']) : {}
}

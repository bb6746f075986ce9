/**
 * What the packages cost before the first request: importing each beside its peer, installing each
 * beside the packages with the same features, and booting one app with all six plugins. It measures
 * what `pnpm build` made, and each sample is a process of its own.
 */
import { goal, plainCommand } from '@parapet/testing'
import { execFileSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { createBootSettings, plugins, type BootSettings } from './boot/settings.ts'

interface Subject {
  /** What an app imports instead, for the one feature that always runs. */
  readonly peers?: readonly string[]
  /** What an app installs instead, for all features. */
  readonly parts?: readonly string[]
}

const PACKAGES = fileURLToPath(new URL('../../', import.meta.url))
const ROUNDS = 9
const SUBJECTS: Readonly<Record<string, Subject>> = {
  'security-headers': {
    peers: ['@fastify/helmet', '@fastify/cors'],
    parts: ['@fastify/helmet', '@fastify/cors', '@fastify/csrf', 'csp_evaluator'],
  },
  rbac: { peers: ['@casl/ability'], parts: ['casbin'] },
  sessions: {
    peers: ['@fastify/jwt', '@fastify/cookie'],
    parts: ['@fastify/jwt', '@fastify/cookie', 'openid-client', '@node-rs/argon2'],
  },
  'rate-limits': { peers: ['@fastify/rate-limit'], parts: ['@fastify/rate-limit'] },
  'input-guard': { peers: ['@sinclair/typebox', 'ajv', 'ajv-formats'] },
  secrets: { peers: ['envalid'], parts: ['envalid', 'node-vault'] },
  'anomaly-guard': {},
  'incident-response': { peers: ['yaml'] },
  mfa: { peers: ['otpauth'], parts: ['otpauth', '@simplewebauthn/server', 'qrcode'] },
  'field-encryption': {},
  'audit-log': {},
  kit: {},
}
// Every app that registers a plugin has loaded Fastify before.
const IMPORT = `
await import('fastify')
const start = performance.now()
for (const specifier of process.argv.slice(1)) await import(specifier)
console.log(performance.now() - start)
`

function builtEntry(name: string): string {
  const file = join(PACKAGES, name, 'dist/index.js')
  if (!existsSync(file)) throw new Error(`${file} is missing: run \`pnpm build\` first`)
  const newest = readdirSync(join(PACKAGES, name, 'src'), { recursive: true, encoding: 'utf8' })
    .map((path) => statSync(join(PACKAGES, name, 'src', path)).mtimeMs)
    .reduce((a, b) => Math.max(a, b))
  if (statSync(file).mtimeMs < newest) throw new Error(`${file} is old: run \`pnpm build\` first`)
  return pathToFileURL(file).href
}

/** Runs plain Node in the folder of a package, so that its dependencies resolve. */
function runNode(name: string, args: readonly string[], input = ''): string {
  const [file, plainArgs] = plainCommand(process.execPath, args)
  return execFileSync(file, plainArgs, { cwd: join(PACKAGES, name), encoding: 'utf8', input })
}

function importMs(name: string, specifiers: readonly string[]): number {
  return Number(runNode(name, ['--input-type=module', '--eval', IMPORT, ...specifiers]))
}

function medianOf(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!
}

/** One sample of each, again and again, so that a slow phase of the machine meets all of them. */
function takeRounds(samples: Readonly<Record<string, () => number>>): Record<string, number[]> {
  const taken: Record<string, number[]> = {}
  for (let round = 0; round <= ROUNDS; round++) {
    for (const [name, sample] of Object.entries(samples)) {
      const value = sample()
      // The first round fills the caches of the file system.
      if (round > 0) (taken[name] ??= []).push(value)
    }
  }
  return taken
}

function ratioOf(values: readonly number[], bases: readonly number[]): number {
  return medianOf(values.map((value, round) => value / bases[round]!))
}

/** Adds the folder of a package and of everything that an install of it brings; peers are the app's. */
function addInstalled(folder: string, found: Set<string>): void {
  if (found.has(folder)) return
  found.add(folder)
  const { dependencies, optionalDependencies } = JSON.parse(
    readFileSync(join(folder, 'package.json'), 'utf8'),
  ) as Record<'dependencies' | 'optionalDependencies', Readonly<Record<string, string>> | undefined>
  for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
    const installed = findInstalled(folder, name)
    // A binary for another platform is not installed.
    if (installed !== undefined) addInstalled(installed, found)
  }
}

function findInstalled(from: string, name: string): string | undefined {
  for (let folder = from; folder !== dirname(folder); folder = dirname(folder)) {
    const candidate = join(folder, 'node_modules', name)
    if (existsSync(candidate)) return realpathSync(candidate)
  }
  return undefined
}

/** The bytes of the files that are published: of a package of this workspace, its `files` only. */
function bytesOf(folder: string): number {
  const roots = folder.startsWith(PACKAGES)
    ? ['dist', 'src', 'package.json', 'README.md'].map((name) => join(folder, name))
    : [folder]
  const size = (path: string): number => {
    const status = statSync(path)
    if (!status.isDirectory()) return status.size
    const names = readdirSync(path).filter((name) => !/^node_modules$|\.tsbuildinfo$/.test(name))
    return names.reduce((sum, name) => sum + size(join(path, name)), 0)
  }
  return roots.reduce((sum, path) => sum + size(path), 0)
}

function installedBytes(folders: readonly string[]): number {
  const found = new Set<string>()
  for (const folder of folders) addInstalled(folder, found)
  return [...found].reduce((sum, folder) => sum + bytesOf(folder), 0)
}

function benchImports(): void {
  const samples: Record<string, () => number> = {}
  for (const [name, { peers }] of Object.entries(SUBJECTS)) {
    const entry = builtEntry(name)
    samples[name] = () => importMs(name, [entry])
    if (peers !== undefined) samples[peers.join('+')] = () => importMs(name, peers)
  }
  const taken = takeRounds(samples)
  for (const [name, values] of Object.entries(taken)) {
    const spread = `${Math.min(...values).toFixed(1)}..${Math.max(...values).toFixed(1)}`
    console.log(`import ${name}: ${medianOf(values).toFixed(1)} ms (${spread})`)
  }
  for (const [name, { peers }] of Object.entries(SUBJECTS)) {
    const peer = peers?.join('+')
    if (peer === undefined) continue
    goal(`import-${name}-vs-${peer}`, ratioOf(taken[name]!, taken[peer]!), 3)
  }
}

function benchInstalls(): void {
  for (const [name, { parts }] of Object.entries(SUBJECTS)) {
    const home = join(PACKAGES, name)
    const own = installedBytes([home])
    console.log(
      `install ${name}: ${(own / 1e6).toFixed(1)} MB, ${(bytesOf(home) / 1e3).toFixed(0)} kB of its own`,
    )
    if (parts === undefined) continue
    const others = installedBytes(parts.map((part) => findInstalled(home, part)!))
    console.log(`install ${parts.join('+')}: ${(others / 1e6).toFixed(1)} MB`)
    goal(`install-${name}-vs-${parts.join('+')}`, own / others, 2)
  }
}

async function benchBoot(): Promise<void> {
  const urls = Object.fromEntries(plugins.map((name) => [name, builtEntry(name)] as const))
  const program = fileURLToPath(new URL('boot/app.mjs', import.meta.url))
  const directory = mkdtempSync(join(tmpdir(), 'parapet-boot-'))
  const all = await createBootSettings(urls, directory)
  const rss: Record<string, number[]> = {}
  const boot = (name: string, settings: BootSettings) => () => {
    mkdirSync(directory, { recursive: true })
    const line = runNode('kit', [program], JSON.stringify(settings)).trim().split('\n').at(-1)!
    rmSync(directory, { recursive: true })
    const { milliseconds, rssBytes } = JSON.parse(line) as Record<string, number>
    ;(rss[name] ??= []).push(rssBytes!)
    return milliseconds!
  }
  const taken = takeRounds({ bare: boot('bare', { directory }), all: boot('all', all) })
  const [bareMs, allMs] = [medianOf(taken['bare']!), medianOf(taken['all']!)]
  const addedMb = (medianOf(rss['all']!) - medianOf(rss['bare']!)) / 1e6
  console.log(`boot: bare ${bareMs.toFixed(0)} ms, with six plugins ${allMs.toFixed(0)} ms`)
  goal('boot-six-plugins-ms', allMs, 600)
  goal('boot-six-plugins-added-mb', addedMb, 35)
}

benchImports()
benchInstalls()
await benchBoot()

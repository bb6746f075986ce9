import { createHash } from 'node:crypto'
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Every test process loads the same sources, so that what they become is kept, by the hash of the source. */
const cache = new URL('../node_modules/.cache/parapet-ts/', import.meta.url)
mkdirSync(cache, { recursive: true })
const manifest = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8'))
const { amaro: version } = manifest.devDependencies

export async function load(url, context, nextLoad) {
  if (!/^file:[^?#]*\.m?ts(?:[?#]|$)/.test(url)) return nextLoad(url, context)
  const code = await transform(readFileSync(fileURLToPath(url), 'utf8'))
  return { format: 'module', shortCircuit: true, source: `${code}\n//# sourceURL=${url}` }
}

async function transform(source) {
  const kept = new URL(
    `${createHash('sha256').update(`${version}\n${source}`).digest('hex')}.js`,
    cache,
  )
  try {
    return readFileSync(kept, 'utf8')
  } catch {
    // Loaded only here: it takes longer to load than the sources that are kept.
    const { transformSync } = await import('amaro')
    const { code } = transformSync(source, { mode: 'strip-only' })
    // Complete under its name at once: other processes look for it at the same time.
    const draft = new URL(`${kept.href}.${process.pid}.${Math.random()}`)
    writeFileSync(draft, code)
    renameSync(draft, kept)
    return code
  }
}

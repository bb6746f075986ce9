import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { transformSync } from 'amaro'

export async function load(url, context, nextLoad) {
  if (!/^file:[^?#]*\.m?ts(?:[?#]|$)/.test(url)) return nextLoad(url, context)
  const source = await readFile(fileURLToPath(url), 'utf8')
  const { code } = transformSync(source, { mode: 'strip-only' })
  return { format: 'module', shortCircuit: true, source: `${code}\n//# sourceURL=${url}` }
}

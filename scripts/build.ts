/**
 * The JavaScript of `pnpm build`, after `tsc -b` has written the declarations: bundles each package, and
 * removes from its `dist` what no source makes any more.
 */
import { readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { bundlePackage, listEntries } from './bundle.ts'
import { listPackages, listSources, workspaceRoot } from './workspace.ts'

for (const { folder, manifest } of listPackages()) {
  const entries = listEntries(manifest)
  if (entries.exported.length === 0) continue
  const start = performance.now()
  const bundled = await bundlePackage(join(workspaceRoot, folder), entries)
  removeOthers(folder, [...bundled, ...declarationsOf(folder), '.tsbuildinfo'])
  const files = bundled.filter((path) => path.endsWith('.js'))
  const took = Math.round(performance.now() - start)
  console.log(`${manifest.name}: ${files.join(', ')} (${took} ms)`)
}

function declarationsOf(folder: string): string[] {
  return listSources(folder).flatMap((path) => [`${path}.d.ts`, `${path}.d.ts.map`])
}

function removeOthers(folder: string, wanted: readonly string[]): void {
  const dist = join(workspaceRoot, folder, 'dist')
  const kept = new Set(wanted.map((path) => join(dist, path)))
  for (const entry of readdirSync(dist, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile() && !kept.has(path)) rmSync(path)
  }
}

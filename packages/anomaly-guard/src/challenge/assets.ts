/** The files of the widget, from the installed package `altcha`. */
import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { PARAPET_ANOMALY_GUARD_MISSING_PEER } from '../errors.ts'

/** The files as the routes serve them. */
export interface WidgetFiles {
  readonly script: Buffer
  readonly worker: Buffer
  readonly style: Buffer
}

const read = (url: string) => readFile(fileURLToPath(url))

/**
 * Reads the files once, at boot: the variant that loads styles and workers from files, so that a strict
 * Content-Security-Policy applies.
 *
 * @throws PARAPET_ANOMALY_GUARD_MISSING_PEER altcha is not installed.
 */
export async function readWidgetFiles(): Promise<WidgetFiles> {
  try {
    const [script, worker, style] = await Promise.all([
      read(import.meta.resolve('altcha/external')),
      read(import.meta.resolve('altcha/workers/pbkdf2')),
      read(import.meta.resolve('altcha/altcha.css')),
    ])
    return { script, worker, style }
  } catch (error) {
    throw Object.assign(new PARAPET_ANOMALY_GUARD_MISSING_PEER('challenge', 'altcha'), {
      cause: error,
    })
  }
}

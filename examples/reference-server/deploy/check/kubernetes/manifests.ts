/** The Kubernetes manifests as objects, and their schemas. */
import { parseAllDocuments } from 'yaml'
import { textOf, createReport, membersOf, type Finding } from '../finding.ts'
import { watchFields } from './unknown-fields.ts'

/** One manifest. */
export interface Manifest {
  readonly file: string
  readonly kind: string
  readonly name: string
  readonly apiVersion: string
  readonly body: Readonly<Record<string, unknown>>
}

/** A class of `kubernetes-models`. */
type Model = new (body: unknown) => { validate(): void }

/** Reads the manifests of a file. Aliases are followed; a duplicate key is an error. */
export function readManifests(file: string, text: string): Manifest[] {
  return parseAllDocuments(text, { merge: true, uniqueKeys: true }).flatMap((document) => {
    if (document.errors.length > 0) throw new Error(`${file}: ${document.errors[0]!.message}`)
    const body = membersOf(document.toJS() as unknown)
    if (Object.keys(body).length === 0) return []
    const name = textOf(membersOf(body['metadata'])['name'])
    return [
      { file, kind: String(body['kind']), name, apiVersion: String(body['apiVersion']), body },
    ]
  })
}

/** Checks a manifest against the schema of its kind, from `kubernetes-models`. */
export async function checkSchema(manifest: Manifest): Promise<Finding[]> {
  const { file, kind, name, apiVersion, body } = manifest
  // Kustomize's own kind is no kind of the cluster.
  if (kind === 'Kustomization') return []
  const report = createReport(file)
  const model = await findModel(apiVersion, kind)
  report.expect(model !== undefined, 'schema', `${apiVersion} has no kind ${kind}`)
  if (model === undefined) return report.findings
  const members = Object.entries(body).map(([key, value]) => [key, watchFields(value)] as const)
  const watched = Object.fromEntries(members.map(([key, value]) => [key, value.watched]))
  try {
    // The constructor would copy the members, and so list all of them.
    Object.assign(new model({}), watched).validate()
    const unknown = members.flatMap(([key, { findUnknown }]) =>
      findUnknown().map((at) => `${key}${at}`),
    )
    report.expect(
      unknown.length === 0,
      'unknown',
      `${kind} ${name}: no field ${unknown.join(', ')}`,
    )
  } catch (error) {
    report.expect(false, 'schema', `${kind} ${name}: ${(error as Error).message}`)
  }
  return report.findings
}

async function findModel(apiVersion: string, kind: string): Promise<Model | undefined> {
  if (!/^[\w.]+(?:\/\w+)?$/.test(apiVersion)) return undefined
  try {
    const models = (await import(`kubernetes-models/${apiVersion}`)) as Record<string, unknown>
    return models[kind] as Model | undefined
  } catch {
    return undefined
  }
}

/** Reads the text fields of a form that `@fastify/multipart` has attached to the body. */

/** The fields by name, as a query string has them; files are left out. */
export function textFields(body: object): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(body).map(([name, value]: [string, unknown]) => {
      const texts = [value].flat().flatMap(textOf)
      return [name, Array.isArray(value) && texts.length > 0 ? texts : texts[0]]
    }),
  )
}

/** `attachFieldsToBody: true` attaches parts, `'keyValues'` their values. */
function textOf(part: unknown): unknown[] {
  if (typeof part !== 'object' || part === null) return [part]
  if (ArrayBuffer.isView(part) || 'file' in part) return []
  return 'fieldname' in part && 'value' in part ? [part.value] : [part]
}

/** Where a match is part of a bare number of a JSON text: replaced alone, it would leave no JSON. */

const NUMBER_CHARACTER = /[\d.eE+-]/

/**
 * The bounds of the number that a match is in; `undefined` if it is in a string, or the text is no object.
 *
 * @param start of the match.
 * @param end behind the match.
 */
export function numberAround(
  text: string,
  start: number,
  end: number,
): [number, number] | undefined {
  if (text[0] !== '{' || !/^\d+$/.test(text.slice(start, end)) || isInString(text, start)) {
    return undefined
  }
  let [from, to] = [start, end]
  while (NUMBER_CHARACTER.test(text[from - 1]!)) from--
  while (to < text.length && NUMBER_CHARACTER.test(text[to]!)) to++
  return [from, to]
}

function isInString(text: string, position: number): boolean {
  let inside = false
  for (let at = 0; at < position; at++) {
    const character = text[at]
    if (character === '\\') at++
    else if (character === '"') inside = !inside
  }
  return inside
}

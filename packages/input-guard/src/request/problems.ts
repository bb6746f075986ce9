/** The sentences of refusals, by code. */
import type { JsonFault } from '../json/scan-json.ts'
import type { HeaderFault } from './headers.ts'
import type { MediaTypeFault } from './media-type.ts'
import type { ParameterFault } from './query.ts'

/** Continue `The body …`. */
export const bodyProblems: Readonly<Record<JsonFault | ParameterFault | 'utf_8', string>> = {
  array_length: 'has an array with too many items',
  depth: 'is nested too deeply',
  duplicate_key: 'has the same key twice in one object',
  duplicate_parameter: 'has the same field twice',
  inexact_number: 'has an integer beyond 2^53 - 1, or a number that is too large',
  key_count: 'has too many keys',
  lone_surrogate: 'contains half of a surrogate pair',
  method_override: 'must not ask for another method',
  nul: 'contains the character U+0000',
  operator_key: 'has a key that begins with "$"',
  parameter_count: 'has too many fields',
  prototype_key: 'has a key that names a member of the prototype',
  string_bytes: 'has a string that is too long',
  utf_8: 'is not valid UTF-8',
}

/** Continue `The URL …`. */
export const urlProblems: Readonly<Record<ParameterFault, string>> = {
  duplicate_parameter: 'has the same parameter twice',
  lone_surrogate: 'contains half of a surrogate pair',
  method_override: 'must not ask for another method',
  nul: 'contains the character U+0000',
  operator_key: 'has a parameter that begins with "$"',
  parameter_count: 'has too many parameters',
  prototype_key: 'has a parameter that names a member of the prototype',
}

/** Continue `The request has …`. */
export const headerProblems: Readonly<Record<HeaderFault, string>> = {
  header_bytes: 'a header that is too long',
  header_count: 'too many headers',
  host_count: 'more than one Host header',
}

/** Continue `The body has …`. */
export const mediaTypeProblems: Readonly<Record<MediaTypeFault, string>> = {
  charset: 'a charset other than UTF-8',
  media_type: 'a media type that is not accepted here',
}

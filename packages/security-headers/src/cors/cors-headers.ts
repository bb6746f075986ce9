/** The names of the response headers of CORS. */

/** The response headers of CORS: only the option `cors` decides on them. @see Fetch, section 3.3.3 */
export const corsHeaders: readonly string[] = Object.freeze([
  'access-control-allow-credentials',
  'access-control-allow-headers',
  'access-control-allow-methods',
  'access-control-allow-origin',
  'access-control-allow-private-network',
  'access-control-expose-headers',
  'access-control-max-age',
])

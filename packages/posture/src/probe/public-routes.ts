/** Which routes are public: by what the user says, and by what every service has. */

type Route = { readonly method: string; readonly url: string }

/** Paths that need no login in any service, and show nothing that one would protect. */
const READ =
  /^\/?$|^\/(?:(?:api\/)?(?:v\d+\/)?)?(?:health(?:z|check)?|live(?:z|ness)?|ready(?:z|ness)?|ping|status|version|favicon\.ico|robots\.txt|sitemap\.xml|manifest\.json)(?:\/(?:live|ready))?$|^\/\.well-known\/|^\/(?:assets|static|public|css|js|images|img|fonts)\/|\/(?:log-?in|sign-?in|sign-?up|register|callback|csrf(?:-token)?|jwks(?:\.json)?)$/i
/** Routes that change something for a client that has no login yet. */
const WRITE =
  /(?:^|\/)(?:log-?in|sign-?in|sign-?up|register|registration|token|refresh|oauth2?|callback|forgot(?:-password)?|password-?reset|reset(?:-password)?|recover|verify(?:-email)?|confirm(?:-email)?|activate|log-?out|sign-?out|webhooks?|csp-reports?|reports?|revoke|introspect|challenge)(?:\/[\w:-]+)?$/i

/** Compiles patterns such as `GET /news`, `/docs/*`; a method is optional, `*` is anything. */
export function createMatcher(patterns: readonly string[]): (route: Route) => boolean {
  const compiled = patterns.map((pattern) => {
    const [, method, path = ''] = /^(?:([A-Z]+) )?(.*)$/.exec(pattern.trim()) ?? []
    const source = path.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '.*')
    return { method, path: new RegExp(`^${source}$`) }
  })
  return ({ method, url }) =>
    compiled.some((each) => (each.method ?? method) === method && each.path.test(url))
}

/** The routes that the user named, and the well-known ones. */
export function createPublicRoutes(patterns: readonly string[]): (route: Route) => boolean {
  const isNamed = createMatcher(patterns)
  return (route) =>
    isNamed(route) ||
    (route.method === 'GET' || route.method === 'HEAD' || route.method === 'OPTIONS'
      ? READ.test(route.url)
      : WRITE.test(route.url))
}

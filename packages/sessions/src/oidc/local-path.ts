/** Where a login may send the browser afterwards. */

const MAX_LENGTH = 1024
/** A path of this service. A browser reads `//host` and `/\host` as another host. */
const LOCAL_PATH = /^\/(?![/\\])[\w\-./~%!$&'()*+,;=:@?]*$/

/** Whether a text is a path of this service. */
export function isLocalPath(path: string): boolean {
  return path.length <= MAX_LENGTH && LOCAL_PATH.test(path)
}

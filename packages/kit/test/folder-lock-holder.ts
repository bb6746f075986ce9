/** Takes the folder that is named on the command line and keeps it until the process is killed. */
import { lockFolder } from '@parapet/kit'

try {
  await lockFolder(process.argv[2]!)
  console.log('owner')
} catch (error) {
  console.log((error as Error).message)
}
// The parent keeps the pipe open.
process.stdin.resume()

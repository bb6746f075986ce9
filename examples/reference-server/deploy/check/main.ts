/** `pnpm run deploy:check`: prints what is wrong with the files of `deploy`, and exits with 1 if anything is. */
import { checkDeploy, readDeployFiles } from './all.ts'

const files = readDeployFiles()
const findings = await checkDeploy(files)
for (const { file, rule, message } of findings)
  process.stderr.write(`${file}: ${rule}: ${message}\n`)
if (findings.length > 0) process.exitCode = 1
else process.stdout.write(`${files.size} files of deploy: no finding\n`)

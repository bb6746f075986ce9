/** The rules of the Dockerfile, on the syntax tree of dockerfile-ast. */
import { DockerfileParser, type Dockerfile, type From, type Instruction } from 'dockerfile-ast'
import { createReport, PINNED_IMAGE, SECRET_NAME, type Finding, type Report } from './finding.ts'

interface Stage {
  readonly name: string
  readonly from: From
  readonly instructions: readonly Instruction[]
}

/** The stages that are built for use; the others only help to build them. */
const RUNTIMES: readonly string[] = ['server', 'backup']

/** Checks a Dockerfile. @param file its name in the findings. */
export function checkDockerfile(file: string, text: string): Finding[] {
  const report = createReport(file)
  const dockerfile = DockerfileParser.parse(text)
  const stages = readStages(dockerfile)
  checkBases(report, stages)
  for (const stage of stages) checkEveryStage(report, stage)
  for (const name of RUNTIMES) {
    const stage = stages.find((candidate) => candidate.name === name)
    report.expect(stage !== undefined, 'stages', `a stage named "${name}" is expected`)
    if (stage !== undefined) checkRuntime(report, stage)
  }
  report.expect(stages.at(-1)?.name === 'server', 'stages', 'the last stage must be "server"')
  const build =
    stages
      .find(({ name }) => name === 'build')
      ?.instructions.map(textOf)
      .join('\n') ?? ''
  report.expect(build.includes('--frozen-lockfile'), 'lockfile', 'the install must be frozen')
  report.expect(/deploy --prod\b/.test(build), 'no-dev', 'deploy without development dependencies')
  report.expect(build.includes('build-console.ts'), 'console', 'bundle the page of the console')
  report.expect(build.includes('--ignore-scripts'), 'no-scripts', 'install without scripts')
  return report.findings
}

function readStages(dockerfile: Dockerfile): Stage[] {
  const stages: { name: string; from: From; instructions: Instruction[] }[] = []
  for (const instruction of dockerfile.getInstructions()) {
    if (instruction.getKeyword() === 'FROM') {
      const from = instruction as From
      stages.push({ name: from.getBuildStage() ?? `${stages.length}`, from, instructions: [] })
    } else stages.at(-1)?.instructions.push(instruction)
  }
  return stages
}

function checkBases(report: Report, stages: readonly Stage[]): void {
  for (const [index, { from }] of stages.entries()) {
    const image = from.getImage() ?? ''
    const isStage = stages.slice(0, index).some(({ name }) => name === image)
    report.expect(
      isStage || PINNED_IMAGE.test(image),
      'pinned-image',
      `"${image}" must be a former stage or name:tag@sha256:digest`,
    )
  }
}

function checkEveryStage(report: Report, { name, instructions }: Stage): void {
  for (const instruction of instructions) {
    const [keyword, text] = [instruction.getKeyword(), textOf(instruction)]
    report.expect(keyword !== 'ADD', 'no-add', `${name}: use COPY, which downloads nothing`)
    if (keyword === 'ENV' || keyword === 'ARG') {
      const names = text.match(/\b[A-Z][A-Z\d_]*(?==|$)/g) ?? []
      for (const variable of names) {
        report.expect(!SECRET_NAME.test(variable), 'no-secret', `${name}: ${variable} in the image`)
      }
    }
    if (keyword !== 'RUN') continue
    report.expect(!/\b(?:curl|wget)\b[^|]*\|\s*(?:ba)?sh/.test(text), 'no-pipe', `${name}: ${text}`)
    report.expect(!/\bsudo\b/.test(text), 'no-sudo', `${name}: RUN needs no sudo`)
    if (text.includes('apt-get install')) {
      const isClean =
        /--no-install-recommends/.test(text) && text.includes('rm -rf /var/lib/apt/lists')
      report.expect(isClean, 'apt', `${name}: --no-install-recommends, and remove the lists`)
    }
  }
}

function checkRuntime(report: Report, { name, instructions }: Stage): void {
  const last = (keyword: string): string => {
    const found = instructions.filter((instruction) => instruction.getKeyword() === keyword)
    return found.length === 0 ? '' : textOf(found.at(-1)!)
  }
  report.expect(
    /^USER [1-9]\d*:[1-9]\d*$/.test(last('USER')),
    'non-root',
    `${name}: USER uid:gid, not 0`,
  )
  report.expect(
    /^ENTRYPOINT \["\/usr\/bin\/dumb-init", "--"\]$/.test(last('ENTRYPOINT')),
    'init',
    `${name}: dumb-init must be PID 1`,
  )
  report.expect(
    last('CMD').startsWith('CMD ["'),
    'exec-form',
    `${name}: CMD as a JSON array, without a shell`,
  )
  report.expect(last('HEALTHCHECK') !== '', 'healthcheck', `${name}: HEALTHCHECK is missing`)
  report.expect(
    name !== 'server' || last('HEALTHCHECK').includes('CMD'),
    'healthcheck',
    'server: HEALTHCHECK must run a command',
  )
  report.expect(
    name !== 'server' || last('ENV').includes('NODE_ENV=production'),
    'production',
    'server: NODE_ENV=production',
  )
  for (const instruction of instructions.filter((each) => each.getKeyword() === 'COPY')) {
    const text = textOf(instruction)
    report.expect(
      /^COPY (?:--\S+ )*--from=/.test(text),
      'copy',
      `${name}: copy from a stage only: ${text}`,
    )
    const isCode = text.endsWith(' /app')
    report.expect(
      !isCode || text.includes('--chown=0:0'),
      'root-owned',
      `${name}: the code belongs to root`,
    )
  }
  for (const port of last('EXPOSE').match(/\d+/g) ?? []) {
    report.expect(Number(port) >= 1024, 'port', `${name}: port ${port} needs root`)
  }
}

/** The whole instruction in one line; flags are no arguments for the parser. */
function textOf(instruction: Instruction): string {
  return instruction.getTextContent().replaceAll(/\\\n/g, ' ').replaceAll(/\s+/g, ' ').trim()
}

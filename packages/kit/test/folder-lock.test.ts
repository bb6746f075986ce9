import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { lockFolder } from '@parapet/kit'
import { plainNode } from '@parapet/testing'
import t, { type Test } from 'tap'

const inUse = { code: 'PARAPET_KIT_FOLDER_IN_USE', statusCode: 500 }
const holder = fileURLToPath(new URL('folder-lock-holder.ts', import.meta.url))

function makeFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'lock-'))
  t.after(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Starts a process that takes the folder; it prints `owner` or the code of its error. */
async function start(t: Test, folder: string, wrapper: readonly string[] = []) {
  const [command, args] = plainNode([holder, folder])
  const [first = command, ...rest] = [...wrapper, command, ...args]
  const child = spawn(first, rest, { stdio: ['pipe', 'pipe', 'inherit'] })
  t.after(() => child.kill('SIGKILL'))
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  return { child, answer: line.toString().trim() }
}

async function kill(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

await t.test('a folder has one owner at a time, and the error names it', async (t) => {
  const folder = join(makeFolder(t), 'data')
  const release = await lockFolder(folder)
  t.equal(statSync(folder).mode & 0o777, 0o700)
  await t.rejects(lockFolder(folder), { ...inUse, message: /is in use by this process/ })
  const { answer } = await start(t, folder)
  t.match(answer, new RegExp(`is in use by process ${process.pid} on ${hostname()}, since 20`))
  await release()
  await release()
  await (
    await lockFolder(folder)
  )()
})

await t.test('a killed owner is taken over, and files do not pile up', async (t) => {
  const folder = makeFolder(t)
  for (let round = 0; round < 3; round++) {
    const { child, answer } = await start(t, folder)
    t.equal(answer, 'owner')
    await t.rejects(lockFolder(folder), inUse)
    await kill(child)
  }
  await (
    await lockFolder(folder)
  )()
  t.equal(readdirSync(folder).length, 1)
})

await t.test(
  'of simultaneous starters exactly one owns the folder, after a crash, too',
  async (t) => {
    const folder = makeFolder(t)
    for (let round = 0; round < 10; round++) {
      const outcomes = await Promise.allSettled(Array.from({ length: 8 }, () => lockFolder(folder)))
      const owners = outcomes.filter(({ status }) => status === 'fulfilled')
      t.equal(owners.length, 1)
      for (const outcome of outcomes) {
        if (outcome.status === 'fulfilled') await outcome.value()
        else t.match(outcome.reason, inUse)
      }
    }
  },
)

await t.test('of five processes that start at once exactly one owns the folder', async (t) => {
  const folder = makeFolder(t)
  const first = await start(t, folder)
  await kill(first.child)
  const started = await Promise.all(Array.from({ length: 5 }, () => start(t, folder)))
  t.equal(started.filter(({ answer }) => answer === 'owner').length, 1)
  for (const { answer } of started) t.match(answer, /^owner$|is in use by/)
})

await t.test(
  'an owner that is stopped, or has a full backlog, still owns the folder',
  async (t) => {
    const folder = makeFolder(t)
    const { child } = await start(t, folder)
    child.kill('SIGSTOP')
    await t.rejects(lockFolder(folder), { ...inUse, message: /does not respond/ })
    child.kill('SIGCONT')
    await t.rejects(lockFolder(folder), { ...inUse, message: /by process/ })
  },
)

await t.test('an error other than a refused connection counts as a living owner', async (t) => {
  const folder = makeFolder(t)
  // Connecting to a directory or a plain file is no proof that an owner has ended.
  writeFileSync(join(folder, 'lock.7'), '')
  const connected = await lockFolder(folder).then(
    async (release) => (await release(), 'taken'),
    (error: { code: string }) => error.code,
  )
  t.ok(connected === 'taken' || connected === inUse.code)
  const foreign = createServer((socket) => socket.end('not JSON'))
  foreign.listen(join(folder, 'lock.9'))
  t.after(() => foreign.close())
  await once(foreign, 'listening')
  await t.rejects(lockFolder(folder), { ...inUse, message: /does not respond/ })
})

await t.test(
  'a folder with a long path can be locked',
  { skip: process.platform !== 'linux' },
  async (t) => {
    const folder = join(makeFolder(t), 'x'.repeat(120), 'y'.repeat(120))
    const release = await lockFolder(folder)
    await t.rejects(lockFolder(folder), inUse)
    await release()
    await (
      await lockFolder(folder)
    )()
  },
)

const namespaces = ((): string | false => {
  try {
    execFileSync('unshare', ['-p', '-f', '--mount-proc', 'true'], { stdio: 'ignore' })
    return false
  } catch {
    return 'PID namespaces cannot be made here'
  }
})()

await t.test(
  'two containers on one volume, both process 1, exclude each other',
  { skip: namespaces },
  async (t) => {
    const folder = makeFolder(t)
    const container = ['unshare', '-p', '-f', '--mount-proc', '--kill-child']
    const first = await start(t, folder, container)
    t.equal(first.answer, 'owner')
    const second = await start(t, folder, container)
    t.match(second.answer, /is in use by/)
    await kill(first.child)
    await kill(second.child)
    const third = await start(t, folder, container)
    t.equal(third.answer, 'owner')
  },
)

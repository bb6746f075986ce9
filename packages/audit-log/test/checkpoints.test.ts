import { createSecretKey } from 'node:crypto'
import { appendFileSync, closeSync, openSync, readdirSync, statSync, truncateSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { DirectoryCheckpoints } from '../src/directory/checkpoints.ts'
import { formatState, parseState } from '../src/directory/state.ts'
import { emptyState } from '../src/log/log-store.ts'
import { WriterKey } from '../src/trust/writer-key.ts'
import { Files } from '../src/wal/files.ts'
import { useFolder } from './support.ts'

const ORIGIN = 'example.org/audit'
const stateOf = (size: number) => ({ ...emptyState(ORIGIN), size, note: `note ${size}\n` })

async function sizesOf(checkpoints: DirectoryCheckpoints): Promise<number[]> {
  const sizes: number[] = []
  for await (const { size } of checkpoints.list()) sizes.push(size)
  return sizes
}

await t.test(
  'a start reads only the end of the checkpoints, however large the file is',
  async (t) => {
    const folder = useFolder(t)
    const path = join(folder, 'checkpoints.ndjson')
    closeSync(openSync(path, 'w'))
    // 3 GiB without blocks on disk: no string and no buffer can hold it.
    truncateSync(path, 3 * 1024 ** 3)
    appendFileSync(path, `\n${JSON.stringify({ size: 7, note: 'note 7\n' })}\n`)
    const checkpoints = new DirectoryCheckpoints(folder, new Files(folder))
    await checkpoints.add(stateOf(7))
    await checkpoints.add(stateOf(9))
    t.same(readdirSync(join(folder, 'checkpoints')), ['0000000000000007.ndjson'], 'it was full')
    t.ok(statSync(path).size < 200, 'the next file is small')
  },
)

await t.test('full files are kept, and every checkpoint is listed in order', async (t) => {
  const folder = useFolder(t)
  const files = new Files(folder)
  const checkpoints = new DirectoryCheckpoints(folder, files)
  await checkpoints.add(stateOf(1))
  for (const size of [2, 4]) {
    truncateSync(join(folder, 'checkpoints.ndjson'), 17 * 1024 * 1024)
    appendFileSync(
      join(folder, 'checkpoints.ndjson'),
      `\n${JSON.stringify({ size, note: `note ${size}\n` })}\n`,
    )
    // A new start, which finds a full file.
    await new DirectoryCheckpoints(folder, files).add(stateOf(size + 1))
  }
  const again = new DirectoryCheckpoints(folder, files)
  await again.add(stateOf(5))
  await again.add(stateOf(8))
  t.same(await sizesOf(again), [1, 2, 3, 4, 5, 8])
})

await t.test('a state that was published before is not published twice', async (t) => {
  const folder = useFolder(t)
  const files = new Files(folder)
  await new DirectoryCheckpoints(folder, files).add(stateOf(5))
  const again = new DirectoryCheckpoints(folder, files)
  await again.add(stateOf(5))
  t.same(await sizesOf(again), [5])
})

await t.test('the state of the log does not grow with the number of starts', (t) => {
  const key = new WriterKey(ORIGIN, [createSecretKey(Buffer.alloc(32, 1))])
  const writers = new Map(Array.from({ length: 20_000 }, (_, n) => [`w${n}`, n]))
  const text = formatState(emptyState(ORIGIN), writers, key)
  const { writers: kept } = parseState(text)
  t.equal(kept.size, 1000)
  t.equal(kept.get('w19999'), 19_999, 'the newest writers are kept')
  t.end()
})

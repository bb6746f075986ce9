/** Lists of what is in force are pages, however much there is. */
import type { Containment } from '@parapet/anomaly-guard'
import t from 'tap'
import { pageOfContainments } from '../src/security/containment-page.ts'

const block = (index: number): Containment => ({
  id: `id-${index}`,
  kind: index === 0 ? 'lockdown' : 'block',
  target:
    index === 0 ? { type: 'service', value: '' } : { type: 'address', value: `192.0.2.${index}` },
  createdAt: index,
  until: index + 1000,
  reason: index === 7 ? 'Scanning' : 'test',
  by: null,
  level: 1,
})
const inForce = Array.from({ length: 10 }, (_, index) => block(index))
const find = (contains: string, limit = 3, offset = 0) => {
  const { items, total } = pageOfContainments(inForce, { contains, limit, offset })
  return [items.map(({ createdAt }) => createdAt), total]
}

await t.test('a page has the newest first, and says how many there are', async (t) => {
  t.same(find(''), [[9, 8, 7], 10])
  t.same(find('', 3, 8), [[1, 0], 10])
  t.same(find('', 3, 99), [[], 10])
})

await t.test('a part of the target, the kind or the reason finds it', async (t) => {
  t.same(find(' 2.5 '), [[5], 1])
  t.same(find('LOCKDOWN'), [[0], 1])
  t.same(find('scan'), [[7], 1])
  t.same(find('nothing'), [[], 0])
})

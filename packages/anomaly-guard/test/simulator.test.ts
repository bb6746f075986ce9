import { runs } from '@parapet/testing'
import t from 'tap'
import { playDay, scoreDays, type DayResult } from './simulator/run.ts'

await t.test('days with fourteen attacks: what is found, named, and wrongly accused', async (t) => {
  const seeds = runs(2, 50)
  const days: DayResult[] = []
  for (let seed = 1; seed <= seeds; seed++) days.push(await playDay(seed))
  const { recall, labelled, slowestFastMs, ordinaryRequests, falseAlarms, table } = scoreDays(days)
  t.comment(
    `\n${table}\n${ordinaryRequests} ordinary requests, false alarms: ${falseAlarms.length}`,
  )
  t.ok(recall >= 0.97, `recall ${recall}`)
  t.ok(labelled >= 0.93, `labels ${labelled}`)
  t.ok(slowestFastMs <= 10_000, `the slowest alarm of a fast attack after ${slowestFastMs} ms`)
  t.ok(
    falseAlarms.length <= Math.max(0, Math.floor(ordinaryRequests / 500_000)),
    `false alarms: ${falseAlarms.join(', ')}`,
  )
})

await t.test('the same seed is the same day', async (t) => {
  const [first, second] = [await playDay(7), await playDay(7)]
  t.same(first, second)
})

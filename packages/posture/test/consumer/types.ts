// Compiled by a strict consumer against the packed declarations; every line tests a type.
import {
  checklist,
  checkPosture,
  renderTable,
  type Line,
  type PostureOptions,
  type Report,
  type Status,
} from '@parapet/posture'
import Fastify from 'fastify'

const options: PostureOptions = {
  public: ['GET /news'],
  roles: { viewer: { authorization: 'Bearer x' } },
  onProgress: ({ step, done, all, name }) => {
    const text: string = `${step} ${name}`
    const share: number = done / all
    void [text, share]
  },
}
export const report: Report = await checkPosture(Fastify(), options)
export const statuses: readonly Status[] = report.lines.map(({ status }) => status)
export const first: Line | undefined = checklist[0]
export const text: string = renderTable(report, { color: true, width: 80 })

// @ts-expect-error an option that does not exist
await checkPosture(Fastify(), { activ: true })

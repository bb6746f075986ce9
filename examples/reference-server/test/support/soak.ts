/** What the soak measures. */
import { get } from 'node:http'

/** Seconds of a clock that never goes back. */
export function monotonicSeconds(): number {
  return performance.now() / 1000
}

/** The value below which a share of the values is, with one decimal. */
export function percentile(values: readonly number[], share: number): string {
  const sorted = values.filter((value) => value !== undefined).toSorted((a, b) => a - b)
  return (sorted[Math.floor((sorted.length - 1) * share)] ?? Number.NaN).toFixed(1)
}

/** A gauge of the server without labels, from its metrics. */
export async function readGauge(port: number, token: string, name: string): Promise<number> {
  const text = await new Promise<string>((resolve, reject) => {
    const headers = { authorization: `Metrics ${token}` }
    get({ host: '127.0.0.1', port, path: '/metrics', headers, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve(body)).on('error', reject)
    }).on('error', reject)
  })
  const line = text.split('\n').find((each) => each.startsWith(`${name} `))
  return Number(line?.slice(name.length + 1) ?? Number.NaN)
}

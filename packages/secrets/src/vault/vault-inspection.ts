/** What `doctor` reports of Vault: whether it is ready, and what the token may do beyond reading. */
import type { ProviderFinding } from '../providers/provider.ts'
import type { VaultClient } from './vault-client.ts'

/** Active, standby and performance standby. */
const HEALTHY = new Set([200, 429, 473])

/** Reports whether Vault is reachable and unsealed, and what the token may do beyond reading. */
export async function inspectVault(
  client: VaultClient,
  paths: readonly string[],
): Promise<ProviderFinding[]> {
  const findings: ProviderFinding[] = []
  const error = (problem: string, fix: string): void =>
    void findings.push({ severity: 'error', problem, fix })
  const warning = (problem: string, fix: string): void =>
    void findings.push({ severity: 'warning', problem, fix })
  try {
    const health = await client.askOpenly({ method: 'GET', path: 'sys/health' })
    if (!HEALTHY.has(health.status)) {
      error(`Vault is not ready (status ${health.status})`, 'unseal or initialize it')
      return findings
    }
    const answer = await client.ask({ method: 'GET', path: 'auth/token/lookup-self' })
    const token = (answer.body.data ?? {}) as {
      policies?: string[]
      ttl?: number
      renewable?: boolean
    }
    if (answer.status !== 200) error(`the token was refused: ${answer.reason}`, 'issue a new one')
    if (token.policies?.includes('root') === true) {
      error(
        'the token has the policy "root"',
        'issue one with a policy that reads these paths only',
      )
    }
    if (token.ttl === 0)
      warning('the token never expires', 'use AppRole or Kubernetes authentication')
    const asked = await client.ask({
      method: 'POST',
      path: 'sys/capabilities-self',
      body: { paths },
    })
    const capabilities = (asked.body.data ?? {}) as Record<string, readonly string[] | undefined>
    for (const path of asked.status === 200 ? paths : []) {
      const granted = capabilities[path] ?? []
      if (granted.includes('root') || granted.includes('sudo')) {
        error(`the token may do everything at ${path}`, 'grant "read" only')
      } else if (!granted.includes('read')) {
        error(`the token may not read ${path}`, 'grant "read" in its policy')
      } else if (granted.includes('delete')) {
        warning(
          `the token may delete ${path}`,
          'a service needs "read", and "create" and "update" to rotate',
        )
      }
    }
  } catch (failure) {
    error(
      `Vault cannot be reached: ${(failure as Error).message}`,
      'check its address and the network',
    )
  }
  return findings
}

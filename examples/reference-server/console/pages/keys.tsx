/** Keys, what the doctors found, the audit log, and jobs. */
import { get } from '../api/client.ts'
import { Bar } from '../ui/bar.tsx'
import { formatBytes, formatCount, formatDay, formatDuration, formatWords } from '../ui/format.ts'
import { Icon } from '../ui/icons.tsx'
import { PageHead, Panel } from '../ui/panel.tsx'
import { Empty, Loaded } from '../ui/states.tsx'
import { useResource } from '../ui/use-resource.ts'

interface KeyStatus {
  readonly signingKeys: readonly {
    readonly kid: string
    readonly alg: string
    readonly kty: string
  }[]
  readonly revocation: string
  readonly audit: {
    readonly verifierKey: string
    readonly size: number
    readonly spoolBytes: number
    readonly spoolMaxBytes: number
    readonly oldestUnsequencedMs: number
    readonly droppedRecords: number
    readonly cosignedSize: number | null
    readonly problem: string | null
  }
  readonly auditChecks: readonly {
    readonly check: string
    readonly ok: boolean
    readonly detail: string
  }[]
  readonly secrets: readonly {
    readonly name: string
    readonly version: string
    readonly expiresAt: number | null
    readonly isRotating: boolean
  }[]
  readonly findings: readonly {
    readonly severity: string
    readonly name: string
    readonly problem: string
    readonly fix: string
  }[]
  readonly jobs: null | {
    readonly isDurable: boolean
    readonly names: readonly {
      readonly name: string
      readonly dead: readonly {
        readonly id: string
        readonly error: string | null
        readonly dueAt: number
      }[]
    }[]
  }
}

/** The page. */
export function Keys() {
  const status = useResource(() => get<KeyStatus>('/console/keys'))
  return (
    <>
      <PageHead
        title="Keys and jobs"
        text="What signs, what rotates, what the checks found, and what runs in the background."
      >
        <button type="button" class="button" onClick={status.reload}>
          <Icon name="refresh" size={16} /> Check again
        </button>
      </PageHead>
      <Loaded resource={status} rows={8}>
        {(data) => (
          <div class="grid-panels">
            <SigningKeys data={data} />
            <AuditState data={data} />
            <Secrets data={data} />
            <Findings data={data} />
            <JobList jobs={data.jobs} />
          </div>
        )}
      </Loaded>
    </>
  )
}

function SigningKeys({ data }: { readonly data: KeyStatus }) {
  return (
    <Panel title="Signing keys" aside={<span>revocations are {data.revocation}</span>}>
      <ul class="lines">
        {data.signingKeys.map(({ kid, alg }) => (
          <li key={kid} class="line">
            <span class="tag">{alg}</span>
            <span class="line-main">
              <code class="break">{kid}</code>
            </span>
          </li>
        ))}
      </ul>
      <p class="line-sub pad">
        Published at <a href="/.well-known/jwks.json">/.well-known/jwks.json</a>; the first one
        signs.
      </p>
    </Panel>
  )
}

function AuditState({ data: { audit, auditChecks } }: { readonly data: KeyStatus }) {
  return (
    <Panel title="Audit log" aside={<span>{formatCount(audit.size)} entries</span>}>
      <dl class="facts">
        <div class="fact">
          <dt>Verifier key</dt>
          <dd>
            <code class="break">{audit.verifierKey}</code>
          </dd>
        </div>
        <div class="fact">
          <dt>Spool</dt>
          <dd>
            {formatBytes(audit.spoolBytes)} of {formatBytes(audit.spoolMaxBytes)}
            <Bar share={audit.spoolBytes / audit.spoolMaxBytes} />
          </dd>
        </div>
        <div class="fact">
          <dt>Oldest record outside the log</dt>
          <dd>
            {audit.oldestUnsequencedMs === 0 ? 'none' : formatDuration(audit.oldestUnsequencedMs)}
          </dd>
        </div>
      </dl>
      <ul class="checks">
        {auditChecks
          .filter(({ check }) => check !== 'key')
          .map(({ check, ok, detail }) => (
            <li key={check} class={ok ? 'check-passed' : 'check-failed'}>
              <Icon name={ok ? 'check' : 'cross'} size={14} />
              <span>
                <b>{check}</b> {detail}
              </span>
            </li>
          ))}
      </ul>
    </Panel>
  )
}

function Secrets({ data }: { readonly data: KeyStatus }) {
  return (
    <Panel title="Secrets" aside={<span>never their values</span>}>
      {data.secrets.length === 0 ? (
        <Empty
          icon="keys"
          title="None is followed"
          text="Set SECRETS_DIR, and keys in files rotate while the server runs."
        />
      ) : (
        <ul class="lines">
          {data.secrets.map(({ name, version, expiresAt, isRotating }) => (
            <li key={name} class="line">
              <span class="line-main">
                <code>{name}</code>
                <span class="line-sub">
                  version {version}
                  {isRotating && ', the former value is still accepted'}
                </span>
              </span>
              <span class="line-end">
                {expiresAt === null ? 'no end' : `until ${formatDay(expiresAt)}`}
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  )
}

function Findings({ data: { findings } }: { readonly data: KeyStatus }) {
  return (
    <Panel title="Findings" aside={<span>of the secret doctor</span>}>
      {findings.length === 0 ? (
        <Empty title="Nothing found" text="No weak, expired or duplicate secret." />
      ) : (
        <ul class="sentences">
          {findings.map(({ severity, name, problem, fix }) => (
            <li key={name + problem}>
              <span class={`tag tag-${severity}`}>{severity}</span> <code>{name}</code> {problem};{' '}
              {fix}
            </li>
          ))}
        </ul>
      )}
    </Panel>
  )
}

function JobList({ jobs }: { readonly jobs: KeyStatus['jobs'] }) {
  if (jobs === null) {
    return (
      <Panel title="Jobs">
        <Empty icon="refresh" title="No jobs" text="This server runs no background work." />
      </Panel>
    )
  }
  return (
    <Panel title="Jobs" aside={<span>{jobs.isDurable ? 'durable' : 'in memory'}</span>}>
      <ul class="lines">
        {jobs.names.map(({ name, dead }) => (
          <li key={name} class="line">
            <span class="line-main">
              {formatWords(name)}
              {dead[0] !== undefined && <span class="line-sub">{dead[0].error}</span>}
            </span>
            <span class={dead.length === 0 ? 'result result-success' : 'result result-failure'}>
              {dead.length === 0 ? 'no failure' : `${dead.length} dead`}
            </span>
          </li>
        ))}
      </ul>
    </Panel>
  )
}

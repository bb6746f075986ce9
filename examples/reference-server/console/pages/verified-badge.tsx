/** The badge of the audit trail: what was verified, by this browser, and how. */
import { useEffect, useState } from 'preact/hooks'
import { fetchTile, forgetTree, trustKey, type AuditPage } from '../api/audit.ts'
import { ActionButton } from '../ui/action-button.tsx'
import { Bar } from '../ui/bar.tsx'
import { formatCount } from '../ui/format.ts'
import { Icon, type IconName } from '../ui/icons.tsx'
import { toProblem, type Resource } from '../ui/use-resource.ts'
import { toBase64 } from '../verify/bytes.ts'
import { verifyEntries } from '../verify/verify-entries.ts'
import type { Check, VerifiedLog } from '../verify/verify-log.ts'

/** The badge. @param pages the pages that are shown */
export function VerifiedBadge({
  resource,
  pages,
}: {
  readonly resource: Resource<AuditPage>
  readonly pages: readonly AuditPage[]
}) {
  const [entries, setEntries] = useState<Check>()
  const { data, error, isLoading, reload } = resource
  // A result belongs to the tree that it was computed for.
  useEffect(() => setEntries(undefined), [data])
  const checks = mergeChecks(pages, entries)
  const state = error && !data ? 'unknown' : stateOf(pages, checks)
  const verification = data?.verification
  const log = verification?.log
  return (
    <section class={`badge badge-${state}`} aria-label="Verification" aria-busy={isLoading}>
      <div class="badge-seal" aria-hidden="true">
        <Icon name={ICONS[state]} size={26} />
      </div>
      <div class="badge-text">
        <p class="badge-title" role="status">
          {state === 'refused' ? refusalOf(checks) : TITLES[state]}
        </p>
        <p class="badge-sub">
          {log === undefined
            ? (verification?.error ?? error?.message ?? SUBS[state])
            : `${formatCount(log.checkpoint.size)} entries of ${log.checkpoint.origin}, root ${toBase64(log.checkpoint.root).slice(0, 16)}…`}
        </p>
      </div>
      <div class="badge-action">
        {log !== undefined && state === 'new' && (
          <ActionButton
            kind="primary"
            run={async () => {
              trustKey(log.tree)
              reload()
            }}
          >
            Trust this key
          </ActionButton>
        )}
        {log !== undefined && <FullCheck log={log} onResult={setEntries} />}
        {checks.some(isOfMemory) && <Forget onDone={reload} />}
      </div>
      {state === 'new' && log !== undefined && (
        <p class="badge-key">
          Compare it with the key that the operator published: <code>{log.tree.key}</code>
        </p>
      )}
      <details class="badge-checks">
        <summary>How this was checked</summary>
        <ul>
          {checks.map(({ name, passed, text }) => (
            <li key={name + text} class={passed ? 'check-passed' : 'check-failed'}>
              <Icon name={passed ? 'check' : 'cross'} size={14} />
              <span>
                <b>{NAMES[name]}</b> {text}
              </span>
            </li>
          ))}
        </ul>
      </details>
    </section>
  )
}

type State = 'pending' | 'verified' | 'new' | 'unsigned' | 'refused' | 'unknown'

function stateOf(pages: readonly AuditPage[], checks: readonly Check[]): State {
  if (pages.length === 0) return 'pending'
  if (checks.some(({ passed }) => !passed)) return 'refused'
  const verifications = pages.map(({ verification }) => verification)
  if (verifications.some(({ log }) => log === undefined)) return 'unknown'
  const shown = pages.flatMap(({ entries }) => entries)
  // A log that signs nothing must not look verified.
  if (shown.length > 0 && verifications.every(({ records }) => records.size === 0)) {
    return 'unsigned'
  }
  return verifications.every(({ log }) => log?.tree.isTrusted) ? 'verified' : 'new'
}

/** Checks of the tree count once, those of records on every page. */
function mergeChecks(pages: readonly AuditPage[], entries: Check | undefined): readonly Check[] {
  const [first, ...more] = pages.map(({ verification }) => verification.checks)
  const others = more.flat().filter(({ name, passed }) => !passed || OF_RECORDS.has(name))
  return [...(first ?? []), ...others, ...(entries ? [entries] : [])]
}

const OF_RECORDS = new Set<Check['name']>(['inclusion', 'completeness'])

/** Whether it fails only because of what this browser has seen before. */
function isOfMemory({ name, passed }: Check): boolean {
  return !passed && (name === 'key' || name === 'consistency')
}

function refusalOf(checks: readonly Check[]): string {
  const failed = new Set(checks.filter(({ passed }) => !passed).map(({ name }) => name))
  return failed.size === 1 && failed.has('key')
    ? 'Refused: another key signs the log'
    : 'Refused: the log was tampered with'
}

const TITLES: Readonly<Record<Exclude<State, 'refused'>, string>> = {
  pending: 'Verifying',
  verified: 'Verified',
  new: 'Consistent, but the key is new',
  unsigned: 'Nothing here is signed yet',
  unknown: 'Not verified',
}

const SUBS: Readonly<Record<State, string>> = {
  pending: 'Signature, tree and records are being computed in this browser.',
  verified: '',
  new: '',
  unsigned: '',
  refused: 'The checkpoint is not one of this log.',
  unknown: 'The checkpoint could not be read.',
}

const ICONS: Readonly<Record<State, IconName>> = {
  pending: 'audit',
  verified: 'check',
  new: 'keys',
  unsigned: 'audit',
  refused: 'cross',
  unknown: 'audit',
}

const NAMES: Readonly<Record<Check['name'], string>> = {
  key: 'Key',
  signature: 'Signature',
  root: 'Tree',
  consistency: 'Consistency',
  inclusion: 'Inclusion',
  completeness: 'Completeness',
  entries: 'All entries',
}

/** After a new key or a restored backup, which an operator knows about, the browser has to start again. */
function Forget({ onDone }: { readonly onDone: () => void }) {
  return (
    <ActionButton
      kind="quiet"
      confirm="Only if the key was changed or a backup was restored on purpose: this browser forgets the log that it knows, and no longer notices what was rewritten until now."
      run={async () => {
        forgetTree()
        onDone()
      }}
    >
      Forget the old log
    </ActionButton>
  )
}

function FullCheck({
  log,
  onResult,
}: {
  readonly log: VerifiedLog
  readonly onResult: (result: Check) => void
}) {
  const [share, setShare] = useState<number>()
  const [error, setError] = useState('')
  const run = () => {
    setShare(0)
    setError('')
    verifyEntries(log, fetchTile, setShare)
      .then(onResult)
      .catch((reason: unknown) => setError(toProblem(reason).message))
      .finally(() => setShare(undefined))
  }
  const percent = share === undefined ? undefined : Math.round(share * 100)
  return (
    <>
      <button
        type="button"
        class="button"
        aria-busy={share !== undefined}
        aria-disabled={share !== undefined}
        onClick={() => share === undefined && run()}
      >
        {percent === undefined ? 'Verify every entry' : `Verifying, ${percent} %`}
      </button>
      <span class="badge-progress" role="status">
        {share !== undefined && <Bar share={share} />}
        {error}
      </span>
    </>
  )
}
